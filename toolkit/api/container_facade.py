# SPDX-License-Identifier: Apache-2.0
"""What the edge asks of one container and of one exec: the part of the facade with the verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol, runtime_checkable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Mapping,
        Sequence,
    )

    from toolkit.engine.commit import CommitOptions
    from toolkit.engine.health import Health
    from toolkit.engine.logs import LogSelection
    from toolkit.engine.model import (
        ContainerRecord,
        ExecSpec,
        Limits,
        RestartPolicy,
    )
    from toolkit.engine.tree import CopyOptions, PathStat
    from toolkit.engine.waiters import WaitResult
    from toolkit.images.image import Image
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


@runtime_checkable
class Measured(Protocol):
    """A container that can say what it uses."""

    async def traffic(self) -> Mapping[str, Traffic]:
        """Return what its interfaces have received and sent, by name."""

    async def stats(self) -> CgroupStats:
        """Return what it has used; NotRunningError when it does not run."""
