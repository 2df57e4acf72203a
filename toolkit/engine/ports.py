# SPDX-License-Identifier: Apache-2.0
"""What the engine needs of the layers below it, and nothing more.

The adapters are `toolkit.runtime.supervisor`, `toolkit.storage` and
`toolkit.kernel.cgroups`; `tests/fakes` has fakes of the same shapes. Images are
files only: tests use the real store. `toolkit.engine.assembly` puts the real
ones together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from toolkit.engine.network_settings import NetworkSettings
    from toolkit.images.archive_load import ImageArchives
    from toolkit.images.registry.registries import Registries
    from toolkit.images.store import ImageStore
    from toolkit.kernel.cgroup_stats import CgroupStats
    from toolkit.network.dns.table import Asking, NameRecord
    from toolkit.network.host import HostNetworks
    from toolkit.network.names_server import NameServerState
    from toolkit.runtime.protocol import AttachClient, ExitStatus
    from toolkit.storage.changes import Change
    from toolkit.storage.layer import Layer


class RunningProgram(Protocol):
    """A program that a shim holds.

    Attributes:
        on_detach: Called when a client has typed its detach keys.
    """

    on_detach: Callable[[], None]

    @property
    def pid(self) -> int:
        """Its process on the host."""

    @property
    def start_time_ticks(self) -> int:
        """When that process began, in the kernel's ticks."""

    @property
    def exited(self) -> asyncio.Future[ExitStatus]:
        """How it ended; fails with BackendError when its shim was lost."""

    @property
    def released(self) -> asyncio.Future[None]:
        """Done when its control group and namespaces are gone too."""

    async def attach(self, client: AttachClient) -> None:
        """Hand a client's connection to the shim."""

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal."""

    async def signal(self, number: int) -> None:
        """Send it a signal."""

    def forget(self) -> None:
        """Drop the connection to the shim, which lives on."""


class Supervisor(Protocol):
    """What starts programs and finds them again."""

    async def open(self) -> None:
        """Begin to serve."""

    async def close(self) -> None:
        """Stop serving; what runs goes on."""

    def expect(self, backend: str) -> None:
        """Make ready for a start on a backend that comes soon."""

    async def start(
        self,
        bundle_dir: Path,
        clients: Sequence[AttachClient] = (),
        *,
        backend: str = "native",
        written: asyncio.Task[None] | None = None,
        connect: Callable[[int], Awaitable[None]] | None = None,
    ) -> RunningProgram:
        """Start what a bundle describes; the clients are its own from now on.

        The bundle is whole when *written* is done, which raises here what it raises.
        *connect* is called with the new network namespace, and awaited before the program
        runs; what it raises is raised here, and nothing has run.
        """

    async def reconnect(self, bundle_dir: Path) -> RunningProgram | None:
        """Find the shim of a bundle that an earlier engine started."""

    async def exec(
        self,
        bundle_dir: Path,
        process: dict[str, Any],
        *,
        exec_id: str,
        clients: Sequence[AttachClient] = (),
        user: str,
        open_stdin: bool,
        init_pid: int,
    ) -> RunningProgram:
        """Start one more program in a running container."""


class Rootfs(Protocol):
    """What a container's root is mounted from: a dataclass, handed on as JSON."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class Layers(Protocol):
    """The layers of images and containers."""

    @property
    def driver_name(self) -> str:
        """Name, in docker's words, of the storage driver."""

    def create_rw(self, container_id: str, top: Any) -> None:
        """Make a container's own layer on the layer *top*."""

    def remove_rw(self, container_id: str) -> None:
        """Remove it, or what there is of it."""

    def rootfs(self, container_id: str) -> Rootfs:
        """Return what to mount."""

    def read_tree(self, container_id: str, act: Callable[[int], None]) -> None:
        """Call something with the container's whole tree, to be read."""

    def changes(self, container_id: str) -> list[Change]:
        """Return what the container has changed of its image."""

    def commit(self, container_id: str) -> Layer:
        """Make a layer of that; `settle` has to be called for it."""

    def settle(self, chain_id: Any) -> None:
        """Say that a layer of `commit` is referred to by now, or is not wanted."""

    def rw_size_bytes(self, container_id: str) -> int:
        """Return what the container's own layer takes."""

    def sweep(self, known: set[str]) -> list[str]:
        """Remove what belongs to no known container; return what that was."""


class Cgroup(Protocol):
    """The control group of one container."""

    def apply(self, resources: Mapping[str, Any]) -> None:
        """Set limits, in the words of OCI ``linux.resources``."""

    def freeze(self) -> None:
        """Stop every process in it."""

    def thaw(self) -> None:
        """Let them go on."""

    def kill(self) -> None:
        """Kill every process in it."""

    def pids(self) -> list[int]:
        """Return its processes."""

    def stats(self) -> CgroupStats:
        """Return what it uses and has used."""

    def remove(self) -> None:
        """Remove it, once it is empty."""


class Cgroups(Protocol):
    """The control groups of this host."""

    @property
    def version(self) -> int:
        """1 or 2."""

    def supports(self, feature: str) -> bool:
        """Say whether this host has a limit."""

    def cgroup(self, path: str) -> Cgroup:
        """Return the group at a path, whether it exists or not."""


class ProxyHost(Protocol):
    """Where userland proxies are started."""

    def open(self) -> None:
        """Begin to serve; a second call is not made."""

    def close(self) -> None:
        """Stop serving; proxies go on."""

    def start(self, name: str, ports: Sequence[tuple[socket.socket, tuple[str, int]]]) -> int:
        """Start the proxy of a container in the place of an earlier one."""

    def stop(self, name: str) -> bool:
        """End it."""

    def running(self) -> dict[str, int]:
        """Return the proxies that run."""

    def sweep(self, known: set[str]) -> list[str]:
        """Stop those of unknown containers."""


class NamesHost(Protocol):
    """Where the name server of the user networks is told who is called what."""

    def is_there(self) -> bool:
        """Say whether a server of an earlier engine runs."""

    def open(self) -> bool:
        """Connect to the server, or start one; return whether it is new."""

    def close(self) -> None:
        """Drop the connection; the server goes on."""

    def stop(self) -> None:
        """End the server."""

    def attach(self, container: str, netns_fd: int, asking: Asking) -> None:
        """Answer a container in its network namespace."""

    def seat(self, container: str, asking: Asking) -> None:
        """Change whom an attached container asks."""

    def watch(self, container: str, pid: int, ticks: int) -> None:
        """Forget an attached container when a program ends."""

    def detach(self, container: str) -> None:
        """Answer a container no more."""

    def publish(self, network: str, network_name: str, record: NameRecord) -> None:
        """Make a container known on a network."""

    def withdraw(self, network: str, container: str) -> None:
        """Make a container unknown on a network."""

    def state(self) -> NameServerState:
        """Return what the server knows."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The layers below, as one engine uses them.

    Attributes:
        boot_id: The kernel's name of this boot.
        networks: The links of this host.
        proxies: Where userland proxies are started.
        names: Where names of containers on user networks are told.
        network_settings: What is set for networks.
        seccomp_program: Returns the path of the compiled filter for a container that keeps some
            capabilities, by a profile of its own or (empty) the default; empty without filters.
    """

    supervisor: Supervisor
    layers: Layers
    images: ImageStore
    archives: ImageArchives
    registries: Registries
    cgroups: Cgroups
    boot_id: str
    networks: HostNetworks
    proxies: ProxyHost
    names: NamesHost
    network_settings: NetworkSettings
    seccomp_program: Callable[[frozenset[str], str], str]
