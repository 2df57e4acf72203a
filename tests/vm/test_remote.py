# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from invoke.exceptions import UnexpectedExit
from invoke.runners import Result

from toolkit.errors import MachineError
from toolkit.vm.login import Login
from toolkit.vm.remote import Lines, Remote, Running, exit_codes

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class FakeConnection:
    """Fabric's connection: answers every command alike."""

    code: int = 0
    stdout: str = "answer\n"
    stderr: str = ""
    ran: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, command: str, *, warn: bool = False, **options: Any) -> Result:
        self.ran.append(command)
        self.options = options
        if out := options.get("out_stream"):
            out.write(self.stdout)
        result = Result(stdout=self.stdout, stderr=self.stderr, exited=self.code)
        if self.code and not warn:
            raise UnexpectedExit(result)
        return result

    def get(self, remote_path: str, local: str) -> None:
        self.ran.append(f"get {remote_path} {local}")


def test_lines_are_handed_on_whole_and_marked() -> None:
    said: list[str] = []
    stream = Lines(said.append, "m1: ")
    for piece in ("on", "e\r\ntwo\nth", "ree"):
        stream.write(piece)
    assert said == ["m1: one", "m1: two"]


def test_ask_returns_what_was_written_without_blanks() -> None:
    connection = FakeConnection()
    assert Remote("m1", connection).ask("hostname") == "answer"
    assert connection.ran == ["env sh -c hostname"]


def test_as_root_it_goes_through_sudo_that_asks_nothing() -> None:
    connection = FakeConnection()
    Remote("m1", connection).ask("echo 'a b'", as_root=True)
    assert connection.ran[0].startswith("sudo -n env sh -c ")


def test_a_failure_names_machine_command_and_last_lines() -> None:
    remote = Remote("m1", FakeConnection(code=2, stderr="first\nno such file\n"))
    with pytest.raises(MachineError, match=r"m1: cat x: exit code 2\n(.|\n)*no such file"):
        remote.ask("cat x")
    with pytest.raises(MachineError, match="exit code 2"):
        remote.do("cat x", environ={}, say=lambda _: None)


def test_do_shows_the_lines_and_sets_the_environment() -> None:
    said: list[str] = []
    connection = FakeConnection(stdout="changed: x\n")
    Remote("m1", connection).do("sh all.sh", environ={"A": "b c"}, say=said.append)
    assert said == ["  changed: x"]
    assert connection.ran == ["sudo -n env 'A=b c' sh -c 'sh all.sh'"]


class FakeRunner:
    """Fabric's runner: its command ends by itself, or only when Ctrl-C was pressed there."""

    def __init__(self, *, code: int = 0, needs_interrupt: bool = False) -> None:
        self._code = code
        self._needs_interrupt = needs_interrupt
        self.interrupted = 0
        self.runner = self.channel = self  # for a promise, a runner and a channel in one

    def recv_exit_status(self) -> int:
        if self._needs_interrupt and not self.interrupted:
            raise KeyboardInterrupt  # the person has waited long enough
        return self._code

    def send_interrupt(self, _: KeyboardInterrupt) -> None:
        self.interrupted += 1
        if not self._needs_interrupt:
            raise OSError("Socket is closed")

    def join(self) -> Result:
        return Result(exited=self._code)


def test_the_exit_codes_are_those_of_the_commands_and_raise_nothing() -> None:
    running = [Running(FakeRunner(code=code)) for code in (0, 5)]
    assert exit_codes(running) == [0, 5]


def test_ctrl_c_reaches_every_command_and_its_end_is_waited_for() -> None:
    done, slow, other = (
        FakeRunner(),
        FakeRunner(code=2, needs_interrupt=True),
        FakeRunner(code=2, needs_interrupt=True),
    )
    assert exit_codes([Running(fake) for fake in (done, slow, other)]) == [0, 2, 2]
    assert (slow.interrupted, other.interrupted) == (1, 1)


def test_a_started_command_has_a_terminal_and_is_not_waited_for() -> None:
    connection = FakeConnection()
    said: list[str] = []
    Remote("m1", connection).start("pytest", environ={"A": "b"}, out=Lines(said.append, ""))
    assert said == ["answer"]
    assert connection.ran == ["sudo -n env A=b sh -c pytest"]
    assert connection.options["asynchronous"]
    assert connection.options["pty"]


def test_a_file_that_is_not_there_is_not_fetched(tmp_path: Path) -> None:
    connection = FakeConnection(stdout="")
    assert not Remote("m1", connection).fetch("/a", tmp_path / "r" / "a")
    assert Remote("m1", FakeConnection(stdout="yes\n")).fetch("/a", tmp_path / "r" / "a")


def test_a_machine_that_cannot_be_reached_is_said_so(tmp_path: Path) -> None:
    login = Login(machine="m1", directory=tmp_path)
    login.config_path.write_text("Host m1\n  HostName 127.0.0.1\n  Port 1\n")
    with pytest.raises(MachineError, match="m1 cannot be reached over SSH"), Remote.on(login):
        pass
