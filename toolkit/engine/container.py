# SPDX-License-Identifier: Apache-2.0
"""A container, and its verbs.

Each verb holds the container's lock while it changes something, moves the state
by the life cycle's table, and leaves nothing when it fails half-way. What a
start and an end consist of is `toolkit.engine.program`'s and `.ending`'s; nobody holds the lock
while waiting for a program to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from toolkit.engine.limits import resources
from toolkit.engine.logs import LogSelection, read_log
from toolkit.engine.measured import MeasuredContainer
from toolkit.engine.model import State
from toolkit.engine.names import checked_name
from toolkit.engine.replay import replay_log
from toolkit.engine.signals import parse_signal
from toolkit.engine.update import updated
from toolkit.engine.validation import check_size
from toolkit.errors import (
    BackendError,
    ConflictError,
    InvalidRequestError,
    MoveRefusedError,
    NotModifiedError,
    NotRunningError,
    ToolkitError,
)
from toolkit.runtime.lifecycle import ACTIVE, RUNNING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from toolkit.engine.model import ExecId, Limits, RestartPolicy
    from toolkit.engine.ports import RunningProgram
    from toolkit.engine.waiters import WaitResult
    from toolkit.runtime.logfile import LogEntry
    from toolkit.runtime.protocol import AttachClient

DEFAULT_STOP_SECONDS: Final = 10
_KILL_SECONDS: Final = 10.0


class Container(MeasuredContainer):
    """A container of this engine: its record, and what can be done with it."""

    @property
    def is_running(self) -> bool:
        """Whether its program exists."""
        return self.record.state.status in RUNNING

    async def start(self) -> None:
        """Start the program.

        Raises:
            NotModifiedError: It runs already.
            CommandError: The program cannot be run.
            ToolkitError: The host or the backend refuses.
        """
        await self._context.whole(self._start_once())

    async def wait(self, condition: str = "") -> WaitResult:
        """Wait for the end, the next end, or the removal; never for ever in vain."""
        return await asyncio.shield(self.begin_wait(condition))

    def begin_wait(self, condition: str = "") -> asyncio.Future[WaitResult]:
        """Return the future of a wait; an end after this call counts, read or not.

        Shield it before awaiting: others may wait for the same.

        Raises:
            InvalidRequestError: There is no such condition.
        """
        return self.waiters.begin(condition, self.record.state.status, self._result())

    def check_attach(self) -> None:
        """Refuse what `attach` would refuse, before a connection is given away.

        Raises:
            ConflictError: The container is paused, restarting or being removed.
        """
        state, name = self.record.state.status, self.record.id
        if state == State.PAUSED:
            raise ConflictError(f"Container {name} is paused, unpause the container before attach.")
        if state == State.RESTARTING:
            raise ConflictError(
                f"Container {name} is restarting, wait until the container is running."
            )
        if state in {State.REMOVING, State.DEAD}:
            raise ConflictError(f"Container {name} is {state}: there is nothing to attach to.")

    async def attach(self, client: AttachClient) -> None:
        """Give a client's connection to the program, or keep it until there is one.

        The connection is the engine's from this call on, also when it raises.
        """
        await self._context.whole(self._attach(client))

    async def stop(self, timeout_seconds: int | None = None, stop_signal: str = "") -> None:
        """Ask the program to end, and kill it when it has not after the time.

        Args:
            timeout_seconds: None takes the container's own; negative waits for ever.
            stop_signal: Empty takes the container's own.

        Raises:
            NotModifiedError: It does not run.
        """
        parse_signal(stop_signal)
        if not await self._context.whole(self._stop(timeout_seconds, stop_signal)):
            raise NotModifiedError("container already stopped")

    async def kill(self, signal_text: str = "") -> None:
        """Send a signal; after SIGKILL, return when the program is dead.

        Raises:
            InvalidRequestError: There is no such signal.
            NotRunningError: It does not run.
        """
        number = parse_signal(signal_text)
        await self._context.whole(self._kill(number))

    async def restart(self, timeout_seconds: int | None = None, stop_signal: str = "") -> None:
        """Stop it if it runs, then start it."""
        parse_signal(stop_signal)
        await self._context.whole(self._restart(timeout_seconds, stop_signal))

    async def pause(self) -> None:
        """Stop every process of it where it is.

        Raises:
            NotRunningError: It does not run.
            MoveRefusedError: It is paused already.
        """
        await self._context.whole(self._pause())

    async def unpause(self) -> None:
        """Let its processes go on.

        Raises:
            MoveRefusedError: It is not paused.
        """
        await self._context.whole(self._unpause())

    async def rename(self, name: str) -> None:
        """Give it another name.

        Raises:
            InvalidRequestError: It is no name, or the present one.
            NameInUseError: Another container has it.
        """
        await self._context.whole(self._rename(name))

    async def update(self, limits: Limits, policy: RestartPolicy | None = None) -> list[str]:
        """Change limits, also of the running program; what is zero stays. Return warnings."""
        return await self._context.whole(self._update(limits, policy))

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of the program's terminal.

        Raises:
            NotRunningError: It does not run.
            InvalidRequestError: No terminal has that size.
        """
        check_size(rows, columns)
        program = self._running_program()
        try:
            await program.resize(rows, columns)
        except BackendError as error:
            if await self._has_ended(program):
                raise NotRunningError(self.record.id) from error
            raise
        self.tell("resize", height=str(rows), width=str(columns))

    async def remove(self, *, force: bool = False, volumes: bool = False) -> None:
        """Remove it, with its anonymous volumes if asked; a running one only by force.

        Raises:
            ConflictError: It runs.
            StorageError: Something of it cannot be removed: it is dead, not gone.
        """
        await self._context.whole(self._remove_once(force=force, volumes=volumes))

    def logs(
        self, selection: LogSelection | None = None, *, follow: bool = False
    ) -> AsyncIterator[LogEntry]:
        """Give the log's entries; following ends when the program does."""
        path = self._context.files(self.record.id).log
        ended = self._ended if follow and self.record.state.status in ACTIVE else None
        return read_log(self._context, path, selection or LogSelection(), ended)

    @property
    def exec_ids(self) -> list[ExecId]:
        """The exec sessions that run in it."""
        return sorted(self.exec_sessions)

    async def _ended(self) -> None:
        if self.record.state.status in ACTIVE:
            await self.wait("next-exit")

    async def _attach(self, client: AttachClient) -> None:
        fd = client.fd
        replays = False
        try:
            async with self._lock:
                self._check_listed()
                self.check_attach()
                self.tell("attach")
                program = self.program
                if program is not None:
                    fd = -1
                    await program.attach(client)
                elif client.stream:
                    fd = -1
                    self.keep_client(client)
                else:
                    replays = client.logs
            if replays:
                fd = -1
                await replay_log(self._context, self._context.files(self.record.id).log, client)
        finally:
            if fd >= 0:
                os.close(fd)

    async def _stop(self, timeout_seconds: int | None, stop_signal: str) -> bool:
        """Stop the program; say whether there was anything to stop."""
        spec = self.record.spec
        number = parse_signal(stop_signal or spec.stop_signal, signal.SIGTERM)
        grace = timeout_seconds
        if grace is None:
            grace = spec.stop_timeout_seconds
        if grace is None:
            grace = DEFAULT_STOP_SECONDS
        async with self._lock:
            self._check_listed()
            if await self._give_up_restart():
                self.tell("stop")
                return True
            program = self.program
            if program is None:
                return False
            stopped = self.begin_wait("next-exit")
            await self._save(stopped_by_user=True)
            await self._send_signal(program, number if grace else signal.SIGKILL)
        timeout = None if grace < 0 else max(grace, 0)
        await asyncio.wait([stopped], timeout=timeout if grace else _KILL_SECONDS)
        if not stopped.done():
            await self._force_end(program, stopped)
        await self._await_network()  # who stops a container may want its ports at once
        self.tell("stop")
        return True

    async def _kill(self, number: int) -> None:
        async with self._lock:
            self._check_listed()
            if number == signal.SIGKILL and await self._give_up_restart():
                return
            program = self._running_program("Cannot kill container: ")
            own = parse_signal(self.record.spec.stop_signal, signal.SIGTERM)
            stopped = self.begin_wait("next-exit")
            if number in {signal.SIGKILL, own}:
                await self._save(stopped_by_user=True)
            await self._send_signal(program, number)
        if number == signal.SIGKILL:
            await asyncio.wait([stopped], timeout=_KILL_SECONDS)
            if not stopped.done():
                await self._force_end(program, stopped)

    async def _force_end(
        self, program: RunningProgram, stopped: asyncio.Future[WaitResult]
    ) -> None:
        """Kill whatever is left, by the shim and then by the control group."""
        for by_shim in (True, False):
            async with self._lock:
                if self.program is not program:
                    return
                if by_shim:
                    await self._send_signal(program, signal.SIGKILL)
                else:
                    await self._context.on_host(self._context.cgroup(self.record.id).kill)
            await asyncio.wait([stopped], timeout=_KILL_SECONDS)
            if stopped.done():
                return
        raise BackendError(f"container {self.record.id} was killed, but its end was not reported")

    async def _restart(self, timeout_seconds: int | None, stop_signal: str) -> None:
        self._stays = True  # also one that is removed when it ends
        try:
            await self._stop(timeout_seconds, stop_signal)
        finally:
            self._stays = False
        try:
            await self._start_once()
        except NotModifiedError:
            return  # somebody else was quicker
        self.tell("restart")

    async def _pause(self) -> None:
        async with self._lock:
            self._check_listed()
            self._running_program()
            if self.record.state.status == State.PAUSED:
                raise MoveRefusedError("already paused", "pause")
            cgroup = self._context.cgroup(self.record.id)
            try:
                await self._in_cgroup(cgroup.freeze)
            except NotRunningError:
                raise
            except ToolkitError:
                with contextlib.suppress(ToolkitError):  # what froze it is the one to tell
                    await self._context.on_host(cgroup.thaw)
                raise
            await self._move("pause")
            self.tell("pause")

    async def _unpause(self) -> None:
        async with self._lock:
            self._check_listed()
            if self.record.state.status != State.PAUSED:
                raise ConflictError(f"Container {self.record.id} is not paused")
            await self._thaw()
            self.tell("unpause")

    async def _rename(self, name: str) -> None:
        new, old = checked_name(name), self.record.name
        async with self._lock:
            self._check_listed()
            if new == old:
                raise InvalidRequestError(
                    "Renaming a container with the same name as its current name"
                )
            index = self._context.index
            index.reserve_name(new, self.record.id)
            try:
                await self._commit(replace(self.record, name=new))
            except BaseException:
                index.release_name(new)
                raise
            index.release_name(old)
            self.tell("rename", oldName=f"/{old}")
            await self._context.links.renamed(self.record, old)
            await self._context.names.renamed(self.record)

    async def _update(self, limits: Limits, policy: RestartPolicy | None) -> list[str]:
        async with self._lock:
            self._check_listed()
            host_limits = self._context.limits
            changed, warnings = updated(self.record, limits, policy, host_limits)
            if self.program is not None and changed.spec.limits != self.record.spec.limits:
                cgroup = self._context.cgroup(self.record.id)
                wanted = resources(changed.spec.limits, host_limits)
                await self._in_cgroup(cgroup.apply, wanted)
            await self._commit(changed)
            self.tell("update")
            return warnings
