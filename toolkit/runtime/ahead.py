# SPDX-License-Identifier: Apache-2.0
"""The engine's end of the shims that wait: a start goes to one without a way round.

The launcher hands each one over as soon as it has made its slot, with the network
namespace of the program to come: its network is connected from the first moment on.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from toolkit.runtime.protocol import send_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.runtime.protocol import Message


class ShimsAhead:
    """Shims that wait for a start, the oldest first."""

    def __init__(self) -> None:
        self._waiting: list[tuple[socket.socket, list[int]]] = []

    def add(self, fds: Sequence[int]) -> None:
        """Take one up: the descriptor of its socket, and that of its namespace if it has one."""
        shim = socket.socket(fileno=fds[0])
        shim.settimeout(0)
        self._waiting.append((shim, list(fds[1:])))

    def give(self, request: Message, fds: Sequence[int]) -> list[int] | None:
        """Give a start to a shim; return its namespace, which is the caller's, or nothing.

        None where no shim waits. One that has died meanwhile is passed over.
        """
        while self._waiting:
            shim, namespaces = self._waiting.pop(0)
            try:
                with shim:
                    send_message(shim, {**request, "has_offered": bool(namespaces)}, fds)
            except OSError:
                _close(namespaces)
            else:
                return namespaces
        return None

    def close(self) -> None:
        """Let all of them go: each ends, and takes its slot away."""
        while self._waiting:
            shim, namespaces = self._waiting.pop()
            shim.close()
            _close(namespaces)


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
