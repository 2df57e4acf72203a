# SPDX-License-Identifier: Apache-2.0
"""What a start waits at: for its bundle, and for the engine to have connected its network.

The shim hands the new network namespace over, goes on preparing, and lets the
program pass when the engine says so. An engine that refuses, or dies, ends the
attempt: nothing ever runs without the network that it was to have.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from toolkit.errors import BackendError
from toolkit.runtime.protocol import receive_message, send_message

if TYPE_CHECKING:
    import socket

_PASS: Final = b"\1"


class Gate:
    """A gate between one start and its program.

    Attributes:
        has_offered: The engine has the namespace.

    Args:
        control: The connection to the engine.
    """

    def __init__(self, control: socket.socket) -> None:
        self.has_offered = False
        self._control = control
        self._heard: set[str] = set()
        self._read_fd, self._write_fd = os.pipe2(os.O_CLOEXEC)

    @property
    def read_fd(self) -> int:
        """Where the child waits (`await_pass`); it is given along."""
        return self._read_fd

    def offer(self, netns_fd: int) -> None:
        """Give the engine the namespace that it is to connect.

        Raises:
            BackendError: The engine is gone.
        """
        try:
            send_message(self._control, {"event": "namespace"}, [netns_fd])
        except OSError as error:
            raise BackendError("the engine is gone") from error
        self.has_offered = True

    def await_bundle(self) -> None:
        """Return when the engine has written the bundle.

        Raises:
            BackendError: It has given the start up, or is gone.
        """
        self._await("go on", "the bundle was not written")

    def await_connected(self) -> None:
        """Return when the engine has connected the namespace; the child may pass then.

        Raises:
            BackendError: It refuses, or is gone.
        """
        self._await("connected", "the network was not connected")
        os.write(self._write_fd, _PASS)

    def _await(self, word: str, otherwise: str) -> None:
        """Hear the engine's words, in whatever order they come, up to one."""
        while word not in self._heard:
            try:
                received = receive_message(self._control)
            except (OSError, ValueError):
                received = None
            if received is None or received[0].get("op") == "refused":
                raise BackendError(otherwise)
            self._heard.add(received[0]["op"])

    def close(self) -> None:
        """Close both ends; a child that waits still does not pass."""
        os.close(self._read_fd)
        os.close(self._write_fd)


def await_pass(read_fd: int) -> None:
    """Wait in a child until its program may run.

    Raises:
        BackendError: It may not: the shim has given up.
    """
    if os.read(read_fd, 1) != _PASS:
        raise BackendError("the network was not connected")
