# SPDX-License-Identifier: Apache-2.0
"""A supervisor without processes: programs are what a test says they are.

It reads the bundle as the real one does, closes the clients that it is given,
writes exit files before it reports an end, and outlives engines (`reconnect`).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from toolkit.errors import BackendError, ToolkitError
from toolkit.runtime.exitfile import write_exit_status
from toolkit.runtime.protocol import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from toolkit.runtime.protocol import AttachClient

NETNS_FD = 77  # stands for a network namespace: no link of a fake is made anywhere
_pids = itertools.count(4_000_001)  # above any pid_max: nothing real is ever meant


@dataclass(eq=False)
class FakeProgram:
    """One program, as its shim knows it; it may have several connections."""

    document: dict[str, Any]
    pid: int = field(default_factory=lambda: next(_pids))
    is_alive: bool = True
    signals: list[int] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    clients: list[AttachClient] = field(default_factory=list)
    dies_of: tuple[int, ...] = (9, 15)
    connections: list[FakeRunning] = field(default_factory=list)

    def end(self, exit_code: int = 0, *, signal: int = 0, oom_killed: bool = False) -> None:
        """End it: the exit file first, then the word to whoever is connected."""
        self.is_alive = False
        status = ExitStatus(
            exit_code=exit_code,
            signal=signal,
            oom_killed=oom_killed,
            finished_at=datetime.now(UTC),
        )
        path = self.document["annotations"].get("toolkit.exit.path")
        if path:
            write_exit_status(path, status)
        for running in self.connections:
            if not running.exited.done():
                running.exited.set_result(status)
                running.released.set_result(None)

    def lose_shim(self) -> None:
        """Let the shim be gone without a word."""
        self.is_alive = False
        for running in self.connections:
            running.exited.set_exception(BackendError("the shim of the program was lost"))
            running.exited.exception()
            running.released.set_result(None)


class FakeRunning:
    """An engine's connection to a program."""

    def __init__(self, program: FakeProgram) -> None:
        loop = asyncio.get_running_loop()
        self.program = program
        self.pid = program.pid
        self.start_time_ticks = 7
        self.on_detach: Callable[[], None] = lambda: None
        self.exited: asyncio.Future[ExitStatus] = loop.create_future()
        self.released: asyncio.Future[None] = loop.create_future()
        self.is_forgotten = False
        program.connections.append(self)

    async def attach(self, client: AttachClient) -> None:
        self.program.clients.append(client)
        os.close(client.fd)

    async def resize(self, rows: int, columns: int) -> None:
        self.program.sizes.append((rows, columns))

    async def signal(self, number: int) -> None:
        self.program.signals.append(int(number))
        if number in self.program.dies_of and self.program.is_alive:
            asyncio.get_running_loop().call_soon(self._die, int(number))

    def _die(self, number: int) -> None:
        self.program.end(128 + number, signal=number)

    def forget(self) -> None:
        self.is_forgotten = True
        self.program.connections.remove(self)


class FakeSupervisor:
    """Starts fake programs.

    Attributes:
        programs: What was started, in order.
        execs: What was started beside, in order.
        failure: Raised by the next start.
        expected: The backends that it was told to make ready for.
        exec_exit_code: What is started beside ends with it at once; None: runs on.
    """

    def __init__(self) -> None:
        self.programs: list[FakeProgram] = []
        self.execs: list[FakeProgram] = []
        self.failure: ToolkitError | None = None
        self.is_open = False
        self.ends_at_once: int | None = None
        self.expected: list[str] = []
        self.exec_exit_code: int | None = None
        self._by_bundle: dict[Path, FakeProgram] = {}

    @property
    def last(self) -> FakeProgram:
        return self.programs[-1]

    async def open(self) -> None:
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False

    def expect(self, backend: str) -> None:
        self.expected.append(backend)

    async def start(
        self,
        bundle_dir: Path,
        clients: Sequence[AttachClient] = (),
        *,
        backend: str = "native",
        written: asyncio.Task[None] | None = None,
        connect: Callable[[int], Awaitable[None]] | None = None,
    ) -> FakeRunning:
        del backend
        if written is not None:
            await written
        document = json.loads((bundle_dir / "config.json").read_text())
        for client in clients:
            os.close(client.fd)
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        if connect is not None:
            await connect(NETNS_FD)
        program = FakeProgram(document, clients=list(clients))
        self.programs.append(program)
        self._by_bundle[bundle_dir] = program
        running = FakeRunning(program)
        if self.ends_at_once is not None:
            program.end(self.ends_at_once)
        return running

    async def reconnect(self, bundle_dir: Path) -> FakeRunning | None:
        program = self._by_bundle.get(bundle_dir)
        return FakeRunning(program) if program is not None and program.is_alive else None

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
    ) -> FakeRunning:
        del bundle_dir, exec_id
        for client in clients:
            os.close(client.fd)
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        spec = {"process": process, "user": user, "stdin": open_stdin, "init_pid": init_pid}
        program = FakeProgram({**spec, "annotations": {}}, clients=list(clients))
        self.execs.append(program)
        running = FakeRunning(program)
        if self.exec_exit_code is not None:
            program.end(self.exec_exit_code)
        return running
