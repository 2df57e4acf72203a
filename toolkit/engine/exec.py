# SPDX-License-Identifier: Apache-2.0
"""One more program in a running container: asked for, started once, remembered for a while."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from toolkit.engine.launch import exec_process
from toolkit.engine.model import ExecId, State
from toolkit.engine.validation import check_exec, check_size
from toolkit.errors import BackendError, ConflictError, ExecNotFoundError, NotRunningError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.engine.container import Container
    from toolkit.engine.context import EngineContext
    from toolkit.engine.model import ContainerId, ExecSpec
    from toolkit.engine.ports import RunningProgram
    from toolkit.runtime.protocol import AttachClient, ExitStatus

KEPT_SECONDS: Final = 300.0
_ID_BYTES: Final = 32
_LOST_EXIT_CODE: Final = 137


class Exec:
    """An exec session: a program that was asked for, runs, or ran.

    Attributes:
        id: 64 hex digits.
        spec: What was asked for.
        container_id: Where it runs.
    """

    def __init__(self, context: EngineContext, container: Container, spec: ExecSpec) -> None:
        self._context = context
        self._container = container
        self._program: RunningProgram | None = None
        self._is_started = False
        self._failed_code: int | None = None
        self.id = ExecId(os.urandom(_ID_BYTES).hex())
        self.spec = spec
        self.container_id: ContainerId = container.record.id

    @property
    def is_listed(self) -> bool:
        """Whether its container still exists."""
        return self._container.is_listed

    @property
    def running(self) -> bool:
        """Whether the program exists."""
        return self._program is not None and not self._program.exited.done()

    @property
    def pid(self) -> int:
        """The program's process on the host; 0 before it starts."""
        return self._program.pid if self._program is not None else 0

    @property
    def exit_code(self) -> int | None:
        """How the program ended; None before that.

        Read from the shim's own word, which comes before the end of the streams.
        """
        if self._program is None:
            return self._failed_code
        exited = self._program.exited
        if not exited.done():
            return None
        if exited.cancelled() or exited.exception() is not None:
            return _LOST_EXIT_CODE
        return exited.result().exit_code

    def set_size(self, size: tuple[int, int]) -> None:
        """Set rows and columns that its terminal will begin with; zeros leave what was said.

        Raises:
            InvalidRequestError: No terminal has that size.
        """
        check_size(*size)
        if all(size):
            self.spec = replace(self.spec, console_size=size)

    async def start(self, client: AttachClient | None = None) -> None:
        """Start the program; the connection is the engine's from this call on.

        Raises:
            ConflictError: It was started before, or the container is paused.
            NotRunningError: The container does not run.
            CommandError: The program cannot be run.
        """
        clients = [client] if client is not None else []
        await self._context.whole(self._start(clients))

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of the program's terminal.

        Raises:
            ConflictError: It does not run.
        """
        check_size(rows, columns)
        if self._program is None or not self.running:
            raise ConflictError(f"exec {self.id} is not running")
        await self._program.resize(rows, columns)

    async def kill(self) -> None:
        """Kill the program; one that has ended is no error."""
        if self._program is not None and self.running:
            with contextlib.suppress(BackendError):
                await self._program.signal(signal.SIGKILL)

    async def _start(self, clients: Sequence[AttachClient]) -> None:
        container = self._container
        try:
            init = self._claim()
            profile = self._context.instance.capability_profile
            process = exec_process(container.record, self.spec, profile)
        except BaseException:
            for client in clients:
                os.close(client.fd)
            raise
        self._tell(f"exec_start: {' '.join(self.spec.command)}")
        try:
            self._program = await self._context.parts.supervisor.exec(
                self._context.files(self.container_id).bundle_dir,
                process,
                exec_id=self.id,
                clients=clients,
                user=self.spec.user or container.record.spec.user,
                open_stdin=self.spec.attach_stdin and bool(clients),
                init_pid=init.pid,
            )
        except BaseException as error:
            self._failed_code = getattr(error, "exit_code", 126)
            raise
        container.exec_sessions[self.id] = self
        self._program.on_detach = lambda: self._tell("exec_detach")
        self._program.exited.add_done_callback(self._on_exited)

    def _claim(self) -> RunningProgram:
        """Return the container's first program, if this session may start beside it."""
        init = self._container.program
        if self._is_started:
            raise ConflictError(f"Exec command {self.id} is already running or has run")
        if init is None:
            raise NotRunningError(self.container_id)
        check_not_paused(self._container)
        self._is_started = True
        return init

    def _on_exited(self, exited: asyncio.Future[ExitStatus]) -> None:
        self._container.exec_sessions.pop(self.id, None)
        if exited.cancelled() or isinstance(exited.exception(), BackendError):
            return  # the shim was lost, or the engine closes
        self._tell("exec_die", exitCode=str(self.exit_code))

    def _tell(self, action: str, **attributes: str) -> None:
        self._container.tell(action, execID=self.id, **attributes)


def check_not_paused(container: Container) -> None:
    """Refuse to run anything in a container that stands still.

    Raises:
        ConflictError: It is paused or restarting.
    """
    status, name = container.record.state.status, container.record.id
    if status == State.PAUSED:
        raise ConflictError(f"Container {name} is paused, unpause the container before exec")
    if status == State.RESTARTING:
        raise ConflictError(f"Container {name} is restarting, wait until the container is running")


class ExecSessions:
    """The exec sessions of an engine, kept until the container goes or 5 minutes after the end."""

    def __init__(self, context: EngineContext) -> None:
        self._context = context
        self._sessions: dict[ExecId, Exec] = {}
        self._timers: dict[ExecId, asyncio.TimerHandle] = {}

    def create(self, container: Container, spec: ExecSpec) -> Exec:
        """Make a session; nothing runs yet.

        Raises:
            InvalidRequestError: The program cannot be run by anybody.
            NotRunningError: The container does not run.
            ConflictError: It is paused or restarting.
        """
        check_exec(spec)
        check_not_paused(container)
        if not container.is_running:
            raise NotRunningError(container.record.id)
        self._drop_old()
        session = Exec(self._context, container, spec)
        self._sessions[session.id] = session
        self._keep_for_a_while(session.id)
        container.tell(f"exec_create: {' '.join(spec.command)}", execID=session.id)
        return session

    def find(self, reference: str) -> Exec:
        """Return the session of an id, or of the beginning of one.

        Raises:
            ExecNotFoundError: There is none, or its container is gone.
        """
        self._drop_old()
        found = [session for key, session in self._sessions.items() if key.startswith(reference)]
        if len(found) != 1 or not reference:
            raise ExecNotFoundError(reference)
        return found[0]

    def close(self) -> None:
        """Forget all sessions; what runs goes on."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._sessions.clear()

    def _keep_for_a_while(self, exec_id: ExecId) -> None:
        loop = asyncio.get_running_loop()
        self._timers[exec_id] = loop.call_later(KEPT_SECONDS, self._expire, exec_id)

    def _expire(self, exec_id: ExecId) -> None:
        if exec_id in self._sessions and self._sessions[exec_id].running:
            self._keep_for_a_while(exec_id)
            return
        self._sessions.pop(exec_id, None)
        self._timers.pop(exec_id, None)

    def _drop_old(self) -> None:
        """Forget the sessions of containers that were removed."""
        for exec_id in [key for key, held in self._sessions.items() if not held.is_listed]:
            del self._sessions[exec_id]
            self._timers.pop(exec_id).cancel()
