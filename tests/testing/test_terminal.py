# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import pytest

from toolkit.errors import InvalidRequestError
from toolkit.testing.terminal import NotShownError, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator


class FakePty:
    """A program at a terminal that says what a test lets it say."""

    def __init__(self) -> None:
        self.fd, self._say_fd = os.pipe()
        self.typed = b""
        self.size = (0, 0)
        self.closed = 0

    def say(self, data: bytes) -> None:
        os.write(self._say_fd, data)

    def end(self) -> None:
        os.close(self._say_fd)
        self._say_fd = -1

    def read(self, size: int) -> bytes:
        data = os.read(self.fd, size)
        if not data:
            raise EOFError
        return data

    def write(self, data: bytes) -> None:
        self.typed += data

    def setwinsize(self, rows: int, columns: int) -> None:
        self.size = (rows, columns)

    def wait(self) -> int:
        return 3

    def close(self, *, force: bool) -> None:
        assert force
        self.closed += 1


@pytest.fixture
def pty() -> Iterator[FakePty]:
    made = FakePty()
    yield made
    os.close(made.fd)
    if made._say_fd >= 0:
        made.end()


@pytest.fixture
def terminal(pty: FakePty) -> Terminal:
    return Terminal(cast("Any", pty))


def test_what_appears_is_waited_for_in_its_order(terminal: Terminal, pty: FakePty) -> None:
    pty.say(b"one two\r\none ")
    assert terminal.expect("one").group() == "one"
    assert terminal.expect(r"o(n)e").group(1) == "n"
    with pytest.raises(NotShownError, match=r"'one' did not appear: 0.01 s"):
        terminal.expect("one", 0.01)


def test_escape_sequences_are_not_in_the_output(terminal: Terminal, pty: FakePty) -> None:
    pty.say(b"\x1b[2J\x1b[1;32mgreen\x1b[0m\x1b(B\r\nline\r\n")
    terminal.expect("line")
    assert terminal.output == "green\nline\n"


def test_the_end_says_what_there_was(terminal: Terminal, pty: FakePty) -> None:
    pty.say(b"bye\r\n")
    pty.end()
    with pytest.raises(NotShownError, match="the program has ended") as caught:
        terminal.expect("hello")
    assert caught.value.output == "bye\n"
    assert terminal.wait() == 3


def test_the_end_is_not_waited_for_for_ever(terminal: Terminal) -> None:
    with pytest.raises(NotShownError, match="the end"):
        terminal.wait(0.01)


def test_typing_and_keys(terminal: Terminal, pty: FakePty) -> None:
    terminal.send("a")
    terminal.send_line("b")
    for key in ("ctrl-c", "CTRL-D", "ctrl-[", "up", "Enter"):
        terminal.press(key)
    assert pty.typed == b"ab\r\x03\x04\x1b\x1b[A\r"


@pytest.mark.parametrize("key", ["ctrl-", "ctrl-cc", "f1", "ctrl-1", ""])
def test_what_is_no_key_is_refused(terminal: Terminal, key: str) -> None:
    with pytest.raises(InvalidRequestError, match="use ctrl-<letter>"):
        terminal.press(key)


def test_a_window_is_resized_and_closed(pty: FakePty) -> None:
    with Terminal(cast("Any", pty)) as terminal:
        terminal.resize(40, 100)
    assert (pty.size, pty.closed) == ((40, 100), 1)


def test_on_a_slow_machine_it_is_waited_for_longer(pty: FakePty) -> None:
    slow = Terminal(cast("Any", pty), timeout_factor=3)
    with pytest.raises(NotShownError, match=r"'x' did not appear: 0.03 s"):
        slow.expect("x", 0.01)
    with pytest.raises(NotShownError, match=r"did not appear: 0.06 s"):
        slow.wait(0.02)
