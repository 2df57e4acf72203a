# SPDX-License-Identifier: Apache-2.0
"""Commands in a machine, through Fabric.

Owns how one is run, seen and interrupted. Which ones, and in which order, is the
callers'.
"""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from fabric import Config, Connection
from invoke.exceptions import UnexpectedExit
from paramiko.ssh_exception import SSHException

from toolkit.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from toolkit.vm.login import Login

TREE: Final = "/toolkit"
_CONNECT_SECONDS: Final = 30
_TAIL_LINES: Final = 20


class Lines:
    """A stream that hands on whole lines, for more than one machine to share a terminal."""

    encoding = "utf-8"

    def __init__(self, say: Callable[[str], None], mark: str) -> None:
        self._say = say
        self._mark = mark
        self._rest = ""

    def write(self, text: str) -> int:
        """Take a piece of text."""
        *lines, self._rest = (self._rest + text.replace("\r\n", "\n")).split("\n")
        for line in lines:
            self._say(f"{self._mark}{line}")
        return len(text)

    def flush(self) -> None:
        """Do nothing: a line that is not whole waits for its end."""


@dataclass(frozen=True)
class Running:
    """A command that runs in a machine, on a terminal there.

    Attributes:
        promise: Fabric's.
    """

    promise: Any

    def wait(self) -> None:
        """Wait for its end; Ctrl-C here ends no more than the waiting."""
        self.promise.runner.channel.recv_exit_status()

    def interrupt(self) -> None:
        """Press Ctrl-C on its terminal."""
        with suppress(OSError):  # it has just ended
            self.promise.runner.send_interrupt(KeyboardInterrupt())

    def exit_code(self) -> int:
        """Return its exit code when the last of its output has been handed on."""
        return int(self.promise.join().exited)


def exit_codes(running: Sequence[Running]) -> list[int]:
    """Wait until every command has ended; Ctrl-C here reaches them all, and is waited for."""
    while True:
        try:
            for command in running:
                command.wait()
            break
        except KeyboardInterrupt:
            for command in running:
                command.interrupt()
    return [command.exit_code() for command in running]


@dataclass(frozen=True)
class Remote:
    """A machine that commands can be run in.

    Attributes:
        connection: Fabric's.
    """

    machine: str
    connection: Any

    @classmethod
    @contextmanager
    def on(cls, login: Login) -> Iterator[Self]:
        """Give the machine for as long as the block lasts.

        Raises:
            MachineError: It cannot be reached.
        """
        config = Config(runtime_ssh_path=str(login.config_path))
        connection = Connection(login.machine, config=config, connect_timeout=_CONNECT_SECONDS)
        try:
            connection.open()
        except (OSError, EOFError, SSHException) as error:
            raise MachineError(f"{login.machine} cannot be reached over SSH: {error}") from error
        try:
            yield cls(login.machine, connection)
        finally:
            connection.close()

    def ask(self, command: str, *, as_root: bool = False) -> str:
        """Return what a command writes, without the blanks around it.

        Raises:
            MachineError: It failed.
        """
        try:
            done = self.connection.run(_command(command, {}, as_root), hide=True, in_stream=False)
        except UnexpectedExit as error:
            raise self._failure(command, error.result) from error
        return str(done.stdout).strip()

    def do(self, command: str, *, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        """Run a command as root, and let the person see its lines.

        Raises:
            MachineError: It failed.
        """
        stream = Lines(say, "  ")
        whole = _command(command, environ, as_root=True)
        done = self.connection.run(
            whole, out_stream=stream, err_stream=stream, warn=True, in_stream=False
        )
        if done.exited:
            raise self._failure(command, done)

    def start(self, command: str, *, environ: Mapping[str, str], out: Any = None) -> Running:
        """Start a command as root, on a terminal of its own there; its output goes to *out*."""
        whole = _command(command, environ, as_root=True)
        streams = {"out_stream": out or sys.stdout}
        promise = self.connection.run(
            whole, pty=True, warn=True, in_stream=False, asynchronous=True, **streams
        )
        return Running(promise)

    def set_clock(self) -> None:
        """Give the machine this one's time: it stood still while it was asleep."""
        self.ask(f"date --set=@{time.time():.3f}", as_root=True)

    def fetch(self, remote_path: str, local_path: Path) -> bool:
        """Copy a file from the machine; return whether there was one."""
        if self.ask(f"test -f {shlex.quote(remote_path)} && echo yes || true") != "yes":
            return False
        local_path.parent.mkdir(parents=True, exist_ok=True)
        self.connection.get(remote_path, local=str(local_path))
        return True

    def _failure(self, command: str, done: Any) -> MachineError:
        tail = "\n".join((done.stderr or done.stdout).splitlines()[-_TAIL_LINES:])
        return MachineError(f"{self.machine}: {command}: exit code {done.exited}\n{tail}".rstrip())


def _command(command: str, environ: Mapping[str, str], as_root: bool) -> str:  # noqa: FBT001 - private
    settings = [f"{name}={value}" for name, value in environ.items()]
    words = ["env", *settings, "sh", "-c", command]
    return shlex.join(["sudo", "-n", *words] if as_root else words)
