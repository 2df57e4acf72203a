# SPDX-License-Identifier: Apache-2.0
"""The command line at a real pty, against a stub engine."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import termios
import threading
from typing import TYPE_CHECKING

from ptyprocess import PtyProcess

from tests.fakes.stub_engine import Exchange, StubEngine, says

if TYPE_CHECKING:
    from pathlib import Path

ID = "ab" * 32
_SECONDS = 20.0


class Terminal:
    """`toolkit run -it` at a pty, and the container's side of its stream."""

    def __init__(self, stub: StubEngine, tmp_path: Path, *words: str) -> None:
        self.attached = threading.Event()
        self.left = threading.Event()
        self.is_over = threading.Event()
        self.typed = b""
        stub.on("POST /containers/create", says(201, {"Id": ID}))
        stub.on(f"POST /containers/{ID}/attach", self._attach)
        stub.on(f"POST /containers/{ID}/wait", self._wait)
        stub.on(f"POST /containers/{ID}/start", says(204))
        stub.on(f"POST /containers/{ID}/resize", says(200))
        program = [sys.executable, "-m", "toolkit.cli.main", "-H", f"unix://{tmp_path}/engine.sock"]
        self.pty = PtyProcess.spawn(
            [*program, "run", "-it", *words, "busybox"], dimensions=(31, 97), env=os.environ
        )

    def _attach(self, exchange: Exchange) -> None:
        exchange.upgrade(b"ready\r\n")
        self.attached.set()
        while data := exchange.connection.recv(1000):
            self.typed += data
            if data.endswith(b"!"):
                return
        self.left.set()

    def _wait(self, exchange: Exchange) -> None:
        exchange.begin_chunks()
        self.is_over.wait(_SECONDS)
        exchange.chunk(b'{"StatusCode":6}')
        exchange.end_chunks()

    def read_until(self, wanted: bytes) -> bytes:
        seen = b""
        while wanted not in seen:
            ready, _, _ = select.select([self.pty.fd], [], [], _SECONDS)
            assert ready, seen
            seen += os.read(self.pty.fd, 1000)
        return seen

    def exit_code(self) -> int:
        """Read what is left, and return how the command ended."""
        try:
            while os.read(self.pty.fd, 1000):
                pass
        except OSError:  # the pty's other side has gone
            pass
        self.pty.wait()
        return int(self.pty.exitstatus or 0)


def is_raw(terminal: Terminal) -> bool:
    return not termios.tcgetattr(terminal.pty.fd)[3] & (termios.ICANON | termios.ECHO)


def test_keys_go_to_the_container_as_typed_and_its_exit_code_comes_back(
    stub: StubEngine, tmp_path: Path
) -> None:
    terminal = Terminal(stub, tmp_path)
    terminal.read_until(b"ready")
    assert is_raw(terminal)
    terminal.pty.write(b"\x03abc\r!")
    terminal.is_over.set()
    assert terminal.exit_code() == 6
    assert terminal.typed == b"\x03abc\r!"
    assert f"POST /containers/{ID}/resize?h=31&w=97" in stub.lines


def test_the_detach_keys_leave_the_container_and_give_the_terminal_back(
    stub: StubEngine, tmp_path: Path
) -> None:
    """API-044."""
    terminal = Terminal(stub, tmp_path)
    terminal.read_until(b"ready")
    terminal.pty.write(b"a\x10")
    terminal.pty.write(b"\x11")
    terminal.read_until(b"read escape sequence")
    assert not is_raw(terminal)
    assert terminal.exit_code() == 0
    assert terminal.left.wait(_SECONDS)
    assert terminal.typed == b"a"
    terminal.is_over.set()


def test_other_detach_keys_are_taken_and_told_to_the_engine(
    stub: StubEngine, tmp_path: Path
) -> None:
    terminal = Terminal(stub, tmp_path, "--detach-keys", "ctrl-a,x")
    terminal.read_until(b"ready")
    terminal.pty.write(b"\x01x")
    assert terminal.exit_code() == 0
    assert any("detachKeys=ctrl-a%2Cx" in line for line in stub.lines)
    terminal.is_over.set()


def test_a_change_of_the_window_is_told_to_the_container(stub: StubEngine, tmp_path: Path) -> None:
    is_resized = threading.Event()

    def resize(exchange: Exchange) -> None:
        if "h=40&w=120" in exchange.request.target:
            is_resized.set()
        exchange.answer(200)

    terminal = Terminal(stub, tmp_path)
    terminal.read_until(b"ready")
    stub.on(f"POST /containers/{ID}/resize", resize)
    terminal.pty.setwinsize(40, 120)
    assert is_resized.wait(_SECONDS)
    terminal.pty.write(b"!")
    terminal.is_over.set()
    assert terminal.exit_code() == 6


def test_a_signal_that_ends_the_command_gives_the_terminal_back_first(
    stub: StubEngine, tmp_path: Path
) -> None:
    terminal = Terminal(stub, tmp_path)
    terminal.read_until(b"ready")
    assert is_raw(terminal)
    terminal.pty.kill(signal.SIGTERM)
    terminal.is_over.set()
    assert terminal.exit_code() == 128 + signal.SIGTERM
    assert not is_raw(terminal)


def test_without_a_terminal_signals_reach_the_container(stub: StubEngine, tmp_path: Path) -> None:
    is_killed = threading.Event()
    started = threading.Event()

    def attach(exchange: Exchange) -> None:
        exchange.upgrade()
        is_killed.wait(_SECONDS)

    def wait(exchange: Exchange) -> None:
        exchange.begin_chunks()
        is_killed.wait(_SECONDS)
        exchange.chunk(b'{"StatusCode":42}')
        exchange.end_chunks()

    def start(exchange: Exchange) -> None:
        exchange.answer(204)
        started.set()

    def kill(exchange: Exchange) -> None:
        exchange.answer(204)
        is_killed.set()

    stub.on("POST /containers/create", says(201, {"Id": ID}))
    stub.on(f"POST /containers/{ID}/attach", attach)
    stub.on(f"POST /containers/{ID}/wait", wait)
    stub.on(f"POST /containers/{ID}/start", start)
    stub.on(f"POST /containers/{ID}/kill", kill)
    program = [sys.executable, "-m", "toolkit.cli.main", "-H", f"unix://{tmp_path}/engine.sock"]
    with subprocess.Popen([*program, "run", "busybox"], stdin=subprocess.DEVNULL) as command:
        assert started.wait(_SECONDS)
        command.send_signal(signal.SIGTERM)
        assert command.wait(_SECONDS) == 42
    assert f"POST /containers/{ID}/kill?signal=SIGTERM" in stub.lines
