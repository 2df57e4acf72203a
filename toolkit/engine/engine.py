# SPDX-License-Identifier: Apache-2.0
"""The engine: one instance's containers, from `open` to `close`, and the facade that `api/` calls.

Closing leaves containers running, as killing does: their shims serve them, and
the next engine takes them over.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

from toolkit.engine.assembly import real_parts
from toolkit.engine.builds import BuildUseCases
from toolkit.engine.container import Container
from toolkit.engine.context import EngineContext
from toolkit.engine.creation import create_record
from toolkit.engine.events import EventHub
from toolkit.engine.exec import ExecSessions
from toolkit.engine.health import watch_health
from toolkit.engine.images import ImageUseCases
from toolkit.engine.info import EngineInfo, collect_info
from toolkit.engine.limits import HostLimits
from toolkit.engine.lock import InstanceLock
from toolkit.engine.network_index import NetworkIndex
from toolkit.engine.network_recovery import recover_networks
from toolkit.engine.network_validation import check_bridge_subnet6
from toolkit.engine.networks import NetworkUseCases
from toolkit.engine.ownership import Ownership
from toolkit.engine.readiness import Readiness
from toolkit.engine.recovery import recover, restart_by_policy
from toolkit.engine.retirement import clear_host
from toolkit.engine.sessions import Sessions
from toolkit.engine.store import Contents, Store
from toolkit.engine.transfers import TransferUseCases
from toolkit.engine.volume_cases import VolumeUseCases
from toolkit.engine.volumes import VolumeDirectories
from toolkit.engine.waiters import WaitingClients
from toolkit.engine.workshop import Workshop
from toolkit.errors import ConflictError, NotFoundError, ToolkitError
from toolkit.network.graph import join_path, split_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolkit.config import Instance
    from toolkit.engine.exec import Exec
    from toolkit.engine.model import ContainerSpec, ExecId, ExecSpec
    from toolkit.engine.ports import Parts

STORE_NAME: Final = "engine.db"
LOCK_NAME: Final = "engine.lock"
_CLOSE_SECONDS: Final = 8.0


class Engine:
    """The one engine of an instance.

    Args:
        instance: What it owns.
        make_parts: Puts the layers below together, once the instance is locked.

    Attributes:
        events: What happens in it.
        images: Its images.
    """

    def __init__(
        self, instance: Instance, *, make_parts: Callable[[Instance], Parts] = real_parts
    ) -> None:
        self.instance = instance
        self.events = EventHub()
        self._make_parts = make_parts
        self._undo = AsyncExitStack()
        self._opened: EngineContext | None = None
        self._execs: ExecSessions | None = None
        self._images: ImageUseCases | None = None
        self._transfers: TransferUseCases | None = None
        self._networks: NetworkUseCases | None = None
        self._volumes: VolumeUseCases | None = None
        self._sessions_held: Sessions | None = None
        self._builds: BuildUseCases | None = None

    async def open(self) -> None:
        """Take the instance, find its containers again, and begin to serve.

        Raises:
            InstanceLockedError: Another engine has the instance.
            InvalidRequestError: A setting does not go with what the instance has.
            ToolkitError: The host lacks something.
        """
        async with AsyncExitStack() as undo:
            context, contents = await self._take_instance(undo)
            check_bridge_subnet6(context.parts.network_settings.fixed_cidr_v6, contents.networks)
            await context.parts.supervisor.open()
            undo.push_async_callback(context.parts.supervisor.close)
            undo.push_async_callback(context.attachments.close)
            await recover(context, contents)
            undo.push_async_callback(context.names.close)
            await recover_networks(context, contents)
            self._opened, self._undo = context, undo.pop_all()
        await self._begin(context)

    async def _take_instance(self, undo: AsyncExitStack) -> tuple[EngineContext, Contents]:
        """Lock the instance, make its parts and open its store."""
        instance = self.instance
        for directory in (instance.data_dir, instance.run_dir):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (instance.containers_dir, instance.bundles_dir, instance.builds_dir):
            directory.mkdir(mode=0o700, exist_ok=True)
        lock = InstanceLock.acquire(instance.run_dir / LOCK_NAME)
        undo.callback(lock.release)
        parts = await asyncio.to_thread(self._make_parts, instance)
        undo.callback(parts.registries.close)
        store = Store(instance.data_dir / STORE_NAME)
        undo.push_async_callback(store.close)
        contents = await store.open(parts.boot_id)
        context = self._make_context(parts, store)
        context.watch_health = partial(watch_health, context)
        context.volumes.open()
        undo.callback(context.threads.shutdown)
        undo.callback(context.waiting_clients.close)
        return context, contents

    async def _begin(self, context: EngineContext) -> None:
        """Make the use cases, and bring back what comes back with an engine."""
        self._execs = ExecSessions(context)
        self._images = ImageUseCases(context)
        self._transfers = TransferUseCases(context)
        self._networks = NetworkUseCases(context)
        self._volumes = VolumeUseCases(context)
        workshop = Workshop(context, self._images, self._transfers, self.create_container)
        self._builds = BuildUseCases(workshop)
        restart_by_policy(context)
        ownership = Ownership(
            context, images=self._images, networks=self._networks, volumes=self._volumes
        )
        self._sessions_held = Sessions(ownership)
        self._sessions_held.expect_back(await ownership.owners())

    async def close(self) -> None:
        """Give the instance up; containers go on. A second call does nothing."""
        context, self._opened = self._opened, None
        if context is None:
            return
        if self._sessions_held is not None:
            await self._sessions_held.close()
        if self._execs is not None:
            self._execs.close()
        for container in context.index.newest_first():
            container.let_go()
            with contextlib.suppress(ToolkitError):
                await container.copy_now()
        self.events.close()
        if context.tasks:
            await asyncio.wait(context.tasks, timeout=_CLOSE_SECONDS)
        await self._undo.aclose()

    async def unused(self, idle_seconds: float) -> None:
        """Return when there has been neither session nor container for a while."""
        while True:
            await self.sessions.unused(idle_seconds)
            if not await self.containers():
                return

    async def retire(self) -> None:
        """Close, and take away what the instance has on this host, but for its data."""
        context = self._opened
        if context is not None and self._sessions_held is not None:
            await self._sessions_held.end_all()
        await self.close()
        if context is not None and not context.index.newest_first():
            await asyncio.to_thread(clear_host, context.instance, context.parts)

    async def create_container(
        self, spec: ContainerSpec, name: str = ""
    ) -> tuple[Container, list[str]]:
        """Create a container; return it with the warnings.

        Raises:
            InvalidRequestError: The request says something that cannot be.
            ImageNotFoundError: No such image.
            NameInUseError: Another container has the name.
        """
        return await self._context.whole(self._create(spec, name))

    async def container(self, reference: str) -> Container:
        """Return the container of a name, an id, or the beginning of one.

        Raises:
            ContainerNotFoundError: There is none.
            ConflictError: Several ids begin so.
        """
        return self._context.index.find(reference)

    async def remove_link(self, path: str) -> None:
        """Remove a link, by the path of its name: ``/web/db`` (rule 7.7).

        Raises:
            NotFoundError: There is no such link, or nobody has it.
            ConflictError: It is a container's own name.
        """
        index = self._context.index
        parent_path, alias = split_path(path)
        shown = join_path(parent_path, alias)
        if index.at(shown) is None:
            raise NotFoundError(f"No such link: {shown}")
        if parent_path == "/":
            raise ConflictError("Conflict, cannot remove the default name of the container")
        parent = index.at(parent_path)
        if parent is None:
            raise NotFoundError(f"Cannot get parent {parent_path} for name {shown}")
        await parent.unlink(alias)

    async def containers(self) -> list[Container]:
        """Return all containers, newest first."""
        return self._context.index.newest_first()

    async def create_exec(self, reference: str, spec: ExecSpec) -> ExecId:
        """Make an exec session in a running container; nothing runs yet.

        Raises:
            ContainerNotFoundError: No such container.
            ConflictError: It does not run, or is paused.
            InvalidRequestError: Nobody could run that program.
        """
        container = await self.container(reference)
        return self._exec_sessions.create(container, spec).id

    async def exec(self, reference: str) -> Exec:
        """Return an exec session.

        Raises:
            ExecNotFoundError: There is none, or its container is gone.
        """
        return self._exec_sessions.find(reference)

    @property
    def images(self) -> ImageUseCases:
        """The images of this instance."""
        if self._images is None:
            raise ToolkitError("the engine is not open")
        return self._images

    @property
    def networks(self) -> NetworkUseCases:
        """The networks of this instance."""
        if self._networks is None:
            raise ToolkitError("the engine is not open")
        return self._networks

    @property
    def transfers(self) -> TransferUseCases:
        """How images come and go."""
        if self._transfers is None:
            raise ToolkitError("the engine is not open")
        return self._transfers

    @property
    def volumes(self) -> VolumeUseCases:
        """The volumes of this instance."""
        if self._volumes is None:
            raise ToolkitError("the engine is not open")
        return self._volumes

    @property
    def sessions(self) -> Sessions:
        """Who holds what of this instance, by connection."""
        if self._sessions_held is None:
            raise ToolkitError("the engine is not open")
        return self._sessions_held

    @property
    def readiness(self) -> Readiness:
        """When a container is ready to be talked to."""
        return Readiness(self._context)

    @property
    def builds(self) -> BuildUseCases:
        """The builds of this instance."""
        if self._builds is None:
            raise ToolkitError("the engine is not open")
        return self._builds

    async def info(self) -> EngineInfo:
        """Return what this engine is and has."""
        return await collect_info(self._context)

    @property
    def _context(self) -> EngineContext:
        if self._opened is None:
            raise ToolkitError("the engine is not open")
        return self._opened

    @property
    def _exec_sessions(self) -> ExecSessions:
        if self._execs is None:
            raise ToolkitError("the engine is not open")
        return self._execs

    def _make_context(self, parts: Parts, store: Store) -> EngineContext:
        return EngineContext(
            instance=self.instance,
            parts=parts,
            store=store,
            events=self.events,
            volumes=VolumeDirectories(self.instance.data_dir),
            limits=HostLimits.of(parts.cgroups),
            waiting_clients=WaitingClients(),
            networks=NetworkIndex(self.instance.name, bridge_has_ipv6=parts.network_settings.ipv6),
        )

    async def _create(self, spec: ContainerSpec, name: str) -> tuple[Container, list[str]]:
        context = self._context
        record, warnings = await create_record(context, spec, name)
        container = Container(context, record)
        context.index.add(container)
        context.index.add_links(record)
        container.copy_soon()
        container.tell("create")
        return container, warnings
