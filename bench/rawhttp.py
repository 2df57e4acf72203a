# SPDX-License-Identifier: Apache-2.0
"""The least HTTP client that can measure an engine: one unix socket, kept open.

No process, no library and no thread of its own, so that a round measures the
engine and not its client.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

_ANSWER_SECONDS = 120.0
_FIRST_ERROR_STATUS = 400


class BenchError(Exception):
    """A peer did not do what the measurement asks for."""


class Connection:
    """A kept connection to an engine that speaks the Docker Engine API."""

    def __init__(self, socket_path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_ANSWER_SECONDS)
        self._socket.connect(str(socket_path))
        self._reader: BufferedReader = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()
        self._socket.close()

    def json(self, method: str, path: str, body: object = None) -> Any:
        """Send a request with a JSON body and return the answer's; None if it is empty."""
        data = b"" if body is None else json.dumps(body).encode()
        answer = self.send(method, path, data, kind="application/json" if data else "")
        return json.loads(answer) if answer.strip() else None

    def send(self, method: str, path: str, body: bytes = b"", *, kind: str = "") -> bytes:
        """Send a request and return the answer's body.

        Raises:
            BenchError: The answer is an error.
        """
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        head += f"Content-Type: {kind}\r\n\r\n" if kind else "\r\n"
        self._socket.sendall(head.encode() + body)
        status, headers = self._read_head()
        answer = self._read_body(status, headers)
        if status >= _FIRST_ERROR_STATUS:
            raise BenchError(f"{method} {path}: {status} {answer.decode(errors='replace').strip()}")
        return answer

    def _read_head(self) -> tuple[int, dict[str, str]]:
        first = self._reader.readline()
        if not first:
            raise BenchError("the engine closed the connection")
        headers: dict[str, str] = {}
        while (line := self._reader.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(first.split()[1]), headers

    def _read_body(self, status: int, headers: dict[str, str]) -> bytes:
        if status in {204, 304}:
            return b""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        if "content-length" in headers:
            return self._reader.read(int(headers["content-length"]))
        return self._reader.read()

    def _chunks(self) -> list[bytes]:
        chunks = []
        while size := int(self._reader.readline().split(b";")[0], 16):
            chunks.append(self._reader.read(size))
            self._reader.readline()
        self._reader.readline()
        return chunks
