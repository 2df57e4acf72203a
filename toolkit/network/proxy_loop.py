# SPDX-License-Identifier: Apache-2.0
"""The event loop of proxies and name server: descriptors that become ready, and a clock.

It stands on epoll alone, because asyncio would cost each process megabytes.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Final

Callback = Callable[[int], None]  # is given epoll's event mask

READABLE: Final = select.EPOLLIN
WRITABLE: Final = select.EPOLLOUT
_MOST_EVENTS: Final = 256


class Loop:
    """Calls back while descriptors are ready.

    Args:
        clock_seconds: How often the clocks tick, while there are any.

    Attributes:
        is_running: False ends `run` after the callback that set it.
    """

    def __init__(self, *, clock_seconds: float = 1.0) -> None:
        self.is_running = True
        self._clock_seconds = clock_seconds
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[int, Callback]] = {}
        self._clocks: list[Callable[[], bool]] = []

    def watch(self, fd: int, mask: int, callback: Callback) -> None:
        """Call back when *fd* is ready for *mask*; 0 stops that, and hides errors too."""
        known = self._watched.get(fd)
        if known is None:
            if mask:
                self._epoll.register(fd, mask)
        elif not mask:
            self._epoll.unregister(fd)
        elif known[0] != mask:
            self._epoll.modify(fd, mask)
        if mask:
            self._watched[fd] = (mask, callback)
        else:
            self._watched.pop(fd, None)

    def add_clock(self, tick: Callable[[], bool]) -> None:
        """Call *tick* again and again for as long as it returns True."""
        self._clocks.append(tick)

    def run(self) -> None:
        """Serve until `is_running` is False."""
        due = 0.0
        while self.is_running:
            wait = max(0.0, due - time.monotonic()) if self._clocks else -1
            for fd, mask in self._epoll.poll(wait, _MOST_EVENTS):
                watched = self._watched.get(fd)
                if watched is not None:  # another callback may have closed it meanwhile
                    watched[1](mask)
            if self._clocks and time.monotonic() >= due:
                due_clocks, self._clocks = self._clocks, []
                self._clocks += [tick for tick in due_clocks if tick()]
                due = time.monotonic() + self._clock_seconds
