# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from bench.rawhttp import BenchError, Connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b'Transfer-Encoding: chunked\r\n\r\n7\r\n{"a":1,\r\n6\r\n"b":2}\r\n0\r\n\r\n'
SIZED = HEAD + b"Content-Length: 2\r\n\r\n[]"
REFUSED = b"HTTP/1.1 409 Conflict\r\nContent-Length: 6\r\n\r\nin use"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


@contextmanager
def answering(path: Path, *answers: bytes) -> Iterator[Connection]:
    """Give a connection to a peer that sends these answers, one for each request."""

    def serve(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with peer:
            for answer in answers:
                peer.recv(65536)
                peer.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with Connection(path) as connection:
            yield connection
        thread.join(10)


def test_a_connection_is_kept_over_chunked_sized_and_empty_answers(tmp_path: Path) -> None:
    with answering(tmp_path / "s", CHUNKED, EMPTY, SIZED) as connection:
        assert connection.json("GET", "/a") == {"a": 1, "b": 2}
        assert connection.json("POST", "/b", {"x": 1}) is None
        assert connection.json("GET", "/c") == []


def test_a_refusal_is_an_error_with_the_engines_words(tmp_path: Path) -> None:
    refused = pytest.raises(BenchError, match="DELETE /a: 409 in use")
    with answering(tmp_path / "s", REFUSED) as connection, refused:
        connection.send("DELETE", "/a")


def test_a_closed_connection_is_an_error(tmp_path: Path) -> None:
    with answering(tmp_path / "s") as connection, pytest.raises((BenchError, OSError)):
        connection.send("GET", "/a")
