# SPDX-License-Identifier: Apache-2.0
"""The person's terminal: its size, and raw mode that is always taken back."""

from __future__ import annotations

import os
import signal
import termios
import tty
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Size(NamedTuple):
    """Size of a terminal in characters."""

    rows: int
    columns: int


def is_terminal(fd: int) -> bool:
    """Return whether a descriptor is a terminal; a closed one is not."""
    try:
        return os.isatty(fd)
    except OSError:
        return False


class NoTerminalError(InvalidRequestError):
    """A container's terminal was asked for where keys cannot come from one."""

    hint = "Leave -t out to send a file or a pipe."

    def __init__(self) -> None:
        super().__init__("the input device is not a TTY")


def check_terminal(*, has_tty: bool, with_stdin: bool) -> None:
    """Check that standard input can be a terminal's keys, if it shall.

    Raises:
        NoTerminalError: It is something else.
    """
    if has_tty and with_stdin and not is_terminal(0):
        raise NoTerminalError


def terminal_size() -> Size | None:
    """Return the size of the terminal that output goes to; None without one."""
    for fd in (1, 0, 2):
        try:
            columns, rows = os.get_terminal_size(fd)
        except OSError:
            continue
        return Size(rows, columns)
    return None


@contextmanager
def raw_terminal(fd: int) -> Iterator[None]:
    """Hand every key to the program as typed; give the terminal back whatever happens.

    A signal that would end this process ends the block first.
    """
    before = termios.tcgetattr(fd)
    handlers = {number: signal.signal(number, _end) for number in _ENDING}
    try:
        tty.setraw(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
