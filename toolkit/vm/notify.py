# SPDX-License-Identifier: Apache-2.0
"""The readiness message of sd_notify(3): a socket on which a service says that it serves.

Owns the receiving end. The engine sends; who starts it waits here.
"""

from __future__ import annotations

import select
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READY: Final = b"READY=1"
_DATAGRAM_BYTES: Final = 4096


class ReadySocket:
    """Where the message comes in.

    Attributes:
        path: What ``NOTIFY_SOCKET`` has to say.
    """

    def __init__(self, path: Path, receiver: socket.socket) -> None:
        self.path = path
        self._receiver = receiver

    def wait_ready(self, pidfd: int, timeout_seconds: float) -> bool:
        """Wait for the message; False if the process ended, or the time, before it came."""
        deadline = time.monotonic() + timeout_seconds
        poll = select.poll()
        poll.register(self._receiver, select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        while (left_seconds := deadline - time.monotonic()) > 0:
            ready = {fd for fd, _ in poll.poll(left_seconds * 1000)}
            if self._receiver.fileno() in ready:
                if READY in self._receiver.recv(_DATAGRAM_BYTES).split(b"\n"):
                    return True
            elif pidfd in ready:
                return False
        return False


@contextmanager
def listening_ready_socket(path: Path) -> Iterator[ReadySocket]:
    """Listen at a path for as long as the block lasts, and leave no file there."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as receiver:
        receiver.bind(str(path))
        try:
            yield ReadySocket(path, receiver)
        finally:
            path.unlink(missing_ok=True)
