# SPDX-License-Identifier: Apache-2.0
"""What the edge asks of the engine, and nothing more.

`toolkit.engine` fulfils it by shape; the type checker compares the two where
`toolkit.api.main` puts them together. The tests' fakes have the same shapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Mapping,
        Sequence,
    )

    from toolkit.api.container_facade import Container, Exec
    from toolkit.build.ports import BuildOptions, Told
    from toolkit.config import Instance
    from toolkit.engine.builds import PrunedBuilds
    from toolkit.engine.events import Event
    from toolkit.engine.images import RemovedImage
    from toolkit.engine.info import EngineInfo
    from toolkit.engine.model import (
        ContainerSpec,
        EndpointSpec,
        ExecId,
        ExecSpec,
        Network,
        NetworkSpec,
    )
    from toolkit.engine.ownership import Removed
    from toolkit.engine.readiness import Heard
    from toolkit.engine.volumes import Volume
    from toolkit.images.image import Image
    from toolkit.images.progress import ProgressMessage
    from toolkit.images.references import Reference
    from toolkit.images.registry.credentials import Credentials
    from toolkit.images.registry.registries import FoundRepository, RemoteImage


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
