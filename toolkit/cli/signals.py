# SPDX-License-Identifier: Apache-2.0
"""Signals that this process gets, handed on by a thread.

A thread, because the main one may be blocked in a write to a slow reader and the
container must get its signal all the same. Handlers do nothing: the interpreter writes
each number to a pipe, whatever it is doing.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

# Not those that tell of our own faults, nor TTIN and TTOU: caught, they come for ever.
FORWARDED: Final = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGTERM,
    signal.SIGCONT,
    signal.SIGTSTP,
)
WINDOW_CHANGED: Final = (signal.SIGWINCH,)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    return


@contextmanager
def handed_on(
    numbers: Iterable[signal.Signals], receive: Callable[[signal.Signals], None]
) -> Iterator[None]:
    """Call *receive* in a thread for each of these signals while the block lasts."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    thread = threading.Thread(target=_pump, args=(read_fd, receive), daemon=True)
    handlers = {number: signal.signal(number, _ignore) for number in numbers}
    wakeup_fd = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup_fd)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(write_fd)
        thread.join(timeout=1.0)  # an engine that hangs must not hold us
        if not thread.is_alive():
            os.close(read_fd)


def _pump(read_fd: int, receive: Callable[[signal.Signals], None]) -> None:
    while numbers := os.read(read_fd, 64):
        for number in numbers:
            receive(signal.Signals(number))
