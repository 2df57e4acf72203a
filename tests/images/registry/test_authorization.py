# SPDX-License-Identifier: Apache-2.0
"""Logins reach the registry and its realm, and nobody else (row S-59)."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.fakes.registry import FakeRegistry, basic, digest_of
from tests.images.registry.conftest import Shelf, layer
from toolkit.errors import RegistryAuthError, RegistryError, RemoteImageNotFoundError
from toolkit.images.registry.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGIN = Credentials(username="me", password="se:cret")  # noqa: S106 - of the fake


@pytest.fixture
def other() -> Iterator[FakeRegistry]:
    with FakeRegistry() as fake:
        yield fake


def guard_by_token(registry: FakeRegistry, realm: str = "") -> None:
    registry.challenge = f'Bearer realm="{realm or registry.url}/token",service="fake"'
    registry.accepted = "Bearer tok"
    registry.add_image("b", "1", [layer("a")])


def guard_by_password(registry: FakeRegistry) -> None:
    registry.challenge = 'Basic realm="fake"'
    registry.accepted = basic("me", "se:cret")
    registry.add_image("b", "1", [layer("a")])


def test_a_token_is_fetched_for_the_repository(registry: FakeRegistry, shelf: Shelf) -> None:
    guard_by_token(registry)

    shelf.pull(f"{registry.host}/b:1")

    path = next(path for _, path, _ in registry.requests if path.startswith("/token"))
    query = parse_qs(urlsplit(path).query)
    assert query == {"scope": ["repository:b:pull"], "service": ["fake"]}
    assert len(registry.asked("/token")) == 1


def test_a_push_asks_for_the_right_to_push(registry: FakeRegistry, shelf: Shelf) -> None:
    guard_by_token(registry)
    shelf.pull(f"{registry.host}/b:1")
    shelf.push(f"{registry.host}/b:1")

    path = [path for _, path, _ in registry.requests if path.startswith("/token")][-1]
    assert parse_qs(urlsplit(path).query)["scope"] == ["repository:b:pull,push"]


def test_a_login_goes_to_the_realm(registry: FakeRegistry, shelf: Shelf) -> None:
    guard_by_token(registry)
    registry.login = basic("me", "se:cret")

    shelf.pull(f"{registry.host}/b:1", credentials=LOGIN)

    assert all(one.get("Authorization") in {None, "Bearer tok"} for one in registry.asked("/v2/"))


def test_a_refused_login_is_told(registry: FakeRegistry, shelf: Shelf) -> None:
    guard_by_token(registry)
    registry.login = basic("me", "other")

    with pytest.raises(RegistryAuthError, match="incorrect username or password") as caught:
        shelf.pull(f"{registry.host}/b:1", credentials=LOGIN)
    assert caught.value.status == 401
    assert "se:cret" not in str(caught.value)


def test_a_password_goes_to_the_registry(registry: FakeRegistry, shelf: Shelf) -> None:
    guard_by_password(registry)

    assert shelf.pull(f"{registry.host}/b:1", credentials=LOGIN).references
    with pytest.raises(RegistryAuthError, match="no basic auth credentials"):
        shelf.pull(f"{registry.host}/b:1")


def test_a_token_that_ran_out_is_fetched_again(registry: FakeRegistry, shelf: Shelf) -> None:
    guard_by_token(registry)
    registry.faults.statuses = {"/manifests/": [401]}
    registry.faults.replaced = {}

    with pytest.raises(RegistryError):  # the fault has no challenge
        shelf.pull(f"{registry.host}/b:1")


def test_a_redirect_to_another_host_takes_no_login_along(
    registry: FakeRegistry, other: FakeRegistry, shelf: Shelf
) -> None:
    """S-59"""
    guard_by_password(registry)
    other.add_image("b", "1", [layer("a")])
    registry.faults.redirects = {
        digest_of(layer("a")): f"{other.url}/v2/b/blobs/{digest_of(layer('a'))}"
    }

    shelf.pull(f"{registry.host}/b:1", credentials=LOGIN)

    assert other.asked("/blobs/")
    assert all("Authorization" not in headers for _, _, headers in other.requests)


def test_a_challenge_behind_a_redirect_gets_no_login(
    registry: FakeRegistry, other: FakeRegistry, shelf: Shelf
) -> None:
    """S-59"""
    guard_by_password(registry)
    other.challenge, other.accepted = 'Basic realm="x"', "never"
    registry.faults.redirects = {"/blobs/": f"{other.url}/v2/b/blobs/x"}

    with pytest.raises(RemoteImageNotFoundError):
        shelf.pull(f"{registry.host}/b:1", credentials=LOGIN)
    assert all("Authorization" not in headers for _, _, headers in other.requests)


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "ftp://h/x", "http://user:pw@h/x", "gopher://h", "http://[::1", "//"],
)
def test_a_redirect_to_something_else_is_refused(
    registry: FakeRegistry, shelf: Shelf, target: str
) -> None:
    """S-59"""
    registry.add_image("b", "1", [layer("a")])
    registry.faults.redirects = {"/blobs/": target}

    with pytest.raises(RegistryError):
        shelf.pull(f"{registry.host}/b:1")
    assert shelf.is_clean


def test_redirects_in_a_circle_end(registry: FakeRegistry, shelf: Shelf) -> None:
    registry.add_image("b", "1", [layer("a")])
    registry.faults.redirects = {"/blobs/": "/v2/b/blobs/x"}

    with pytest.raises(RegistryError, match="too many redirects"):
        shelf.pull(f"{registry.host}/b:1")


@pytest.mark.parametrize(
    "realm", ["file:///etc/passwd", "ftp://h/", "http://u:p@127.0.0.1/", "", "http://[::1", "x"]
)
def test_a_realm_that_is_none_gets_no_login(
    registry: FakeRegistry, shelf: Shelf, realm: str
) -> None:
    """S-59"""
    registry.challenge = f'Bearer realm="{realm}"'
    registry.accepted = "never"

    with pytest.raises(RegistryAuthError):
        shelf.pull(f"{registry.host}/b:1", credentials=LOGIN)


@pytest.mark.parametrize("token", [b"{}", b"[]", b"x", b'{"token":1}', b'{"token":"a\\nb"}'])
def test_a_token_that_is_none_is_refused(
    registry: FakeRegistry, shelf: Shelf, token: bytes
) -> None:
    guard_by_token(registry)
    registry.faults.replaced = {"/token": token}

    with pytest.raises(Exception, match="token"):
        shelf.pull(f"{registry.host}/b:1")


def test_log_in_tells_good_from_bad(registry: FakeRegistry, shelf: Shelf) -> None:
    guard_by_password(registry)

    def login(password: str) -> str:
        given = Credentials(username="me", password=password, server=f"http://{registry.host}/v1/")
        return shelf.registries.log_in(given)

    assert login("se:cret") == "Login Succeeded"
    with pytest.raises(RegistryAuthError):
        login("other")


def test_a_header_of_a_client_is_read() -> None:
    document = {"username": "u", "password": "p", "serveraddress": "h:1"}
    header = base64.urlsafe_b64encode(json.dumps(document).encode()).decode()

    for text in (header, header.rstrip("=")):
        found = Credentials.from_header(text)
        assert (found.username, found.password, found.server) == ("u", "p", "h:1")
    assert "p" not in repr(Credentials(username="user", password="p", server=""))  # noqa: S106 - of the test


@pytest.mark.parametrize("text", ["", "e30=", "%%%", "bm90IGpzb24=", "W10=", "eyJhdXRoIjoiJSJ9"])
def test_a_header_that_is_none_is_nobody(text: str) -> None:
    assert not Credentials.from_header(text).basic
