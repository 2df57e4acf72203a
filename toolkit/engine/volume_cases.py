# SPDX-License-Identifier: Apache-2.0
"""What can be done with volumes, beside the event loop, and told to who listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from toolkit.engine.volumes import (
    ANONYMOUS_LABEL,
    Volume,
    VolumeNotFoundError,
    checked_volume_name,
    made_up_volume_name,
)
from toolkit.errors import ConflictError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from toolkit.engine.context import EngineContext

_LOCAL: Final = "local"

# Named here: in the class, `list` is the method.
Volumes = list[Volume]
Names = list[str]


class VolumeInUseError(ConflictError):
    """A container has the volume."""

    def __init__(self, name: str, users: list[str]) -> None:
        super().__init__(f"remove {name}: volume is in use - [{', '.join(users)}]")


class VolumeUseCases:
    """The volumes of an instance."""

    def __init__(self, context: EngineContext) -> None:
        self._context = context
        self._directories = context.volumes

    async def list(self) -> Volumes:
        """Return all volumes by name."""
        return await self._context.on_host(self._directories.list)

    async def inspect(self, name: str) -> Volume:
        """Return one volume.

        Raises:
            VolumeNotFoundError: There is none.
        """
        return await self._context.on_host(self._directories.get, name)

    async def size_bytes(self, name: str) -> int:
        """Return the size of all files in a volume."""
        return await self._context.on_host(self._directories.size_bytes, name)

    def users(self, name: str) -> Names:
        """Return the ids of the containers that have a volume."""
        return [
            container.record.id
            for container in self._context.index.newest_first()
            for mount in container.record.mounts
            if mount.kind == "volume" and mount.source == name
        ]

    async def create(
        self,
        name: str = "",
        *,
        driver: str = "",
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Volume:
        """Make a volume, or return the one of that name.

        Raises:
            InvalidRequestError: It is no name, or asks for what there is not.
        """
        if driver not in {"", _LOCAL}:
            raise InvalidRequestError(
                f"create {name[:80]}: error looking up volume plugin {driver[:80]}: "
                "there is only the driver local"
            )
        if options:
            raise InvalidRequestError(
                f"create {name[:80]}: options of the driver local are not available: "
                f"{', '.join(sorted(options))[:200]}"
            )
        kept = dict(labels or {})
        if not name:
            kept[ANONYMOUS_LABEL] = ""
        name = checked_volume_name(name or made_up_volume_name())
        _, is_new = await self._context.whole(
            self._context.on_host(self._directories.create, name, labels=kept)
        )
        if is_new:
            self._tell("create", name)
        return await self.inspect(name)

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume that no container has; *force* passes over one that is not there.

        Raises:
            VolumeNotFoundError: There is none.
            VolumeInUseError: A container has it, running or not.
        """
        try:
            await self.inspect(name)
        except VolumeNotFoundError:
            if force:
                return
            raise
        users = self.users(name)
        if users:
            raise VolumeInUseError(name, users)
        await self._context.whole(self._context.on_host(self._directories.remove, name))
        self._tell("destroy", name)

    async def prune(self, chosen: Callable[[Volume], bool]) -> tuple[Names, int]:
        """Remove the volumes of a choice that no container has; return names and bytes freed."""
        removed: Names = []
        freed = 0
        for volume in await self.list():
            if not chosen(volume) or self.users(volume.name):
                continue
            size = await self.size_bytes(volume.name)
            try:
                await self.remove(volume.name)
            except (ConflictError, VolumeNotFoundError):
                continue
            removed.append(volume.name)
            freed += size
        self._context.events.publish("volume", "prune", "", {"reclaimed": str(freed)})
        return removed, freed

    def _tell(self, action: str, name: str) -> None:
        self._context.events.publish("volume", action, name, {"driver": _LOCAL})
