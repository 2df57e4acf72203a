# SPDX-License-Identifier: Apache-2.0
"""A registry of version 2 in memory, on a port of its own, that misbehaves as it is told."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

from toolkit.images.registry.manifest import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LIST,
    DOCKER_MANIFEST,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Faults:
    """What goes wrong; numbers are counted down, texts are parts of paths.

    Attributes:
        cut_after: Bytes after which the connection breaks, by blob digest.
        cuts: How often it breaks; -1 for ever.
        statuses: What is answered instead, one after the other, by a part of the path.
        redirects: Where to, by a part of the path.
        replaced: Content that comes instead, by a part of the path.
        endless: Paths whose body never ends.
        ignores_range: The whole blob comes whatever was asked for.
        wrong_range: Another part comes than was asked for.
        pause: Held up by this event, by a part of the path.
    """

    cut_after: dict[str, int] = field(default_factory=dict)
    cuts: int = -1
    statuses: dict[str, list[int]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, bytes] = field(default_factory=dict)
    endless: str = ""
    drips: str = ""
    ignores_range: bool = False
    wrong_range: bool = False
    pause: dict[str, threading.Event] = field(default_factory=dict)


class FakeRegistry:
    """Blobs and manifests by digest, and who asked for what."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.repositories: dict[str, set[str]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.faults = Faults()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.challenge = ""
        self.accepted = ""
        self.login = ""
        self.page = 0
        self.upload_location: str | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def asked(self, part: str, method: str = "GET") -> list[dict[str, str]]:
        """Return the headers of the requests whose path has that part."""
        return [headers for how, path, headers in self.requests if how == method and part in path]

    def counts(self) -> Counter[str]:
        return Counter(f"{method} {path}" for method, path, _ in self.requests)

    def add_blob(self, content: bytes) -> str:
        self.blobs[digest_of(content)] = content
        return digest_of(content)

    def add_manifest(
        self, name: str, tag: str, document: dict[str, Any], media_type: str = DOCKER_MANIFEST
    ) -> str:
        content = json.dumps(document).encode()
        digest = digest_of(content)
        for key in (tag, digest):
            self.manifests[f"{name}:{key}"] = (media_type, content)
        return digest

    def add_image(self, name: str, tag: str, layers: list[bytes], **config: Any) -> str:
        """Keep an image of uncompressed layers; return the manifest's digest."""
        diff_ids = [digest_of(layer) for layer in layers]
        document = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            **config,
        }
        content = json.dumps(document).encode()
        self.add_blob(content)
        for layer in layers:
            self.add_blob(layer)
        return self.add_manifest(name, tag, manifest_of(content, layers))

    def add_list(self, name: str, tag: str, entries: list[tuple[str, str]]) -> str:
        """Keep a list of manifests, each of (architecture, digest)."""
        manifests = [
            {
                "mediaType": DOCKER_MANIFEST,
                "digest": digest,
                "size": 1,
                "platform": {"os": "linux", "architecture": architecture},
            }
            for architecture, digest in entries
        ]
        document = {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": manifests}
        return self.add_manifest(name, tag, document, DOCKER_LIST)


def manifest_of(config: bytes, layers: list[bytes]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": DOCKER_CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": [
            {"mediaType": DOCKER_LAYER, "digest": digest_of(layer), "size": len(layer)}
            for layer in layers
        ],
    }


def _handler_of(registry: FakeRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        fake = registry

    return Handler


class _Handler(BaseHTTPRequestHandler):
    fake: FakeRegistry
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Tell nobody."""

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.fake.requests.append((self.command, self.path, dict(self.headers)))
        for part, event in self.fake.faults.pause.items():
            if part in self.path:
                event.wait(10)
        try:
            if not self._misbehave():
                self._answer(urlsplit(self.path).path, parse_qs(urlsplit(self.path).query), body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _misbehave(self) -> bool:
        faults = self.fake.faults
        for part, statuses in faults.statuses.items():
            if part in self.path and statuses:
                self._reply(statuses.pop(0), b'{"errors":[{"code":"FAULT","message":"as told"}]}')
                return True
        for part, target in faults.redirects.items():
            if part in self.path:
                self._reply(307, b"", {"Location": target})
                return True
        for part, content in faults.replaced.items():
            if part in self.path:
                self._reply(200, content)
                return True
        if faults.endless and faults.endless in self.path:
            self._send_endless()
            return True
        if faults.drips and faults.drips in self.path:
            self._send_drips()
            return True
        return False

    def _send_endless(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(100_000):
            self.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    def _send_drips(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        for _ in range(200):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.05)

    def _answer(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        if path == "/token":
            self._answer_token()
        elif self.fake.challenge and self.headers.get("Authorization", "") != self.fake.accepted:
            self._reply(401, b"{}", {"WWW-Authenticate": self.fake.challenge})
        elif path == "/v2/":
            self._reply(200, b"{}")
        elif match := re.fullmatch(r"/v2/(.+)/tags/list", path):
            self._answer_tags(match[1], query)
        elif match := re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", path):
            self._answer_manifest(match[1], match[2], body)
        elif match := re.fullmatch(r"/v2/(.+)/blobs/uploads/([^/]*)", path):
            self._answer_upload(match[1], match[2], query, body)
        elif match := re.fullmatch(r"/v2/(.+)/blobs/(sha256:[0-9a-f]{64})", path):
            self._answer_blob(match[1], match[2])
        else:
            self._reply(404, b"")

    def _answer_token(self) -> None:
        if self.fake.login and self.headers.get("Authorization", "") != self.fake.login:
            self._reply(401, b"{}")
        else:
            token = self.fake.accepted.removeprefix("Bearer ")
            self._reply(200, json.dumps({"token": token}).encode())

    def _answer_tags(self, name: str, query: dict[str, list[str]]) -> None:
        keys = (key for key in self.fake.manifests if key.startswith(f"{name}:"))
        found = (key.removeprefix(f"{name}:") for key in keys)
        tags = sorted(tag for tag in found if not tag.startswith("sha256"))
        start = int(query.get("start", ["0"])[0])
        end = start + (self.fake.page or len(tags))
        headers = {}
        if end < len(tags):
            headers["Link"] = f'</v2/{name}/tags/list?start={end}>; rel="next"'
        self._reply(200, json.dumps({"name": name, "tags": tags[start:end]}).encode(), headers)

    def _answer_manifest(self, name: str, key: str, body: bytes) -> None:
        if self.command == "PUT":
            media_type = self.headers.get("Content-Type", "")
            for one in (key, digest_of(body)):
                self.fake.manifests[f"{name}:{one}"] = (media_type, body)
            self._reply(201, b"")
            return
        found = self.fake.manifests.get(f"{name}:{key}")
        if found is None:
            error = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
            self._reply(404, error)
        else:
            self._reply(200, found[1], {"Content-Type": found[0]})

    def _answer_upload(
        self, name: str, upload: str, query: dict[str, list[str]], body: bytes
    ) -> None:
        if self.command == "POST":
            mount, origin = query.get("mount", [""])[0], query.get("from", [""])[0]
            if mount in self.fake.repositories.get(origin, ()):
                self.fake.repositories.setdefault(name, set()).add(mount)
                self._reply(201, b"")
            else:
                number = f"u{len(self.fake.uploads)}"
                self.fake.uploads[number] = bytearray()
                where = self.fake.upload_location
                if where is None:
                    where = f"/v2/{name}/blobs/uploads/{number}?state=x"
                self._reply(202, b"", {"Location": where})
        elif self.command == "PATCH":
            self.fake.uploads[upload] += body
            self._reply(202, b"", {"Location": self.path})
        elif self.command == "PUT":
            content = bytes(self.fake.uploads[upload] + body)
            digest = query["digest"][0]
            if digest_of(content) == digest:
                self.fake.blobs[digest] = content
                self.fake.repositories.setdefault(name, set()).add(digest)
            self._reply(201 if digest_of(content) == digest else 400, b"")
        else:
            self._reply(204, b"")

    def _answer_blob(self, name: str, digest: str) -> None:
        content = self.fake.blobs.get(digest)
        known = self.fake.repositories.get(name)
        if content is None or (known is not None and digest not in known):
            self._reply(404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}')
            return
        status, headers = 200, {}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and not self.fake.faults.ignores_range:
            start = int(wanted[1]) - (1 if self.fake.faults.wrong_range else 0)
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            status, content = 206, content[start:]
        self._reply(status, content, headers, cut=self.fake.faults.cut_after.get(digest))

    def _reply(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str] | None = None,
        *,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut is not None and cut < len(content) and self.fake.faults.cuts != 0:
            self.fake.faults.cuts -= 1
            self.wfile.write(content[:cut])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(content)


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def serve() -> Iterator[FakeRegistry]:
    """Run one, for a fixture."""
    with FakeRegistry() as registry:
        yield registry
