# SPDX-License-Identifier: Apache-2.0
"""Logins where docker keeps them."""

from __future__ import annotations

import base64
import json
import stat
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.client.logins import (
    INDEX_SERVER,
    Login,
    LoginError,
    LoginFile,
    encoded,
    registry_of,
    server_key,
)

if TYPE_CHECKING:
    from pathlib import Path

KEN = Login("ken", "test")


@pytest.fixture
def file(tmp_path: Path) -> LoginFile:
    return LoginFile.of({"DOCKER_CONFIG": str(tmp_path / "d")})


def write(tmp_path: Path, document: Any) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/config.json").write_text(json.dumps(document))


def test_a_login_is_kept_as_docker_does(file: LoginFile, tmp_path: Path) -> None:
    """API-127, API-128."""
    write(tmp_path, {"psFormat": "x", "auths": {"other": {"auth": "YTpi"}}})
    assert file.keep("h:5000", KEN) == str(tmp_path / "d/config.json")
    path = tmp_path / "d/config.json"
    document = json.loads(path.read_text())
    assert document["psFormat"] == "x"
    assert document["auths"] == {"other": {"auth": "YTpi"}, "h:5000": {"auth": "a2VuOnRlc3Q="}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["config.json"]
    assert file.find("h:5000") == KEN


def test_a_first_login_makes_the_directory(file: LoginFile, tmp_path: Path) -> None:
    assert file.find("h") == Login()
    file.keep("h", Login("u", "p", "token"))
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700
    assert file.find("h").identity_token == "token"  # noqa: S105  # a test's


def test_a_link_stays_a_link(file: LoginFile, tmp_path: Path) -> None:
    write(tmp_path, {})
    (tmp_path / "d/config.json").rename(tmp_path / "real.json")
    (tmp_path / "d/config.json").symlink_to("../real.json")
    file.keep("h", KEN)
    assert (tmp_path / "d/config.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["auths"]


@pytest.mark.parametrize("server", ["", "docker.io", "index.docker.io", INDEX_SERVER])
def test_the_index_has_one_key(server: str, file: LoginFile) -> None:
    """API-129."""
    file.keep(server_key(server), KEN)
    assert file.find(INDEX_SERVER) == KEN
    assert registry_of("busybox") == registry_of("a/b") == registry_of("docker.io/a/b")


@pytest.mark.parametrize(
    "key",
    ["https://h.example.com/v1/", "http://h.example.com/v1/", "h.example.com", "h.example.com/v1/"],
)
def test_an_entry_of_an_older_docker_is_found(file: LoginFile, tmp_path: Path, key: str) -> None:
    """API-130."""
    write(tmp_path, {"auths": {key: {"auth": "a2VuOnRlc3Q=", "email": "k@e"}}})
    assert file.find(registry_of("h.example.com/a")) == KEN
    assert file.find(server_key("https://h.example.com/v1/")) == KEN
    assert file.forget("h.example.com")
    assert not file.forget("h.example.com")
    assert file.find("h.example.com") == Login()


def test_registries_of_names() -> None:
    assert registry_of("localhost:8000/a") == "localhost:8000"
    assert registry_of("localhost/a") == "localhost"
    assert registry_of("127.0.0.1:1/a/b") == "127.0.0.1:1"


def test_what_is_sent_is_an_auth_config() -> None:
    document = KEN.document("h")
    assert document == {"username": "ken", "password": "test", "serveraddress": "h"}
    assert Login().document("h") == {}
    assert json.loads(base64.urlsafe_b64decode(encoded(document))) == document


def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    program = tmp_path / "bin/docker-credential-fake"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nread -r got; echo "$1 $got" >> {tmp_path}/asked\n{body}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")


@pytest.mark.parametrize("how", [{"credsStore": "fake"}, {"credHelpers": {"h:1": "fake"}}])
def test_a_helper_keeps_logins(
    file: LoginFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    helper(tmp_path, monkeypatch, """echo '{"Username":"ken","Secret":"test"}'""")
    write(tmp_path, how)
    assert file.find("h:1") == KEN
    assert file.keep("h:1", KEN) == ""
    assert file.forget("h:1")
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.split()[0] for line in asked] == ["get", "store", "get", "erase"]
    assert json.loads(asked[1].removeprefix("store "))["Secret"] == "test"  # noqa: S105
    assert "a2VuOnRlc3Q=" not in (tmp_path / "d/config.json").read_text()


def test_a_helper_without_the_login_is_nobody(
    file: LoginFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path, monkeypatch, "echo credentials not found in native keychain; exit 1")
    write(tmp_path, {"credsStore": "fake"})
    assert file.find("h") == Login()
    assert not file.forget("h")


@pytest.mark.parametrize("name", ["../../bin/sh", "a b", "nothing-of-that-name"])
def test_a_helper_that_cannot_be_run_is_told(file: LoginFile, tmp_path: Path, name: str) -> None:
    write(tmp_path, {"credsStore": name})
    with pytest.raises(LoginError):
        file.find("h")


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_broken_file_is_told_and_kept(file: LoginFile, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/config.json").write_bytes(content)
    with pytest.raises(LoginError):
        file.keep("h", KEN)
    assert (tmp_path / "d/config.json").read_bytes() == content
