# SPDX-License-Identifier: Apache-2.0
"""What the edge asks of the engine, and nothing more.

`toolkit.engine` fulfils it by shape; the type checker compares the two where
`toolkit.api.main` puts them together. The tests' fakes have the same shapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Mapping,
        Sequence,
    )

    from toolkit.build.ports import BuildOptions, Told
    from toolkit.config import Instance
    from toolkit.engine.builds import PrunedBuilds
    from toolkit.engine.commit import CommitOptions
    from toolkit.engine.events import Event
    from toolkit.engine.health import Health
    from toolkit.engine.images import RemovedImage
    from toolkit.engine.info import EngineInfo
    from toolkit.engine.logs import LogSelection
    from toolkit.engine.model import (
        ContainerRecord,
        ContainerSpec,
        EndpointSpec,
        ExecId,
        ExecSpec,
        Limits,
        Network,
        NetworkSpec,
        RestartPolicy,
    )
    from toolkit.engine.ownership import Removed
    from toolkit.engine.readiness import Heard
    from toolkit.engine.tree import CopyOptions, PathStat
    from toolkit.engine.volumes import Volume
    from toolkit.engine.waiters import WaitResult
    from toolkit.images.image import Image
    from toolkit.images.progress import ProgressMessage
    from toolkit.images.references import Reference
    from toolkit.images.registry.credentials import Credentials
    from toolkit.images.registry.registries import FoundRepository, RemoteImage
    from toolkit.kernel.cgroup_stats import CgroupStats
    from toolkit.network.traffic import Traffic
    from toolkit.runtime.logfile import LogEntry
    from toolkit.runtime.protocol import AttachClient
    from toolkit.storage.changes import Change


class Container(Protocol):
    """One container."""

    @property
    def record(self) -> ContainerRecord:
        """A snapshot of what is known."""

    @property
    def health(self) -> Health | None:
        """What its health check has found; None without one."""

    @property
    def names(self) -> Sequence[str]:
        """Every path that leads to it, links' too; its own name first."""

    @property
    def links(self) -> Sequence[str]:
        """Its links, in docker's form."""

    @property
    def exec_ids(self) -> Sequence[str]:
        """The execs that were made in it."""

    async def start(self) -> None:
        """Start its program; NotModifiedError when it runs."""

    async def attach(self, client: AttachClient) -> None:
        """Pass a client's connection on; its descriptor is closed whatever happens."""

    def begin_wait(self, condition: str) -> asyncio.Future[WaitResult]:
        """Begin a wait as docker's conditions say; shield it, others may share it."""

    def check_attach(self) -> None:
        """Refuse what `attach` would refuse."""

    async def stop(self, timeout_seconds: int | None, stop_signal: str) -> None:
        """Stop it; NotModifiedError when it does not run."""

    async def kill(self, signal_text: str) -> None:
        """Send a signal."""

    async def restart(self, timeout_seconds: int | None, stop_signal: str) -> None:
        """Stop it if it runs, and start it."""

    async def pause(self) -> None:
        """Freeze it."""

    async def unpause(self) -> None:
        """Thaw it."""

    async def rename(self, name: str) -> None:
        """Give it another name."""

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal."""

    async def update(self, limits: Limits, policy: RestartPolicy | None) -> list[str]:
        """Change its limits; what is 0 or empty stays. Returns warnings."""

    async def remove(self, *, force: bool, volumes: bool) -> None:
        """Remove it, and its anonymous volumes where asked."""

    def logs(self, selection: LogSelection, *, follow: bool) -> AsyncIterator[LogEntry]:
        """Return what was written."""

    async def rw_size_bytes(self) -> int:
        """Return what its own layer takes."""

    async def changes(self) -> Sequence[Change]:
        """Return what differs from its image."""

    async def export(self) -> AsyncGenerator[bytes, None]:
        """Return its tree as a tar."""

    async def stat_path(self, path: str) -> PathStat:
        """Return what is at a path of it."""

    async def copy_out(self, path: str) -> tuple[PathStat, AsyncGenerator[bytes, None]]:
        """Return what is at a path of it, and it as a tar."""

    async def copy_in(self, path: str, stream: BinaryIO, options: CopyOptions) -> None:
        """Unpack a tar in a directory of it."""

    async def commit(self, options: CommitOptions) -> Image:
        """Make an image of what it has changed."""

    async def pids(self) -> list[int]:
        """Return its processes on the host."""


class Exec(Protocol):
    """One more program in a container."""

    @property
    def spec(self) -> ExecSpec:
        """What was asked for."""

    @property
    def running(self) -> bool:
        """Whether it runs."""

    @property
    def exit_code(self) -> int | None:
        """Its status, once it has ended."""

    @property
    def pid(self) -> int:
        """Its process on the host."""

    @property
    def container_id(self) -> str:
        """Where it runs."""

    def set_size(self, size: tuple[int, int]) -> None:
        """Set rows and columns that its terminal begins with; zeros leave what was said."""

    async def start(self, client: AttachClient | None) -> None:
        """Start it; the client's descriptor is closed whatever happens."""

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal."""


class Images(Protocol):
    """The images."""

    async def list(self) -> list[Image]:
        """Return every image, newest first."""

    async def inspect(self, text: str) -> Image:
        """Return one."""

    async def import_(
        self, stream: BinaryIO, *, reference: str | None, config: dict[str, Any], message: str
    ) -> Image:
        """Make an image of a tar."""

    async def import_url(
        self, url: str, *, reference: str | None, config: dict[str, Any], message: str
    ) -> Image:
        """Make an image of a tar that is fetched."""

    async def tag(self, text: str, reference: str) -> None:
        """Give an image one more name."""

    async def remove(self, text: str, *, force: bool, noprune: bool) -> Sequence[RemovedImage]:
        """Take a name away, or an image."""


class Transfers(Protocol):
    """How images come and go; each progress is closed by who asked for it."""

    async def pull(
        self, reference: Reference, *, credentials: Credentials, platform: str
    ) -> AsyncGenerator[ProgressMessage, None]:
        """Fetch from a registry."""

    async def push(
        self, reference: Reference, *, credentials: Credentials
    ) -> AsyncGenerator[ProgressMessage, None]:
        """Send to a registry."""

    async def load(self, stream: BinaryIO, *, quiet: bool) -> AsyncGenerator[ProgressMessage, None]:
        """Take over an archive."""

    async def save(self, names: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """Return an archive."""

    async def log_in(self, credentials: Credentials) -> str:
        """Try a login."""

    async def look(self, reference: Reference, *, credentials: Credentials) -> RemoteImage:
        """Return what a registry has."""

    async def search(
        self, term: str, *, limit: int, credentials: Credentials
    ) -> Sequence[FoundRepository]:
        """Return what a registry finds."""


class Builds(Protocol):
    """The builds."""

    async def build(
        self, options: BuildOptions, stream: BinaryIO, tell: Callable[[Told], Awaitable[None]]
    ) -> Image:
        """Build an image."""

    async def prune(self) -> PrunedBuilds:
        """Remove what only the next build might have used."""


class Volumes(Protocol):
    """The volumes."""

    async def list(self) -> Sequence[Volume]:
        """Return every volume by name."""

    async def inspect(self, name: str) -> Volume:
        """Return one."""

    async def size_bytes(self, name: str) -> int:
        """Return what its files take."""

    def users(self, name: str) -> Sequence[str]:
        """Return the containers that have it."""

    async def create(
        self,
        name: str,
        *,
        driver: str,
        labels: Mapping[str, str],
        options: Mapping[str, str],
    ) -> Volume:
        """Make one, or return it."""

    async def remove(self, name: str, *, force: bool) -> None:
        """Remove one that nobody has."""

    async def prune(self, chosen: Callable[[Volume], bool]) -> tuple[Sequence[str], int]:
        """Remove those of a choice that nobody has; names and bytes."""


class Networks(Protocol):
    """The networks."""

    def ids(self) -> Mapping[str, str]:
        """Return the ids of all networks by name."""

    async def list(self) -> Sequence[Network]:
        """Return every network by name."""

    async def inspect(self, reference: str) -> Network:
        """Return the one of a name, an id, or the beginning of one."""

    async def create(self, spec: NetworkSpec) -> tuple[Network, Sequence[str]]:
        """Make one; also warnings."""

    async def remove(self, reference: str) -> None:
        """Remove one that nobody is on."""

    async def connect(
        self, reference: str, container_reference: str, spec: EndpointSpec | None
    ) -> None:
        """Give a container a seat on a network, at once if it runs."""

    async def disconnect(self, reference: str, container_reference: str, *, force: bool) -> None:
        """Take a container off a network."""

    async def prune(self, chosen: Callable[[Network], bool]) -> Sequence[str]:
        """Remove those of a choice that nobody is on; their names."""

    async def repair(self) -> Sequence[str]:
        """Put right what others did to links and rules; a line for each thing."""


class Events(Protocol):
    """What happened."""

    @property
    def listener_count(self) -> int:
        """How many listen."""

    def subscribe(
        self,
        since_ns: int | None = None,
        until_ns: int | None = None,
        predicate: Callable[[Event], bool] = ...,
    ) -> AsyncIterator[Event]:
        """Listen."""


class Sessions(Protocol):
    """Who holds what, by connection."""

    def check_name(self, name: str) -> str:
        """Return a name; InvalidRequestError when it is none."""

    def check_free(self, name: str) -> str:
        """Return the name of a session that nobody has open; ConflictError."""

    def hold_session(self, name: str, fd: int, pending: bytes) -> None:
        """Hold a session while the connection stands; the descriptor is the engine's."""

    def hold_lease(self, name: str, fd: int, pending: bytes) -> None:
        """Hold a lease while the connection stands; the descriptor is the engine's."""

    async def prune(self) -> Removed:
        """Remove what nobody holds, and what was kept."""


