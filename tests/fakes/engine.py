# SPDX-License-Identifier: Apache-2.0
"""A whole engine on fakes: the real store, files, events and rules, no process and no mount."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fakes.host import FakeCgroups, FakeLayers
from tests.fakes.network import FakeHost
from tests.fakes.supervisor import FakeSupervisor
from tests.waiting import PATIENCE_SECONDS
from toolkit.config import Instance
from toolkit.engine.engine import Engine
from toolkit.engine.model import ContainerSpec
from toolkit.engine.network_settings import NetworkSettings
from toolkit.engine.ports import Parts
from toolkit.images.archive_load import ImageArchives
from toolkit.images.references import Reference
from toolkit.images.registry.registries import Registries
from toolkit.images.registry.settings import RegistrySettings
from toolkit.images.store import ImageStore
from toolkit.storage.layers import LayerStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from toolkit.engine.container import Container

IMAGE = "img"


@dataclass
class World:
    """What engines of one instance come and go on."""

    dir: Path
    supervisor: FakeSupervisor = field(default_factory=FakeSupervisor)
    layers: FakeLayers = field(default_factory=FakeLayers)
    cgroups: FakeCgroups = field(default_factory=FakeCgroups)
    registry_settings: RegistrySettings = field(default_factory=RegistrySettings)
    boot_id: str = "boot-1"
    network_settings: NetworkSettings = field(default_factory=NetworkSettings)
    host: FakeHost = field(init=False)
    image_config: dict[str, Any] = field(default_factory=lambda: {"Cmd": ["true"]})

    def __post_init__(self) -> None:
        self.host = FakeHost(self.dir)

    @property
    def instance(self) -> Instance:
        return Instance(name="test", data_dir=self.dir / "data", run_dir=self.dir / "run")

    def parts(self, instance: Instance) -> Parts:
        layers = LayerStore(instance.data_dir, "vfs")
        images = ImageStore(instance.data_dir, layers)
        document = {
            "architecture": "amd64",
            "config": self.image_config,
            "created": "2013-12-16T00:00:00Z",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": []},
        }
        images.create(document, reference=Reference.parse(IMAGE).with_tag("latest"))
        return Parts(
            supervisor=self.supervisor,
            layers=self.layers,
            images=images,
            archives=ImageArchives(instance.data_dir, images, layers),
            registries=Registries(instance.data_dir, images, layers, self.registry_settings),
            cgroups=self.cgroups,
            boot_id=self.boot_id,
            networks=self.host.networks(instance.name),
            proxies=self.host.proxies,
            names=self.host.names,
            network_settings=self.network_settings,
            seccomp_program=lambda kept, _: f"/filters/{len(kept)}.bpf",
        )

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[Engine]:
        """Open an engine, and close it in good order."""
        engine = Engine(self.instance, make_parts=self.parts)
        await engine.open()
        try:
            yield engine
        finally:
            await engine.close()

    @asynccontextmanager
    async def killed_engine(self) -> AsyncIterator[Engine]:
        """Open an engine that ends as by SIGKILL: nothing is written after the block."""
        engine = Engine(self.instance, make_parts=self.parts)
        await engine.open()
        try:
            yield engine
        finally:
            context = engine._context
            store, context.store = context.store, _DeadStore()  # type: ignore[assignment]  # writes nothing
            for container in context.index.newest_first():
                container._cancel_copy()
            await engine.close()
            await store.close()


class _DeadStore:
    """A store behind an engine that is dead: what it is told is lost."""

    async def save(self, record: object, *, durable: bool = True) -> None:
        pass

    async def delete(self, container_id: object) -> None:
        pass

    async def save_network(self, record: object, *, durable: bool = True) -> None:
        pass

    async def delete_network(self, network_id: object) -> None:
        pass

    async def close(self) -> None:
        pass


def play(world: World, scenario: Callable[[Engine], Awaitable[None]]) -> None:
    """Run a scenario against an engine of the world."""

    async def run() -> None:
        async with world.engine() as engine, asyncio.timeout(PATIENCE_SECONDS):
            await scenario(engine)

    asyncio.run(run())


async def created(engine: Engine, name: str = "", **fields: Any) -> Container:
    """Create a container of the test image."""
    container, _ = await engine.create_container(ContainerSpec(image=IMAGE, **fields), name)
    return container


async def started(engine: Engine, name: str = "", **fields: Any) -> Container:
    """Create a container of the test image, and start it."""
    container = await created(engine, name, **fields)
    await container.start()
    return container
