# SPDX-License-Identifier: Apache-2.0
"""An engine's socket whose answers a test writes itself, byte by byte if it wants to.

Owns the recording and the bytes of HTTP; knows no container. Raw streams, chunks and
half-closes are the reason that it is not built on `http.server`.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Request(NamedTuple):
    """What a client asked."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def line(self) -> str:
        """Method and target without the version."""
        bare = self.target
        if bare.startswith("/v1."):
            bare = "/" + bare.split("/", 2)[2]
        return f"{self.method} {bare}"

    @property
    def document(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)


def frame(kind: int, payload: bytes) -> bytes:
    """Return one frame of a stream without a terminal, built by hand."""
    return struct.pack(">BBBBI", kind, 0, 0, 0, len(payload)) + payload


class Exchange:
    """One request, and the connection to answer it on."""

    def __init__(self, request: Request, connection: socket.socket) -> None:
        self.request = request
        self.connection = connection

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.connection.sendall(data)

    def answer(self, status: int, document: Any = None, headers: str = "") -> None:
        """Answer with a document, or without a body."""
        body = b"" if document is None else json.dumps(document).encode()
        length = "" if status in {204, 304} else f"Content-Length: {len(body)}\r\n"
        self.send(f"HTTP/1.1 {status} X\r\n{headers}{length}\r\n".encode() + body)

    def begin_chunks(self) -> None:
        """Send a head; chunks follow."""
        self.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    def chunk(self, data: bytes) -> None:
        """Send one chunk."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def end_chunks(self) -> None:
        """Send the last chunk."""
        self.send(b"0\r\n\r\n")

    def upgrade(self, data: bytes = b"") -> None:
        """Switch to a raw stream; *data* comes with the head."""
        self.send(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n" + data)

    def read_to_end(self) -> bytes:
        """Return what the client sends until it closes its side."""
        received = b""
        while data := self.connection.recv(65536):
            received += data
        return received


Act = Callable[[Exchange], None]


def says(status: int, document: Any = None) -> Act:
    """Return an act that answers with a document."""
    return lambda exchange: exchange.answer(status, document)


def streams(chunks: Iterable[bytes]) -> Act:
    """Return an act that answers in chunks."""

    def act(exchange: Exchange) -> None:
        exchange.begin_chunks()
        for data in chunks:
            exchange.chunk(data)
        exchange.end_chunks()

    return act


class StubEngine:
    """Acts by ``METHOD /path`` without version and query; records every request.

    Attributes:
        requests: In order of arrival, pings left out.
        api_version: Told on a ping.
    """

    def __init__(self, api_version: str = "1.44") -> None:
        self.api_version = api_version
        self.requests: list[Request] = []
        self.pings: list[Request] = []
        self.connections = 0
        self._acts: dict[str, Act] = {"HEAD /_ping": self._ping}

    def on(self, line: str, act: Act) -> None:
        """Say how a request is answered."""
        self._acts[line] = act

    @property
    def lines(self) -> list[str]:
        """Every request as ``METHOD /path?query``."""
        return [request.line for request in self.requests]

    def request(self, line: str) -> Request:
        """Return the last request to a path."""
        return [one for one in self.requests if one.line.partition("?")[0] == line][-1]

    @contextmanager
    def serving(self, path: Path) -> Iterator[str]:
        """Serve at a path while the block lasts; give its URL."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(16)
        acceptor = threading.Thread(target=self._accept, args=(listener,), daemon=True)
        acceptor.start()
        try:
            yield f"unix://{path}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            listener.close()
            path.unlink()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(BrokenPipeError, ConnectionResetError):
            reader = connection.makefile("rb", buffering=0)
            while request := _read_request(reader):
                known = self.pings if request.target == "/_ping" else self.requests
                known.append(request)
                missing = says(404, {"message": f"no act for {request.line}"})
                act = self._acts.get(request.line.partition("?")[0], missing)
                act(Exchange(request, connection))
                if request.headers.get("upgrade"):
                    return

    def _ping(self, exchange: Exchange) -> None:
        version = f"Api-Version: {self.api_version}\r\n" if self.api_version else ""
        exchange.answer(200, None, version)


def _read_request(reader: Any) -> Request | None:
    line = reader.readline().decode().split()
    if not line:
        return None
    headers = {}
    while (header := reader.readline().decode().strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join(_read_chunks(reader))
    else:
        body = _read_exactly(reader, int(headers.get("content-length", 0)))
    return Request(line[0], line[1], headers, body)


def _read_chunks(reader: Any) -> Iterator[bytes]:
    while size := int(reader.readline(), 16):
        yield _read_exactly(reader, size)
        reader.readline()
    reader.readline()


def _read_exactly(reader: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += reader.read(size - len(data))
    return data
