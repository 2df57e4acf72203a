# SPDX-License-Identifier: Apache-2.0
"""What attached clients type, on its way to the program, in a bounded buffer."""

from __future__ import annotations

import os
from typing import Final

BUFFER_BYTES: Final = 64 * 1024


class StdinWriter:
    """Writes to a program's standard input without ever blocking.

    Without one (fd -1) it swallows everything, as 0.7.2 does (rule 2.40).

    Attributes:
        fd: The pipe or the terminal; -1 when closed.
    """

    def __init__(self, fd: int, *, owns_fd: bool) -> None:
        self.fd = fd
        self._owns_fd = owns_fd
        self._buffer = bytearray()
        self._closing = False

    @property
    def has_room(self) -> bool:
        """Whether more input may be read from clients."""
        return self.fd < 0 or len(self._buffer) < BUFFER_BYTES

    @property
    def flush_needed(self) -> bool:
        """Whether something waits for the program to read."""
        return self.fd >= 0 and (bool(self._buffer) or self._closing)

    def write(self, data: bytes) -> None:
        """Take input; what the program does not read yet is kept."""
        if self.fd >= 0 and not self._closing:
            self._buffer += data
            self.flush()

    def close_after_output(self) -> None:
        """Give the program its end of file once it has read the rest."""
        self._closing = True
        self.flush()

    def flush(self) -> None:
        """Write what the program takes now."""
        try:
            while self._buffer and self.fd >= 0:
                written = os.write(self.fd, self._buffer)
                del self._buffer[:written]
        except BlockingIOError:
            return
        except OSError:  # EPIPE: the program has closed its standard input
            self._buffer.clear()
            self._closing = True
        if self._closing:
            self.close()

    def close(self) -> None:
        """Close now, whatever waits."""
        self._buffer.clear()
        if self.fd >= 0 and self._owns_fd:
            os.close(self.fd)
        self.fd = -1
