# SPDX-License-Identifier: Apache-2.0
"""Learning that a half-closed client goes altogether.

asyncio takes a socket out of its selector at end of file. An epoll set of its
own still tells a full hang-up, which the kernel reports unasked.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class HangupWatch:
    """Calls back once when the other end of a socket is closed both ways."""

    def __init__(self, on_hangup: Callable[[], None]) -> None:
        self._on_hangup = on_hangup
        self._epoll: select.epoll | None = None

    def start(self, socket_fd: int) -> None:
        """Watch a socket; a second call does nothing."""
        if self._epoll is not None:
            return
        self._epoll = select.epoll()
        self._epoll.register(socket_fd, 0)
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._hung_up)

    def stop(self) -> None:
        """Watch no longer; a second call does nothing."""
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _hung_up(self) -> None:
        self.stop()
        self._on_hangup()
