# SPDX-License-Identifier: Apache-2.0
"""Files by URL, from a server on loopback."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.build import fetch
from toolkit.build.fetch import FetchError, fetch_file, is_url
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """Serves /x and /, redirects the rest."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to"))
            self.end_headers()
        elif path == "/round":
            self.send_response(302)
            self.send_header("Location", "/round")
            self.end_headers()
        elif path in {"/x", "/"}:
            self.send_response(200)
            self.send_header("Last-Modified", "Mon, 16 Dec 2013 00:00:00 GMT")
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"blah")
        else:
            self.send_error(404)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "name", "named"),
    [("/x", "x", True), ("/x?foo=bar", "x", True), ("/", "file", False), ("/to/x", "x", True)],
)
def test_a_file_is_fetched(url: str, tmp_path: Path, path: str, name: str, named: bool) -> None:  # noqa: FBT001
    fetched = fetch_file(url + path, tmp_path)
    assert (fetched.name, fetched.named) == (name, named)
    status = (tmp_path / name).stat()
    assert (tmp_path / name).read_bytes() == b"blah"
    assert (status.st_mode & 0o7777, status.st_mtime) == (0o600, 1387152000)


def test_a_name_cannot_lead_elsewhere(url: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="404"):
        fetch_file(f"{url}/a/%2e%2e%2fescaped", tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


def test_errors_and_rounds_end(url: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="404"):
        fetch_file(f"{url}/none", tmp_path)
    with pytest.raises(FetchError, match="redirects"):
        fetch_file(f"{url}/round", tmp_path)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(FetchError):
            fetch_file(f"http://127.0.0.1:{unused.getsockname()[1]}/x", tmp_path)


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http:///x", "http://[x"]
)
def test_only_http_is_fetched_also_behind_a_redirect(tmp_path: Path, target: str) -> None:
    """S-64."""
    with pytest.raises(InvalidRequestError):
        fetch_file(target, tmp_path)
    assert is_url(target) is target.startswith("http:")


def test_a_redirect_from_outside_to_a_local_address_is_refused(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-64; the control is the same redirect from a local address."""
    found = [("127.0.0.1", False), ("127.0.0.1", True)]
    monkeypatch.setattr(fetch, "_address", lambda _: found.pop(0))
    with pytest.raises(FetchError, match="local address"):
        fetch_file(f"{url}/to/x", tmp_path)
    assert list(tmp_path.iterdir()) == []
    found += [("127.0.0.1", True), ("127.0.0.1", True)]
    assert fetch_file(f"{url}/to/x", tmp_path).name == "x"


@pytest.mark.parametrize(
    ("address", "is_local"),
    [("127.0.0.1", True), ("10.1.2.3", True), ("169.254.169.254", True), ("[::1]", True),
     ("[fe80::1]", True), ("8.8.8.8", False)],
)  # fmt: skip
def test_local_addresses_are_known(address: str, is_local: bool) -> None:  # noqa: FBT001
    assert fetch._address(fetch._checked(f"http://{address}/x"))[1] is is_local
