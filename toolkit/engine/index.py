# SPDX-License-Identifier: Apache-2.0
"""Containers by name, id and part of an id (rules 10.1 to 10.4).

One event loop owns it; nothing awaits, so a name is taken or it is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.engine.names import made_up_name
from toolkit.errors import ConflictError, ContainerNotFoundError, NameInUseError

if TYPE_CHECKING:
    from toolkit.engine.container import Container
    from toolkit.engine.model import ContainerId

SHORT_ID_LENGTH = 12


class Index:
    """The containers of an engine, and the names that are taken."""

    def __init__(self) -> None:
        self._containers: dict[ContainerId, Container] = {}
        self._names: dict[str, ContainerId] = {}

    def __len__(self) -> int:
        return len(self._containers)

    def add(self, container: Container) -> None:
        """List a container whose name is reserved."""
        self._containers[container.record.id] = container

    def drop(self, container_id: ContainerId) -> None:
        """Take a container off the list, and free its names."""
        self._containers.pop(container_id, None)
        for name in [name for name, holder in self._names.items() if holder == container_id]:
            del self._names[name]

    def reserve_name(self, name: str, container_id: ContainerId) -> None:
        """Take a name.

        Raises:
            NameInUseError: Another container has it.
        """
        holder = self._names.setdefault(name, container_id)
        if holder != container_id:
            raise NameInUseError(name, holder)

    def reserve_made_up_name(self, container_id: ContainerId) -> str:
        """Take a free name, the short id at worst, and return it."""
        name = made_up_name(self._names.__contains__) or container_id[:SHORT_ID_LENGTH]
        self.reserve_name(name, container_id)
        return name

    def release_name(self, name: str) -> None:
        """Free a name."""
        self._names.pop(name, None)

    def find(self, reference: str) -> Container:
        """Return the container of a name, an id or the beginning of one; a name wins.

        Raises:
            ContainerNotFoundError: There is none.
            ConflictError: Several ids begin so.
        """
        holder = self._names.get(reference.removeprefix("/"))
        container = self._containers.get(holder) if holder else None
        if container is not None:
            return container
        found = [
            container for key, container in self._containers.items() if key.startswith(reference)
        ]
        exact = [container for container in found if container.record.id == reference]
        if exact:
            return exact[0]
        if not found or not reference:
            raise ContainerNotFoundError(reference)
        if len(found) > 1:
            raise ConflictError(f"multiple IDs found with provided prefix: {reference}")
        return found[0]

    def newest_first(self) -> list[Container]:
        """Return all containers."""
        return sorted(
            self._containers.values(), key=lambda found: found.record.created, reverse=True
        )
