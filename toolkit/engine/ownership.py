# SPDX-License-Identifier: Apache-2.0
"""What belongs to a session or a lease: found by its label, removed together.

Labels are what survives an engine: whatever carries one whose session is gone is
rubbish. Containers that a person wants to keep are noted by a file each below
``<data>/kept``, so that the next engine spares them as well.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from toolkit.errors import ConflictError, NotFoundError, ToolkitError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from toolkit.engine.container import Container
    from toolkit.engine.context import EngineContext
    from toolkit.engine.images import ImageUseCases
    from toolkit.engine.networks import NetworkUseCases
    from toolkit.engine.volume_cases import VolumeUseCases

SESSION_LABEL: Final = "toolkit.session"
LEASE_LABEL: Final = "toolkit.lease"
REUSE_LABEL: Final = "toolkit.reuse"
_LABELS: Final = (SESSION_LABEL, LEASE_LABEL)
_AT_ONCE: Final = 8

Labels = dict[str, str]

_log = logging.getLogger(__name__)


@dataclass
class Removed:
    """What was removed: ids of containers and images, names of networks and volumes."""

    containers: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)


class Ownership:
    """Finds and removes what carries a label."""

    def __init__(
        self,
        context: EngineContext,
        *,
        images: ImageUseCases,
        networks: NetworkUseCases,
        volumes: VolumeUseCases,
    ) -> None:
        self._context = context
        self._networks = networks
        self._images = images
        self._volumes = volumes

    async def owners(self) -> set[tuple[str, str]]:
        """Return every label and value that something carries."""
        labels: list[Mapping[str, str]] = [
            container.record.spec.labels for container in self._context.index.newest_first()
        ]
        labels += [network.spec.labels for network in self._context.networks.all()]
        labels += [volume.labels for volume in await self._volumes.list()]
        labels += [_image_labels(image.config) for image in await self._images.list()]
        return {(key, found[key]) for found in labels for key in _LABELS if key in found}

    def keep(self, reference: str) -> str:
        """Spare a container when its session ends; return its id.

        Raises:
            ContainerNotFoundError: There is none.
        """
        container_id = self._context.index.find(reference).record.id
        self._kept_dir.mkdir(mode=0o700, exist_ok=True)
        (self._kept_dir / container_id).touch(mode=0o600)
        return container_id

    def forget_kept(self) -> None:
        """Spare nothing any more."""
        for path in self._kept_files():
            path.unlink(missing_ok=True)
        with suppress(OSError):  # there is none
            self._kept_dir.rmdir()

    async def remove(self, key: str, value: str) -> Removed:
        """Remove everything that carries a label; what cannot be removed is told in the log."""
        return await self.remove_all(lambda labels: labels.get(key) == value)

    async def remove_all(self, is_meant: Callable[[Mapping[str, str]], bool]) -> Removed:
        """Remove everything whose labels are meant, containers first."""
        removed = Removed()
        kept = {path.name for path in self._kept_files()}
        containers = [
            container
            for container in self._context.index.newest_first()
            if container.record.id not in kept and is_meant(container.record.spec.labels)
        ]
        at_once = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(
            *(self._remove_container(container, removed, at_once) for container in containers)
        )
        for network in tuple(self._context.networks.all()):
            if is_meant(network.spec.labels):
                with suppress(ConflictError, NotFoundError):  # a kept container is on it
                    await self._networks.remove(network.id)
                    removed.networks.append(network.name)
        for volume in await self._volumes.list():
            if is_meant(volume.labels):
                with suppress(ConflictError, NotFoundError):  # as above, has it
                    await self._volumes.remove(volume.name)
                    removed.volumes.append(volume.name)
        for image in await self._images.list():
            if is_meant(_image_labels(image.config)):
                with suppress(ConflictError, NotFoundError):  # as above
                    await self._images.remove(image.id, force=True, noprune=False)
                    removed.images.append(image.id)
        return removed

    async def _remove_container(
        self, container: Container, removed: Removed, at_once: asyncio.Semaphore
    ) -> None:
        async with at_once:
            try:
                await container.remove(force=True, volumes=True)
            except NotFoundError:  # somebody else was quicker
                return
            except ToolkitError as error:
                _log.warning("container %s stays: %s", container.record.id, error)
                return
        removed.containers.append(container.record.id)

    @property
    def _kept_dir(self) -> Path:
        return self._context.instance.data_dir / "kept"

    def _kept_files(self) -> list[Path]:
        """Return the notes of kept containers; those of containers that are gone are removed."""
        if not self._kept_dir.is_dir():
            return []
        listed = {container.record.id for container in self._context.index.newest_first()}
        notes = list(self._kept_dir.iterdir())
        for path in notes:
            if path.name not in listed:
                path.unlink(missing_ok=True)
        return [path for path in notes if path.name in listed]


def _image_labels(config: Mapping[str, object]) -> Labels:
    labels = config.get("Labels")
    if not isinstance(labels, dict):
        return {}
    return {str(key): str(value) for key, value in labels.items()}
