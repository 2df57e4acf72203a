# SPDX-License-Identifier: Apache-2.0
"""Where a shim writes and listens: its log, and the socket by which a later engine finds it."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Final

from toolkit.errors import BackendError
from toolkit.kernel.directories import listen_in
from toolkit.runtime.logwriter import LogWriter

_BACKLOG: Final = 16


class Seat:
    """Where a shim writes and listens: taken while the program is on its way.

    Attributes:
        log: The program's log.
        listener: Where a later engine finds the shim.
    """

    log: LogWriter
    listener: socket.socket

    def __init__(self, bundle: str, name: str, annotations: dict[str, str]) -> None:
        self._bundle = bundle
        self._name = name
        self._taken = False
        self.annotations = annotations

    def take(self) -> None:
        """Open the log and listen; a second call does nothing.

        Raises:
            BackendError: The disk is full, or the bundle is gone.
        """
        if self._taken:
            return
        try:
            self.log = LogWriter(
                self.annotations["toolkit.log.path"],
                max_bytes=int(self.annotations.get("toolkit.log.max_bytes") or 0),
                max_files=int(self.annotations.get("toolkit.log.max_files") or 1),
            )
            self.listener = _listen(self._bundle, self._name)
        except OSError as error:
            raise BackendError(f"cannot open log and socket: {error}") from error
        self._taken = True

    def vacate(self) -> None:
        """Take the socket's name away: a bundle may see many added programs."""
        with suppress(OSError):  # the bundle is gone already
            os.unlink(os.path.join(self._bundle, self._name))


def _listen(bundle: str, name: str) -> socket.socket:
    """Listen in the bundle, which only root can enter; replace what an earlier shim left."""
    bundle_fd = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener = listen_in(bundle_fd, name, socket.SOCK_SEQPACKET, _BACKLOG)
    finally:
        os.close(bundle_fd)
    listener.settimeout(0)
    return listener
