# SPDX-License-Identifier: Apache-2.0
"""pull, push, login, logout, search, save and load on the command line."""

from __future__ import annotations

import base64
import io
import json
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.stub_engine import Exchange, StubEngine, says, streams
from toolkit.cli.progress import _show_bars, plain_lines

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine

PROGRESS: list[dict[str, Any]] = [
    {"status": "Pulling from a/b", "id": "1"},
    {"status": "Downloading", "id": "abc", "progressDetail": {"current": 1, "total": 2}},
    {"status": "Pull complete", "id": "abc", "progressDetail": {}},
    {"status": "Digest: x\x1b[2J"},
]


@pytest.fixture(autouse=True)
def _own_logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "logins"))


def chunks(messages: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(message).encode() + b"\r\n" for message in messages]


def login_of(stub: StubEngine) -> dict[str, str]:
    headers = {name.lower(): value for name, value in stub.requests[-1].headers.items()}
    document: dict[str, str] = json.loads(base64.urlsafe_b64decode(headers["x-registry-auth"]))
    return document


def test_pull_shows_news_as_lines_and_ends_with_the_name(
    toolkit: CommandLine, stub: StubEngine
) -> None:
    stub.on("POST /images/create", streams(chunks(PROGRESS)))
    result = toolkit("pull", "h:1/a/b")
    assert result.out.splitlines() == [
        "Using default tag: latest",
        "1: Pulling from a/b",
        "abc: Pull complete",
        "Digest: x\\x1b[2J",
        "h:1/a/b:latest",
    ]
    assert stub.lines == ["POST /images/create?fromImage=h:1/a/b&tag=latest"]
    assert login_of(stub) == {}
    assert toolkit("pull", "-q", "busybox:1").out == "docker.io/library/busybox:1\n"
    toolkit("pull", "-a", "busybox")
    assert stub.lines[-1] == "POST /images/create?fromImage=busybox"


def test_a_pull_that_fails_on_the_way_is_1(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on(
        "POST /images/create",
        streams(chunks([*PROGRESS, {"error": "broken", "errorDetail": {"message": "broken"}}])),
    )
    result = toolkit("pull", "a:1")
    assert (result.exit_code, result.err) == (1, "toolkit: broken\n")
    assert toolkit("pull", "-a", "a:1").exit_code == 1


def test_a_login_is_tried_kept_sent_and_forgotten(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("POST /auth", says(200, {"Status": "Login Succeeded", "IdentityToken": ""}))
    stub.on("POST /images/h:1/a/push", streams(chunks([{"status": "1: digest: x size: 1"}])))
    result = toolkit("login", "-u", "ken", "-p", "test", "h:1")
    assert result.out == "Login Succeeded\n"
    assert "stored unencrypted" in result.err
    sent = {"username": "ken", "password": "test", "serveraddress": "h:1"}
    assert stub.requests[-1].document == sent
    assert toolkit("push", "h:1/a:1").out == "1: digest: x size: 1\n"
    assert login_of(stub) == sent
    assert toolkit("logout", "h:1").out == "Removing login credentials for h:1\n"
    assert toolkit("logout", "h:1").out == "Not logged in to h:1\n"


def test_a_refused_login_is_not_kept(
    toolkit: CommandLine, stub: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.on("POST /auth", says(401, {"message": "unauthorized"}))
    monkeypatch.setattr(sys, "stdin", io.StringIO("test\n"))
    result = toolkit("login", "-u", "ken", "--password-stdin")
    assert (result.exit_code, result.err) == (1, "toolkit: unauthorized\n")
    assert stub.requests[-1].document["password"] == "test"  # noqa: S105
    assert toolkit("logout").out == "Not logged in to https://index.docker.io/v1/\n"


@pytest.mark.parametrize(
    "words", [["-p", "x", "--password-stdin", "-u", "a"], ["--password-stdin"], []]
)
def test_a_login_that_cannot_be_asked_for_is_refused(
    toolkit: CommandLine, stub: StubEngine, words: list[str]
) -> None:
    assert toolkit("login", *words).exit_code == 1
    assert stub.requests == []


def test_search_has_dockers_columns(toolkit: CommandLine, stub: StubEngine) -> None:
    found = {"name": "busybox", "description": "d" * 60, "star_count": 3, "is_official": True}
    stub.on("GET /images/search", says(200, [found]))
    lines = toolkit("search", "-f", "stars=3", "--limit", "5", "busybox").out.splitlines()
    assert lines[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert lines[1].split() == ["busybox", "d" * 44 + "…", "3", "[OK]"]
    assert "limit=5" in stub.lines[0]


def test_save_writes_a_file_at_once_or_not_at_all(
    toolkit: CommandLine, stub: StubEngine, tmp_path: Path
) -> None:
    stub.on("GET /images/get", streams([b"tar", b"ball"]))
    assert toolkit("save", "a", "b:1").out == "tarball"
    assert stub.lines == ["GET /images/get?names=a&names=b:1"]
    target = tmp_path / "out/a.tar"
    target.parent.mkdir()
    assert toolkit("image", "save", "-o", str(target), "a").exit_code == 0
    assert target.read_bytes() == b"tarball"

    def cut(exchange: Exchange) -> None:
        exchange.begin_chunks()
        exchange.chunk(b"half")
        exchange.connection.shutdown(socket.SHUT_RDWR)

    stub.on("GET /images/get", cut)
    assert toolkit("save", "-o", str(target), "a").exit_code == 1
    assert target.read_bytes() == b"tarball"
    assert list(target.parent.iterdir()) == [target]
    assert toolkit("save", "-o", "/nonexistent/a", "a").exit_code == 1


def test_load_sends_a_file(toolkit: CommandLine, stub: StubEngine, tmp_path: Path) -> None:
    stub.on("POST /images/load", streams(chunks([{"stream": "Loaded image: a:1\n"}])))
    (tmp_path / "a.tar").write_bytes(b"tar")
    assert toolkit("load", "-i", str(tmp_path / "a.tar")) == (0, "Loaded image: a:1\n", "")
    assert stub.requests[0].body == b"tar"
    assert stub.lines == ["POST /images/load?quiet=1"]
    assert toolkit("load", "-i", "/nonexistent").exit_code == 1


def test_bars_are_for_terminals() -> None:
    out = io.StringIO()
    messages = [*PROGRESS, {"status": "[bold]x", "id": "<y>"}, {"stream": "Loaded image: a\n"}]
    _show_bars(messages, out)
    shown = out.getvalue()
    for text in ("1: Pulling from a/b", "abc Pull complete", "Digest: x\\x1b[2J", "<y>: [bold]x"):
        assert text in shown
    assert "\x1b[2J" not in shown


def test_counts_are_no_lines() -> None:
    assert list(plain_lines(PROGRESS[1:2])) == []
