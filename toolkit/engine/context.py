# SPDX-License-Identifier: Apache-2.0
"""What the containers of one engine share."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from toolkit.engine.attachment import Attachments
from toolkit.engine.files import ContainerFiles
from toolkit.engine.index import Index
from toolkit.engine.inits import provided_init
from toolkit.engine.launch import LaunchContext
from toolkit.engine.links import Links
from toolkit.engine.network_names import NetworkNames
from toolkit.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from toolkit.config import Instance
    from toolkit.engine.container import Container
    from toolkit.engine.events import EventHub
    from toolkit.engine.health import HealthMonitor
    from toolkit.engine.limits import HostLimits
    from toolkit.engine.model import ContainerId, ContainerRecord
    from toolkit.engine.network_index import NetworkIndex
    from toolkit.engine.ports import Cgroup, Parts
    from toolkit.engine.store import Store
    from toolkit.engine.volumes import VolumeDirectories
    from toolkit.engine.waiters import WaitingClients
    from toolkit.network.hosts_file import HostsEntry

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")

_HOST_THREADS = 4  # what touches the host is short; more would only pile up in a storm


@dataclass(kw_only=True)
class EngineContext:
    """The engine's parts, and where work that blocks is done.

    Attributes:
        watch_health: Begins to watch the health of a container whose program runs.
    """

    instance: Instance
    parts: Parts
    store: Store
    events: EventHub
    volumes: VolumeDirectories
    limits: HostLimits
    waiting_clients: WaitingClients
    networks: NetworkIndex
    index: Index = field(default_factory=Index)
    threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_HOST_THREADS, thread_name_prefix="host")
    )
    tasks: set[asyncio.Task[object]] = field(default_factory=set)
    watch_health: Callable[[Container], HealthMonitor | None] = lambda _: None
    attachments: Attachments = field(init=False)
    links: Links = field(init=False)
    names: NetworkNames = field(init=False)

    def __post_init__(self) -> None:
        parts = self.parts
        self.attachments = Attachments(self, parts.networks, parts.proxies, parts.network_settings)
        self.links = Links(self)
        self.names = NetworkNames(self, parts.names)
        self.attachments.listeners += [self.links, self.names]

    async def on_host(
        self, act: Callable[_Given, _Result], *args: _Given.args, **kwargs: _Given.kwargs
    ) -> _Result:
        """Run something that blocks, beside the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, lambda: act(*args, **kwargs))

    def spawn(self, work: Coroutine[object, object, _Result]) -> asyncio.Task[_Result]:
        """Begin something that goes on whoever asked for it, and that `close` waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def whole(self, work: Coroutine[object, object, _Result]) -> _Result:
        """Do something wholly, even when the client that asked for it goes away."""
        return await asyncio.shield(self.spawn(work))

    def files(self, container_id: ContainerId) -> ContainerFiles:
        """Return where a container's files are."""
        defaults = self.parts.network_settings.resolv_conf
        return ContainerFiles.of(self.instance, container_id, defaults=defaults)

    def cgroup_path(self, container_id: ContainerId) -> str:
        """Return a container's control group, below each hierarchy's root."""
        return f"{self.instance.cgroup_parent}/{container_id}"

    def cgroup(self, container_id: ContainerId) -> Cgroup:
        """Return a container's control group."""
        return self.parts.cgroups.cgroup(self.cgroup_path(container_id))

    def launch_context(
        self, record: ContainerRecord, linked: tuple[HostsEntry, ...] = ()
    ) -> LaunchContext:
        """Return what a start of the container needs beside its record.

        Args:
            record: The container's.
            linked: What its links add to its hosts file.
        """
        return LaunchContext(
            instance_name=self.instance.name,
            cgroup=self.cgroup_path(record.id),
            files=self.files(record.id),
            rootfs=self.parts.layers.rootfs(record.id),
            volumes=self.volumes,
            limits=self.limits,
            seccomp_program=self.parts.seccomp_program,
            pid_of=self._pid_of,
            init_program=lambda: provided_init(self.instance.run_dir),
            linked=linked,
            capability_profile=self.instance.capability_profile,
        )

    def _pid_of(self, container_id: str) -> int:
        """Return the process of a container that runs.

        Raises:
            ContainerNotFoundError: It is gone.
            ConflictError: It does not run.
        """
        state = self.index.find(container_id).record.state
        if not state.pid:
            raise ConflictError(
                f"cannot join the namespaces of a non running container: {container_id}"
            )
        return state.pid
