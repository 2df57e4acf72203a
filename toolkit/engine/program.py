# SPDX-License-Identifier: Apache-2.0
"""How a container's program begins, is taken over, and comes back by itself.

The part of a container below its verbs: intent, act, result for a start; what
follows an end (`toolkit.engine.ending` has the end itself). Each private method
is called with the lock held, or takes it where its name says ``once``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

from toolkit.engine.ending import END_SECONDS, EndingContainer, end_cgroup
from toolkit.engine.launch import write_bundle
from toolkit.engine.links import entries_of, environment_of
from toolkit.engine.model import State
from toolkit.engine.networked import needs_connecting
from toolkit.engine.restarts import BackOff, comes_back
from toolkit.engine.waiters import WaitResult
from toolkit.errors import (
    BackendError,
    CommandError,
    ConflictError,
    NotModifiedError,
    ToolkitError,
)
from toolkit.runtime.exitfile import blank_exit_status
from toolkit.runtime.lifecycle import ACTIVE, after

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from toolkit.engine.attachment import Attachment
    from toolkit.engine.container import Container
    from toolkit.engine.context import EngineContext
    from toolkit.engine.launch import LaunchContext
    from toolkit.engine.model import ContainerRecord
    from toolkit.engine.ports import RunningProgram
    from toolkit.runtime.protocol import AttachClient, ExitStatus

FAILED_START_EXIT_CODE: Final = 128
_NEEDED_SECONDS: Final = 10.0


class _Begun:
    """What a start has begun, by name: all of it is over before the start is undone."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def add(self, name: str, task: asyncio.Task[None]) -> None:
        self._tasks[name] = task

    def __getitem__(self, name: str) -> asyncio.Task[None]:
        return self._tasks[name]

    async def over(self) -> None:
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


class ContainerProgram(EndingContainer):
    """A container's program while there is one, and how it comes and comes back."""

    def __init__(self, context: EngineContext, record: ContainerRecord) -> None:
        super().__init__(context, record)
        self._back_off = BackOff()
        self._began = 0.0
        self._restart_timer: asyncio.TimerHandle | None = None
        self._stays = False

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
        has_run = self.record.state.started_at is not None
        self._context.parts.supervisor.expect(self.record.backend)
        await self._await_network()
        self._change(status=after(self.record.state.status, "start"), **changes)
        begun = _Begun()
        try:
            attachment, clients = await self._prepare(begun, has_run=has_run)
            began = datetime.now(UTC)  # no line of the log is older
            program = await self._launch(clients, attachment, begun)
        except BaseException as error:
            await begun.over()
            self._drop_network()
            await self._undo_start(error, "fail" if has_run else "undo")
            raise
        self._note_start(program, began)

    async def _prepare(
        self, begun: _Begun, *, has_run: bool
    ) -> tuple[Attachment, list[AttachClient]]:
        """Begin all that a program waits for; return what is held for it, and its clients.

        Args:
            begun: Takes up what is begun.
            has_run: Whether an earlier life may have left an exit status.
        """
        context = self._context
        attachment = await self._reserve_network()
        links = context.links.begun(self.record)
        self.record = replace(self.record, link_environment=environment_of(links))
        begun.add("intent", self._write_soon())
        with self._clients_taken() as clients:
            way = context.attachments.published.open(attachment, has_links=bool(links))
            begun.add("way", context.spawn(way))
            if has_run:
                await context.on_host(blank_exit_status, context.files(self.record.id).exit_status)
            launch = context.launch_context(self.record, entries_of(links))
            begun.add("bundle", context.spawn(self._write_bundle(launch, begun["intent"])))
        return attachment, clients

    async def _write_bundle(self, launch: LaunchContext, intent: asyncio.Task[None]) -> None:
        await self._context.on_host(write_bundle, self.record, launch)
        await intent

    @contextlib.contextmanager
    def _clients_taken(self) -> Iterator[list[AttachClient]]:
        """Give the clients that wait for the start; closed when the block fails."""
        clients = self._take_clients()
        try:
            yield clients
        except BaseException:
            for client in clients:
                os.close(client.fd)
            raise

    def _note_start(self, program: RunningProgram, began: datetime) -> None:
        """Write down and tell that the program runs, and watch it."""
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
        self._context.names.watch_soon(self.record, program)

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
        self,
        clients: list[AttachClient],
        attachment: Attachment,
        begun: _Begun,
    ) -> RunningProgram:
        """Start the program; it runs when its networks are connected and its ports open.

        A shim is taken while the bundle is still being written.
        """
        attachments = self._context.attachments
        bundle_dir = self._context.files(self.record.id).bundle_dir
        connect = None
        if needs_connecting(self.record):

            async def connect(netns_fd: int) -> None:
                await begun["intent"]
                await attachments.connect(attachment, self.record, netns_fd)
                await begun["way"]
                proxy = attachments.published.start_proxy(attachment)
                begun.add("proxy", self._context.spawn(proxy))

        program = await self._context.parts.supervisor.start(
            bundle_dir,
            clients,
            backend=self.record.backend,
            written=begun["bundle"],
            connect=connect,
        )
        try:
            if connect is not None:
                await begun["proxy"]
        except BaseException:
            await self._end_unheard(program)
            raise
        return program

    async def _end_unheard(self, program: RunningProgram) -> None:
        """End a program that runs while its start fails after all."""
        with contextlib.suppress(BackendError):
            await program.signal(signal.SIGKILL)
        await asyncio.wait([program.released], timeout=END_SECONDS)
        program.forget()

    async def _undo_start(self, error: BaseException, move: str) -> None:
        code = error.exit_code if isinstance(error, CommandError) else FAILED_START_EXIT_CODE
        if isinstance(error, BackendError):  # its shim may have gone without a word
            with contextlib.suppress(ToolkitError):
                await self._context.on_host(end_cgroup, self._context, self.record)
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
