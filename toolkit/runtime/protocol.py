# SPDX-License-Identifier: Apache-2.0
"""The messages between engine, launcher and shim: one JSON object a packet, with descriptors.

All sockets are SOCK_SEQPACKET, so a message arrives whole or not at all. Bulk
never passes here: documents are files, streams are the clients' own sockets.
"""

from __future__ import annotations

import array
import base64
import json
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

Message = dict[str, Any]

MAX_MESSAGE_BYTES: Final = 192 * 1024
MAX_DESCRIPTORS: Final = 250  # the kernel's SCM_MAX_FD is 253
SHIM_SOCKET: Final = "shim.sock"


@dataclass(frozen=True, kw_only=True)
class AttachClient:
    """A client's connection, to be served by a shim.

    Attributes:
        fd: Its socket; whoever takes the client closes it.
        pending: Bytes that came behind the request's head.
        logs: Send what was logged before.
        stream: Go on with what comes.
        framed: Put docker's 8-byte head before each chunk (rule 2.53).
        detach_keys: The bytes that detach from a terminal; empty for none.
    """

    fd: int
    pending: bytes = b""
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    logs: bool = False
    stream: bool = True
    framed: bool = True
    detach_keys: bytes = b"\x10\x11"

    def to_message(self) -> Message:
        """Return the client without its descriptor, which travels beside."""
        return {
            "pending": base64.b64encode(self.pending).decode(),
            "stdin": self.stdin,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "logs": self.logs,
            "stream": self.stream,
            "framed": self.framed,
            "detach_keys": self.detach_keys.hex(),
        }

    @classmethod
    def from_message(cls, message: Message, fd: int) -> AttachClient:
        """Return the client that a message and a descriptor make."""
        return cls(
            fd=fd,
            pending=base64.b64decode(message["pending"]),
            stdin=message["stdin"],
            stdout=message["stdout"],
            stderr=message["stderr"],
            logs=message["logs"],
            stream=message["stream"],
            framed=message["framed"],
            detach_keys=bytes.fromhex(message["detach_keys"]),
        )


@dataclass(frozen=True, kw_only=True)
class ExitStatus:
    """How a program ended.

    Attributes:
        exit_code: Its own, or 128 + *signal*.
        signal: The signal that ended it, or 0.
        oom_killed: The kernel killed for memory in its cgroup.
        finished_at: When, in UTC.
    """

    exit_code: int
    signal: int = 0
    oom_killed: bool = False
    finished_at: datetime

    def to_message(self) -> Message:
        """Return the status as JSON values."""
        return {
            "exit_code": self.exit_code,
            "signal": self.signal,
            "oom_killed": self.oom_killed,
            "finished_at": self.finished_at.isoformat(),
        }

    @classmethod
    def from_message(cls, message: Message) -> ExitStatus:
        """Return the status that JSON values give.

        Raises:
            ValueError: Or KeyError or TypeError: the values are not a status.
        """
        finished_at = datetime.fromisoformat(message["finished_at"])
        return cls(
            exit_code=int(message["exit_code"]),
            signal=int(message["signal"]),
            oom_killed=bool(message["oom_killed"]),
            finished_at=finished_at.astimezone(UTC),
        )


def send_message(sock: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Send one message and copies of the descriptors.

    Raises:
        OSError: The other side is gone, or the message is too large.
    """
    body = json.dumps(message, separators=(",", ":")).encode()
    if not fds:
        sock.send(body)
        return
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    sock.sendmsg([body], ancillary)


def receive_message(sock: socket.socket) -> tuple[Message, list[int]] | None:
    """Receive one message with its descriptors (close-on-exec); None when the other side is gone.

    Raises:
        BlockingIOError: Nothing has come on a non-blocking socket.
        ValueError: What has come is no message.
    """
    fds = array.array("i")
    body, ancillary, _, _ = sock.recvmsg(
        MAX_MESSAGE_BYTES, socket.CMSG_SPACE(MAX_DESCRIPTORS * fds.itemsize), _MSG_CMSG_CLOEXEC
    )
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    if not body:
        return None
    try:
        message: Message = json.loads(body)
    except ValueError:
        for fd in fds:
            os.close(fd)
        raise
    return message, list(fds)


_MSG_CMSG_CLOEXEC: Final = 0x40000000


def is_root_peer(sock: socket.socket) -> bool:
    """Say whether root holds the other end (row S-87)."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], "little") == 0