class Readiness(Protocol):
    """When a container is ready to be talked to."""

    async def begin_listening(
        self,
        reference: str,
        port: int,
        *,
        protocol: Literal["tcp", "udp"],
        timeout_seconds: float,
    ) -> Awaitable[Heard]:
        """Return a wait until somebody listens; NotRunningError when nobody can."""


class EngineFacade(Protocol):
    """The engine."""

    @property
    def instance(self) -> Instance:
        """Whose engine it is."""

    @property
    def events(self) -> Events:
        """What happened."""

    @property
    def images(self) -> Images:
        """The images."""

    @property
    def transfers(self) -> Transfers:
        """How images come and go."""

    @property
    def builds(self) -> Builds:
        """The builds."""

    @property
    def volumes(self) -> Volumes:
        """The volumes."""

    @property
    def sessions(self) -> Sessions:
        """Who holds what."""

    @property
    def readiness(self) -> Readiness:
        """When a container is ready."""

    @property
    def networks(self) -> Networks:
        """The networks."""

    async def create_container(self, spec: ContainerSpec, name: str) -> tuple[Container, list[str]]:
        """Make a container; also warnings."""

    async def container(self, reference: str) -> Container:
        """Return one by name, id or unique prefix."""

    async def remove_link(self, path: str) -> None:
        """Remove a link by its path, ``/web/db``."""

    async def containers(self) -> Sequence[Container]:
        """Return all, newest first."""

    async def create_exec(self, reference: str, spec: ExecSpec) -> ExecId:
        """Make an exec."""

    async def exec(self, reference: str) -> Exec:
        """Return one."""

    async def info(self) -> EngineInfo:
        """Return facts about engine and host."""


@runtime_checkable
class Measured(Protocol):
    """A container that can say what it uses."""

    async def traffic(self) -> Mapping[str, Traffic]:
        """Return what its interfaces have received and sent, by name."""

    async def stats(self) -> CgroupStats:
        """Return what it has used; NotRunningError when it does not run."""
