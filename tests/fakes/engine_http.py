# SPDX-License-Identifier: Apache-2.0
"""An engine's socket with canned answers: what was asked is written down.

Owns no behaviour of an engine; the client on it is the real one.
"""

from __future__ import annotations

import json
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Answer = tuple[int, Any]  # status, and a document or bytes


class CannedEngine:
    """Answers by method and path below the version, as often as asked.

    Attributes:
        asked: Each request as ``"GET /path?query"``, in order.
    """

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = {"HEAD /_ping": (200, b""), **answers}
        self.asked: list[str] = []

    @contextmanager
    def serving(self, path: Path) -> Iterator[None]:
        """Serve at a path for as long as the block lasts."""
        canned = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                self.client_address = ("local", 0)
                super().handle()

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, body = canned.take(self.command, self.path)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Api-Version", "1.44")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        with Server(str(path), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()

    def take(self, method: str, target: str) -> Answer:
        """Note a request and return its answer; 404 if there is none."""
        bare = target
        if target.startswith("/v1."):
            bare = "/" + target.split("/", 2)[2]
        self.asked.append(f"{method} {bare}")
        missing = (404, {"message": f"no answer for {method} {bare}"})
        return self.answers.get(f"{method} {bare.partition('?')[0]}", missing)
