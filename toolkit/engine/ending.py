# SPDX-License-Identifier: Apache-2.0
"""How a container's program ends, and how the container goes.

What is written down and given back at an end, the signals that bring it about,
and removal. Each private method is called with the lock held.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from toolkit.engine.creation import remove_files
from toolkit.engine.model import State
from toolkit.engine.recorded import RecordedContainer
from toolkit.engine.waiters import WaitResult
from toolkit.errors import (
    BackendError,
    NotRunningError,
    StorageError,
    ToolkitError,
)
from toolkit.runtime.exitfile import read_exit_status
from toolkit.runtime.protocol import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolkit.engine.context import EngineContext
    from toolkit.engine.exec import Exec
    from toolkit.engine.health import Health, HealthMonitor
    from toolkit.engine.model import ContainerRecord, ExecId
    from toolkit.engine.ports import RunningProgram

KILLED_EXIT_CODE: Final = 128 + signal.SIGKILL
END_SECONDS: Final = 10.0
_NEWS_SECONDS: Final = 1.0


class EndingContainer(RecordedContainer):
    """A container whose program may end, and which may go.

    Attributes:
        program: None unless it runs.
        exec_sessions: The sessions that run in it, by id.
    """

    def __init__(self, context: EngineContext, record: ContainerRecord) -> None:
        super().__init__(context, record)
        self._health: HealthMonitor | None = None
        self._release: asyncio.Task[None] | None = None
        self.program: RunningProgram | None = None
        self.exec_sessions: dict[ExecId, Exec] = {}

    @property
    def health(self) -> Health | None:
        """What its health check has found since its last start; None without one."""
        return self._health.health if self._health is not None else None

    def _stop_health(self) -> None:
        if self._health is not None:
            self._health.stop()

    async def record_end(self, status: ExitStatus, error: str = "", move: str = "exit") -> None:
        """Write down how the program ended, tell it, and answer those who wait."""
        released = self.program.released if self.program is not None else None
        self.program = None
        self._stop_health()
        self.exec_sessions.clear()
        self._drop_network(released)
        self._move_soon(
            move,
            pid=0,
            start_time_ticks=0,
            exit_code=status.exit_code,
            oom_killed=status.oom_killed,
            error=error,
            finished_at=status.finished_at,
        )
        if status.oom_killed:
            self.tell("oom")
        self.tell("die", exitCode=str(status.exit_code))
        self.waiters.release_exit(self._result())

    def _drop_network(self, released: asyncio.Future[None] | None = None) -> None:
        """Begin to give back what the container has of the host's network."""
        self._release = self._context.attachments.release_soon(self.record.id, released)
        self.record = replace(self.record, endpoints={}, ports=(), link_environment=())

    async def _await_network(self) -> None:
        """Return when nothing of an earlier life is on any network any more."""
        if self._release is not None:
            await asyncio.wait([self._release], timeout=END_SECONDS)

    async def _status_of(self, program: RunningProgram) -> tuple[ExitStatus, str]:
        """Return how a program ended; of one whose shim was lost, what can be known."""
        try:
            return await asyncio.shield(program.exited), ""
        except BackendError as error:
            context = self._context
            await context.on_host(end_cgroup, context, self.record)
            path = context.files(self.record.id).exit_status
            status = await context.on_host(read_exit_status, path)
            if status is not None:
                return status, ""
            return killed_status(), str(error)

    async def _end_by_force(self, program: RunningProgram) -> None:
        """Kill the program and write down its end, without letting go of the lock."""
        await self._send_signal(program, signal.SIGKILL)
        await asyncio.wait([program.exited], timeout=END_SECONDS)
        if not program.exited.done():
            await self._context.on_host(self._context.cgroup(self.record.id).kill)
            await asyncio.wait([program.exited], timeout=END_SECONDS)
        if program.exited.done():
            status, error = await self._status_of(program)
        else:
            await self._context.on_host(end_cgroup, self._context, self.record)
            status, error = killed_status(), "its shim did not answer"
        await self.record_end(status, error)

    async def _remove(self, *, volumes: bool, program: RunningProgram | None = None) -> None:
        """Remove everything of the container: intent, act, result."""
        context, record = self._context, self.record
        self._cancel_copy()
        intent = self._move_soon("remove")
        try:
            if program is not None:
                await asyncio.wait([program.released], timeout=END_SECONDS)
            await intent
            # Rules and links go while the files do: neither needs the other.
            removing = context.on_host(remove_files, context, record.id)
            await asyncio.gather(removing, self._await_network())
            if volumes and record.mounts:
                await context.on_host(self._remove_volumes)
            await context.store.delete(record.id)
        except (OSError, ToolkitError) as error:
            text = f"container {record.id} cannot be removed: {error}"
            await self._move("break", error=text)
            self.waiters.release_all(
                WaitResult(exit_code=record.state.exit_code, error=text), gone=False
            )
            raise StorageError(text) from error
        self.is_listed = False
        context.index.drop(record.id)
        self._close_clients()
        self.tell("destroy")
        self.waiters.release_all(self._result())

    def _remove_volumes(self) -> None:
        """Remove the volumes that were made for this container alone."""
        others = [
            mount.source
            for container in self._context.index.newest_first()
            if container.record.id != self.record.id
            for mount in container.record.mounts
            if mount.kind == "volume"
        ]
        for mount in self.record.mounts:
            if mount.kind == "volume" and mount.anonymous and mount.source not in others:
                self._context.volumes.remove(mount.source)

    async def _send_signal(self, program: RunningProgram, number: int) -> None:
        """Signal the program; a fatal signal also wakes a paused one."""
        try:
            await program.signal(number)
        except BackendError:
            if not await self._has_ended(program):
                if number != signal.SIGKILL:
                    raise
                await self._context.on_host(self._context.cgroup(self.record.id).kill)
        self.tell("kill", signal=str(int(number)))
        if self.record.state.status == State.PAUSED and self.record.state.stopped_by_user:
            with contextlib.suppress(NotRunningError):
                await self._thaw()

    async def _thaw(self) -> None:
        await self._in_cgroup(self._context.cgroup(self.record.id).thaw)
        await self._move("unpause")

    async def _in_cgroup(self, act: Callable[..., None], *args: object) -> None:
        """Do something to the control group, which is gone as soon as the program is.

        Raises:
            NotRunningError: The program has ended meanwhile.
        """
        program = self.program
        try:
            await self._context.on_host(act, *args)
        except ToolkitError as error:
            if program is None or await self._has_ended(program):
                raise NotRunningError(self.record.id) from error
            raise

    async def _has_ended(self, program: RunningProgram) -> bool:
        """Say whether a program that does not answer is over; the word may be on its way."""
        await asyncio.wait([program.exited], timeout=_NEWS_SECONDS)
        return program.exited.done()


def killed_status() -> ExitStatus:
    """Return the end of a program of which nothing is known but that it is over."""
    return ExitStatus(
        exit_code=KILLED_EXIT_CODE, signal=signal.SIGKILL, finished_at=datetime.now(UTC)
    )


def end_cgroup(context: EngineContext, record: ContainerRecord) -> None:
    """Kill what is left of a container and remove its control group; nothing may be left of it."""
    cgroup = context.cgroup(record.id)
    cgroup.kill()
    cgroup.remove()
