# SPDX-License-Identifier: Apache-2.0
"""Containers by name, id and part of an id (rules 10.1 to 10.4), and by the path of a link.

Names and links are one graph, as in 0.7.2: ``/web`` is a name, ``/web/db`` whom its link ``db``
leads to (rule 7.26). It is in memory; what it is made from stands in the records.
One event loop owns it; nothing awaits, so a name is taken or it is not.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from toolkit.engine.names import made_up_name
from toolkit.errors import ConflictError, ContainerNotFoundError, NameInUseError, NotFoundError
from toolkit.network.graph import Graph

if TYPE_CHECKING:
    from toolkit.engine.container import Container
    from toolkit.engine.model import ContainerId, ContainerRecord

SHORT_ID_LENGTH = 12


class Index:
    """The containers of an engine, and the names that are taken."""

    def __init__(self) -> None:
        self._containers: dict[str, Container] = {}
        self._graph = Graph()

    def __len__(self) -> int:
        return len(self._containers)

    def add(self, container: Container) -> None:
        """List a container whose name is reserved."""
        self._containers[container.record.id] = container

    def drop(self, container_id: ContainerId) -> None:
        """Take a container off the list, and free its names; links to it and its own go."""
        self._containers.pop(container_id, None)
        self._graph.purge(container_id)

    def get(self, container_id: str) -> Container | None:
        """Return the container of an id, if there is one."""
        return self._containers.get(container_id)

    # -- names ---------------------------------------------------------------------

    def reserve_name(self, name: str, container_id: ContainerId) -> None:
        """Take a name.

        Raises:
            NameInUseError: Another container has it.
        """
        holder = self._graph.get(f"/{name}")
        if holder is None:
            self._graph.set(f"/{name}", container_id)
        elif holder != container_id:
            raise NameInUseError(name, holder)

    def reserve_made_up_name(self, container_id: ContainerId) -> str:
        """Take a free name, the short id at worst, and return it."""
        name = made_up_name(self._is_taken) or container_id[:SHORT_ID_LENGTH]
        self.reserve_name(name, container_id)
        return name

    def release_name(self, name: str) -> None:
        """Free a name."""
        self._graph.delete(f"/{name}")

    def _is_taken(self, name: str) -> bool:
        return self._graph.exists(f"/{name}")

    # -- links ---------------------------------------------------------------------

    def add_links(self, record: ContainerRecord) -> None:
        """List the links of a container whose name is reserved.

        One to a container that is gone is passed over, and one whose path is taken (rule 7.6).
        """
        for alias, child_id in record.links.items():
            if child_id in self._containers:
                with contextlib.suppress(ConflictError, NotFoundError):
                    self._graph.set(f"/{record.name}/{alias}", child_id)

    def drop_link(self, record: ContainerRecord, alias: str) -> None:
        """Take one link of a container off the list."""
        self._graph.delete(f"/{record.name}/{alias}")

    def children(self, record: ContainerRecord) -> dict[str, Container]:
        """Return whom a container's links lead to, by alias (rule 7.27)."""
        return {
            child.edge.name: self._containers[child.entity_id]
            for child in self._graph.children(f"/{record.name}")
            if child.entity_id in self._containers
        }

    def parents(self, container_id: str) -> list[tuple[Container, str]]:
        """Return who has links to a container, each with the alias."""
        return [
            (self._containers[edge.parent_id], edge.name)
            for edge in self._graph.ref_paths(container_id)
            if edge.parent_id in self._containers
        ]

    def at(self, path: str) -> Container | None:
        """Return the container at a path, a name's or a link's."""
        return self._containers.get(self._graph.get(path) or "")

    def names_of(self, record: ContainerRecord) -> list[str]:
        """Return every path that leads to a container, its own name first (rule 10.29)."""
        linked = [f"/{parent.record.name}/{alias}" for parent, alias in self.parents(record.id)]
        return [f"/{record.name}", *sorted(linked)]

    def find(self, reference: str) -> Container:
        """Return the container of a name or a link's path, an id or the beginning of one.

        A name wins.

        Raises:
            ContainerNotFoundError: There is none.
            ConflictError: Several ids begin so.
        """
        holder = self._graph.get(reference) if reference.isascii() else None
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
