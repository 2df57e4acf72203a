# SPDX-License-Identifier: Apache-2.0
"""How a container's program begins and ends, and how the container goes.

The part of a container below its verbs: intent, act, result for a start; the
order of things when a program has ended; removal; coming back by itself. Each
private method is called with the lock held, or takes
it where its name says ``once``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

from toolkit.engine.creation import remove_files
from toolkit.engine.launch import write_bundle
from toolkit.engine.links import entries_of, environment_of
from toolkit.engine.model import State
from toolkit.engine.networked import needs_connecting
from toolkit.engine.recorded import RecordedContainer
from toolkit.engine.restarts import BackOff, comes_back
from toolkit.engine.waiters import WaitResult
from toolkit.errors import (
    BackendError,
    CommandError,
    ConflictError,
    NotModifiedError,
    NotRunningError,
    StorageError,
    ToolkitError,
)
from toolkit.runtime.exitfile import read_exit_status
from toolkit.runtime.lifecycle import ACTIVE, after
from toolkit.runtime.protocol import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from toolkit.engine.attachment import Attachment
    from toolkit.engine.container import Container
    from toolkit.engine.context import EngineContext
    from toolkit.engine.exec import Exec
    from toolkit.engine.health import Health, HealthMonitor
    from toolkit.engine.model import ContainerRecord, ExecId
    from toolkit.engine.ports import RunningProgram
    from toolkit.runtime.protocol import AttachClient

KILLED_EXIT_CODE: Final = 128 + signal.SIGKILL
FAILED_START_EXIT_CODE: Final = 128
_END_SECONDS: Final = 10.0
_NEEDED_SECONDS: Final = 10.0
_NEWS_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class ContainerProgram(RecordedContainer):
    """A container's program while there is one, and how it comes and goes.

    Attributes:
        program: None unless it runs.
        exec_sessions: The sessions that run in it, by id.
    """

    def __init__(self, context: EngineContext, record: ContainerRecord) -> None:
        super().__init__(context, record)
        self._back_off = BackOff()
        self._began = 0.0
        self._restart_timer: asyncio.TimerHandle | None = None
        self._stays = False
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

    async def adopt(self, program: RunningProgram) -> None:
        """Take a program over that an earlier engine started."""
        state = self.record.state
        if state.status == State.STARTING:
            await self._move("run", started_at=datetime.now(UTC), finished_at=None)
        if state.status == State.RUNNING:  # a commit may have been cut off: it froze the container
            with contextlib.suppress(ToolkitError):
                await self._context.on_host(self._context.cgroup(self.record.id).thaw)
        await self._save(pid=program.pid, start_time_ticks=program.start_time_ticks)
        self._take(program)

    async def settle(self, status: ExitStatus, error: str = "") -> None:
        """Write down an end that no engine saw."""
        if self.record.state.status in {State.CREATED, State.STARTING}:
            if self.record.state.status == State.CREATED:
                await self._move("start")
            await self._move("run", started_at=self.record.state.started_at or status.finished_at)
        await self.record_end(status, error)

    async def finish_removal(self, *, volumes: bool = False) -> None:
        """Remove a container whose removal was begun, or is due."""
        async with self._lock:
            await self._remove(volumes=volumes)

    def bring_back(self, after: Collection[asyncio.Task[None]] = ()) -> asyncio.Task[None]:
        """Begin to start a program again that its policy brings back with the engine.

        Args:
            after: The same of those that it needs to run.
        """
        return self._context.spawn(self._bring_back(after))

    async def _bring_back(self, after: Collection[asyncio.Task[None]]) -> None:
        if after:
            await asyncio.wait(after, timeout=_NEEDED_SECONDS)
        with contextlib.suppress(ToolkitError):  # it is in the record: nobody else asked
            await self._start_once()

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
            await asyncio.wait([self._release], timeout=_END_SECONDS)

    def _begin_restart(self, delay_seconds: float) -> None:
        """Start the program again after a delay; the state says RESTARTING meanwhile."""
        loop = asyncio.get_running_loop()
        self._restart_timer = loop.call_later(
            delay_seconds, lambda: self._context.spawn(self._come_back())
        )

    def let_go(self) -> None:
        """Forget the program, which goes on: the engine closes."""
        if self._restart_timer is not None:
            self._restart_timer.cancel()
        self._stop_health()
        program, self.program = self.program, None
        if program is not None:
            program.forget()

    async def _start_once(self) -> None:
        async with self._lock:
            self._check_listed()
            match self.record.state.status:
                case State.PAUSED:
                    raise ConflictError("cannot start a paused container, try unpause instead")
                case State.RUNNING:
                    raise NotModifiedError("container already started")
                case State.REMOVING | State.DEAD:
                    raise ConflictError("container is marked for removal and cannot be started")
            self._cancel_restart()
            self._back_off = BackOff()
            await self._start(restart_count=0, stopped_by_user=False)

    async def _start(self, **changes: object) -> None:
        """Start the program: intent, act, result; undone wholly when it fails."""
        context, has_run = self._context, self.record.state.started_at is not None
        context.parts.supervisor.expect(self.record.backend)
        await self._await_network()
        self._change(status=after(self.record.state.status, "start"), **changes)
        ways: asyncio.Task[None] | None = None
        try:
            attachment = await self._reserve_network()
            links = context.links.begun(self.record)
            self.record = replace(self.record, link_environment=environment_of(links))
            intent = self._write_soon()
            clients = self._take_clients()
            try:
                way = context.attachments.published.open(attachment, has_links=bool(links))
                ways = context.spawn(way)
                if has_run:
                    await context.on_host(_drop_exit_status, context, self.record)
                launch = context.launch_context(self.record, entries_of(links))
                await context.on_host(write_bundle, self.record, launch)
                await intent
            except BaseException:
                for client in clients:
                    os.close(client.fd)
                raise
            began = datetime.now(UTC)  # no line of the log is older
            program = await self._launch(clients, attachment, ways)
        except BaseException as error:
            if ways is not None:
                await asyncio.wait([ways])
            self._drop_network()
            await self._undo_start(error, "fail" if has_run else "undo")
            raise
        self._move_soon(
            "run",
            pid=program.pid,
            start_time_ticks=program.start_time_ticks,
            exit_code=0,
            oom_killed=False,
            error="",
            started_at=began,
        )
        self.tell("start")
        self._take(program)
        context.names.watch_soon(self.record, program)

    async def _reserve_network(self) -> Attachment:
        """Hold the seats and ports that the request asks for, and note them in the record."""
        attachment = await self._context.attachments.reserve(self.record)
        if attachment.seats:
            self.record = replace(
                self.record,
                endpoints=attachment.endpoints,
                ports=attachment.ports,
                chosen_ports=attachment.chosen_ports,
            )
        return attachment

    async def _launch(
        self, clients: list[AttachClient], attachment: Attachment, ways: asyncio.Task[None]
    ) -> RunningProgram:
        """Start the program; it runs when its networks are connected and its ports open."""
        attachments = self._context.attachments
        bundle_dir = self._context.files(self.record.id).bundle_dir
        connect = None
        proxy: list[asyncio.Task[None]] = []
        if needs_connecting(self.record):

            async def connect(netns_fd: int) -> None:
                await attachments.connect(attachment, self.record, netns_fd)
                await ways
                proxy.append(self._context.spawn(attachments.published.start_proxy(attachment)))

        program = await self._context.parts.supervisor.start(
            bundle_dir, clients, backend=self.record.backend, connect=connect
        )
        try:
            await asyncio.gather(*proxy)
        except BaseException:
            await self._end_unheard(program)
            raise
        return program

    async def _end_unheard(self, program: RunningProgram) -> None:
        """End a program that runs while its start fails after all."""
        with contextlib.suppress(BackendError):
            await program.signal(signal.SIGKILL)
        await asyncio.wait([program.released], timeout=_END_SECONDS)
        program.forget()

    async def _undo_start(self, error: BaseException, move: str) -> None:
        code = error.exit_code if isinstance(error, CommandError) else FAILED_START_EXIT_CODE
        bundle_dir = self._context.files(self.record.id).bundle_dir
        await self._context.on_host(shutil.rmtree, bundle_dir, ignore_errors=True)
        await self._move(move, exit_code=code, error=str(error))
        # The start's own answer tells the error: docker's command would print it twice.
        self.waiters.release_exit(WaitResult(exit_code=code))
        if self.record.spec.host.auto_remove:
            with contextlib.suppress(ToolkitError):  # the start's own error is the one to tell
                await self._remove(volumes=True)

    def _take(self, program: RunningProgram) -> None:
        self.program = program
        self._began = time.monotonic()
        self._health = self._context.watch_health(cast("Container", self))
        program.on_detach = lambda: self.tell("detach")
        program.exited.add_done_callback(lambda _: self._on_exited(program))

    def _on_exited(self, program: RunningProgram) -> None:
        if self.program is program:
            self._context.spawn(self._end_once(program))

    async def _end_once(self, program: RunningProgram) -> None:
        async with self._lock:
            if self.program is not program:
                return
            status, error = await self._status_of(program)
            state = self.record.state
            again = not self._stays and comes_back(
                self.record.spec.host.restart_policy,
                exit_code=status.exit_code,
                restart_count=state.restart_count,
                stopped_by_user=state.stopped_by_user,
            )
            await self.record_end(status, error, "retry" if again else "exit")
            if again:
                ran_seconds = time.monotonic() - self._began
                self._begin_restart(self._back_off.next_delay_seconds(ran_seconds))
            elif self.record.spec.host.auto_remove and not self._stays:
                await self._remove(volumes=True, program=program)

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

    async def _come_back(self) -> None:
        async with self._lock:
            if not self.is_listed or self.record.state.status != State.RESTARTING:
                return
            self._restart_timer = None
            count = self.record.state.restart_count + 1
            with contextlib.suppress(ToolkitError):  # it is in the record: nobody else asked
                await self._start(restart_count=count)

    async def _give_up_restart(self) -> bool:
        """End the wait for the next restart, if there is one."""
        if self.record.state.status != State.RESTARTING:
            return False
        self._cancel_restart()
        await self._move("stop", stopped_by_user=True)
        self.waiters.release_exit(self._result())
        return True

    def _cancel_restart(self) -> None:
        if self._restart_timer is not None:
            self._restart_timer.cancel()
            self._restart_timer = None

    async def _remove_once(self, *, force: bool, volumes: bool) -> None:
        async with self._lock:
            self._check_listed()
            program = self.program
            status = self.record.state.status
            if status in ACTIVE and not force:
                raise ConflictError(
                    f'cannot remove container "/{self.record.name}": container is {status}: '
                    "stop the container before removing or force remove"
                )
            if program is not None:
                await self._end_by_force(program)
            self._cancel_restart()
            await self._remove(volumes=volumes, program=program)

    async def _end_by_force(self, program: RunningProgram) -> None:
        """Kill the program and write down its end, without letting go of the lock."""
        await self._send_signal(program, signal.SIGKILL)
        await asyncio.wait([program.exited], timeout=_END_SECONDS)
        if not program.exited.done():
            await self._context.on_host(self._context.cgroup(self.record.id).kill)
            await asyncio.wait([program.exited], timeout=_END_SECONDS)
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
        await self._move("remove")
        try:
            if program is not None:
                await asyncio.wait([program.released], timeout=_END_SECONDS)
            await self._await_network()
            await context.on_host(remove_files, context, record.id)
            if volumes:
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


def _drop_exit_status(context: EngineContext, record: ContainerRecord) -> None:
    context.files(record.id).exit_status.unlink(missing_ok=True)


def end_cgroup(context: EngineContext, record: ContainerRecord) -> None:
    """Kill what is left of a container and remove its control group; nothing may be left of it."""
    cgroup = context.cgroup(record.id)
    cgroup.kill()
    cgroup.remove()
