# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on one unix socket: heads, bodies, chunks, and the switch to a raw stream.

Owns bytes and sockets. What is asked, and what an answer means, is `toolkit.client.client`'s.
`http.client` is not used: it costs 30 ms to import and hides the socket that attach needs.
"""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, Self

from toolkit.client.errors import (
    ConnectionLostError,
    EngineForbiddenError,
    EngineSilentError,
    StreamError,
)
from toolkit.client.frames import Chunk, FrameDecoder
from toolkit.errors import EngineUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

READ_BYTES: Final = 256 * 1024
MAX_HEAD_BYTES: Final = 64 * 1024
UPGRADED: Final = 101


class Head(NamedTuple):
    """Status line and headers of an answer; names in lower case."""

    status: int
    headers: dict[str, str]

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection can take another request."""
        return self.headers.get("connection", "").lower() != "close"


def open_socket(path: str, timeout_seconds: float | None) -> socket.socket:
    """Return a socket connected to an engine.

    Raises:
        EngineForbiddenError: This user may not open it.
        EngineUnreachableError: Nobody listens.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_seconds)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        kind = (
            EngineForbiddenError if isinstance(error, PermissionError) else EngineUnreachableError
        )
        reason = error.strerror or str(error)
        raise kind(f"Cannot connect to the engine at unix://{path}: {reason}") from error
    return connection


class Connection:
    """One connection; requests go over it one after another."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._buffer = bytearray()

    def close(self) -> None:
        """Close it; a second call does nothing."""
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self._socket.fileno()

    @property
    def has_data(self) -> bool:
        """Whether something that came waits here to be read, where `select` does not see it."""
        return bool(self._buffer)

    @property
    def is_idle(self) -> bool:
        """Whether it still stands and nothing unasked has come: then it can be used again."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not self._buffer and not poll.poll(0)

    def send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | BinaryIO | None
    ) -> None:
        """Send a request; a file goes out in chunks.

        An engine that refuses early closes while we still send: its answer is
        then waiting, so that is no error here.
        """
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if isinstance(body, bytes):
            lines.append(f"Content-Length: {len(body)}")
        elif body is not None:
            lines.append("Transfer-Encoding: chunked")
        elif method not in {"GET", "HEAD"}:
            lines.append("Content-Length: 0")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode()
        try:
            if body is None or isinstance(body, bytes):
                self._socket.sendall(head + (body or b""))
            else:
                self._socket.sendall(head)
                self._send_chunks(body)
        except (BrokenPipeError, ConnectionResetError):
            return
        except TimeoutError as error:
            raise EngineSilentError("the engine does not take the request") from error

    def _send_chunks(self, source: BinaryIO) -> None:
        while data := source.read(READ_BYTES):
            self._socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))
        self._socket.sendall(b"0\r\n\r\n")

    def read_head(self) -> Head:
        """Return the head of the answer, past any ``100 Continue``.

        Raises:
            ConnectionLostError: The engine closed instead.
            StreamError: It does not speak HTTP.
        """
        while True:
            head = self._read_one_head()
            if head.status == UPGRADED or head.status >= 200:  # noqa: PLR2004  # first final status
                return head

    def _read_one_head(self) -> Head:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise StreamError("the engine's answer has no end of its head")
            self._fill()
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        version, _, rest = lines[0].partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise StreamError(f"the engine does not speak HTTP: {lines[0][:80]!r}")
        pairs = (line.partition(":") for line in lines[1:])
        return Head(int(rest[:3]), {name.lower(): value.strip() for name, _, value in pairs})

    def body(self, head: Head) -> Iterator[bytes]:
        """Return the body of an answer that has one, as it comes.

        Raises:
            ConnectionLostError: The engine closed before its end.
        """
        if head.headers.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunked_body()
        elif "content-length" in head.headers:
            yield from self._sized_body(int(head.headers["content-length"]))
        else:
            yield from self._body_until_close()

    def _chunked_body(self) -> Iterator[bytes]:
        while True:
            line = self._read_line().partition(b";")[0]
            try:
                size = int(line, 16)
            except ValueError:
                raise StreamError(f"the engine sent a bad chunk: {line[:40]!r}") from None
            if not size:
                while self._read_line():
                    pass
                return
            yield from self._sized_body(size)
            self._read_line()

    def _sized_body(self, missing_bytes: int) -> Iterator[bytes]:
        while missing_bytes:
            if not self._buffer:
                self._fill()
            data = bytes(self._buffer[:missing_bytes])
            del self._buffer[:missing_bytes]
            missing_bytes -= len(data)
            yield data

    def _body_until_close(self) -> Iterator[bytes]:
        while True:
            if self._buffer:
                data = bytes(self._buffer)
                self._buffer.clear()
                yield data
            elif not self._receive():
                return

    def _read_line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            self._fill()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _fill(self) -> None:
        if not self._receive():
            raise ConnectionLostError("the engine closed the connection")

    def _receive(self) -> int:
        try:
            data = self._socket.recv(READ_BYTES)
        except ConnectionResetError as error:
            raise ConnectionLostError("the engine reset the connection") from error
        except TimeoutError as error:
            raise EngineSilentError("the engine does not answer") from error
        self._buffer += data
        return len(data)

    def discard(self) -> bool:
        """Drop what has come, unread; say whether more can come. Waits if nothing has."""
        if self._buffer:
            self._buffer.clear()
            return True
        is_open = self._receive() > 0
        self._buffer.clear()
        return is_open

    def hijack(self) -> HijackedConnection:
        """Give the socket up for a raw stream, with what came behind the head."""
        pending = bytes(self._buffer)
        self._buffer.clear()
        self._socket.settimeout(None)
        return HijackedConnection(self._socket, pending)


class HijackedConnection:
    """A raw stream in both directions; each can end by itself.

    Attributes:
        socket: The socket below; read ``pending`` first.
        pending: What came with the head of the answer.
    """

    def __init__(self, connected: socket.socket, pending: bytes = b"") -> None:
        self.socket = connected
        self.pending = pending

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self.socket.fileno()

    def send(self, data: bytes) -> None:
        """Send to the program's standard input."""
        self.socket.sendall(data)

    def recv(self, size: int = READ_BYTES) -> bytes:
        """Return what the program wrote; empty at the end of the stream."""
        if self.pending:
            data, self.pending = self.pending[:size], self.pending[size:]
            return data
        try:
            return self.socket.recv(size)
        except ConnectionResetError:
            return b""

    def half_close(self) -> None:
        """Say that no more input comes; output goes on."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:  # the other side has gone already: it knows
            return

    def chunks(self, *, framed: bool) -> Iterator[Chunk]:
        """Return the output to its end: taken apart, or raw as standard output."""
        decoder = FrameDecoder()
        while data := self.recv():
            if framed:
                yield from decoder.feed(data)
            else:
                yield Chunk(1, data)
        decoder.finish()

    def close(self) -> None:
        """Close both directions."""
        self.socket.close()
