# SPDX-License-Identifier: Apache-2.0
"""What engine and name server say to each other: a length, then JSON; descriptors beside it."""

from __future__ import annotations

import json
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

Message = dict[str, Any]

LARGEST_MESSAGE_BYTES: Final = 4 << 20
_LENGTH: Final = struct.Struct("!I")
_MOST_FDS: Final = 4
_CHUNK_BYTES: Final = 1 << 16
_CREDENTIALS: Final = struct.Struct("iII")


class Channel:
    """One end of a connection between the two.

    Args:
        connection: A connected stream socket of the family AF_UNIX.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._received = bytearray()
        self._fds: list[int] = []

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send a message."""
        content = json.dumps(message).encode()
        frame = _LENGTH.pack(len(content)) + content
        sent = socket.send_fds(self.socket, [frame], fds) if fds else 0
        self.socket.sendall(frame[sent:])

    def receive_some(self) -> bool:
        """Read what is there; False at the end.

        Raises:
            ValueError: The other side announces more than it may.
        """
        part, fds, _, _ = socket.recv_fds(
            self.socket, _CHUNK_BYTES, _MOST_FDS, socket.MSG_CMSG_CLOEXEC
        )
        self._fds += fds
        self._received += part
        if len(self._received) >= _LENGTH.size and self._length > LARGEST_MESSAGE_BYTES:
            raise ValueError("the message is too long")
        return bool(part)

    def next_message(self) -> tuple[Message, list[int]] | None:
        """Return the next whole message with the descriptors that came so far, if there is one.

        Raises:
            ValueError: It is no JSON object.
        """
        if len(self._received) < _LENGTH.size:
            return None
        end = _LENGTH.size + self._length
        if len(self._received) < end:
            return None
        content = bytes(self._received[_LENGTH.size : end])
        del self._received[:end]
        message = json.loads(content)
        if not isinstance(message, dict):
            raise TypeError("the message is no object")
        fds, self._fds = self._fds, []
        return message, fds

    def receive(self) -> tuple[Message, list[int]] | None:
        """Wait for a message; None at the end."""
        while (found := self.next_message()) is None:
            if not self.receive_some():
                return None
        return found

    def close(self) -> None:
        """Close the connection and descriptors that nobody took."""
        for fd in self._fds:
            socket.close(fd)
        self._fds = []
        self.socket.close()

    @property
    def _length(self) -> int:
        return int(_LENGTH.unpack_from(self._received)[0])


def peer_uid(connection: socket.socket) -> int:
    """Return the user of the process at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1])
