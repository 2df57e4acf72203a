# SPDX-License-Identifier: Apache-2.0
"""From a method and a path to a route."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.api.router import MAXIMUM_VERSION, MethodNotAllowedError, Router
from toolkit.api.table import ROUTES
from toolkit.errors import InvalidRequestError, NotFoundError, ToolkitError

ROUTER = Router(ROUTES)


@pytest.mark.parametrize("prefix", ["", "/v1.24", "/v1.44"])
@pytest.mark.parametrize(
    ("method", "path", "pattern", "name"),
    [
        ("GET", "/_ping", "/_ping", ""),
        ("HEAD", "/_ping", "/_ping", ""),
        ("GET", "/containers/json", "/containers/json", ""),
        ("GET", "/containers/json/json", "/containers/{name:*}/json", "json"),
        ("POST", "/containers/a/start", "/containers/{name:*}/start", "a"),
        ("GET", "/containers/a/attach/ws", "/containers/{name:*}/attach/ws", "a"),
        ("DELETE", "/containers/a/b", "/containers/{name:*}", "a/b"),
        ("GET", "/images/json", "/images/json", ""),
        ("GET", "/images/docker.io/a/b:1/json", "/images/{name:*}/json", "docker.io/a/b:1"),
        ("DELETE", "/images/a/json", "/images/{name:*}", "a/json"),
        ("POST", "/images/docker.io/a/b/push", "/images/{name:*}/push", "docker.io/a/b"),
        ("POST", "/exec/e1/start", "/exec/{name}/start", "e1"),
        ("GET", "/networks", "/networks", ""),
    ],
)
def test_finds_the_route_with_and_without_a_version(
    prefix: str, method: str, path: str, pattern: str, name: str
) -> None:
    found = ROUTER.match(method, prefix + path)
    assert (found.route.pattern, found.name) == (pattern, name)
    assert found.version == ((1, int(prefix[4:])) if prefix else MAXIMUM_VERSION)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", ""),
        ("GET", "/nope"),
        ("GET", "/containers"),
        ("GET", "/containers//json"),
        ("POST", "/containers/a/b/nosuch"),
        ("GET", "/containers/a/start"),
        ("GET", "//containers/json"),
        ("GET", "/containers/json/"),
        ("GET", "/v1.44"),
        ("GET", "/v1/containers/json"),
        ("GET", "/debug/pprof/"),
        ("GET", "/debug/vars"),
        ("POST", "/swarm/init"),
        ("GET", "/plugins/x/json"),
    ],
)
def test_what_is_not_there_is_not_found(method: str, path: str) -> None:
    """S-98: no debug routes."""
    with pytest.raises(NotFoundError, match="page not found"):
        ROUTER.match(method, path)


def test_a_method_that_nothing_uses_is_not_allowed() -> None:
    with pytest.raises(MethodNotAllowedError):
        ROUTER.match("TRACE", "/_ping")


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.23", r"1\.23 is too old. Minimum supported API version is 1\.24"),
        ("1.45", r"1\.45 is too new. Maximum supported API version is 1\.44"),
        ("1.999999999999", "too new"),
    ],
)
def test_a_version_that_is_not_served_is_refused_in_dockers_words(version: str, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        ROUTER.match("GET", f"/v{version}/_ping")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/containers/a%2Fb/json", "a/b"),
        ("/containers/..%2f..%2f/json", "../../"),
        ("/containers/%252e/json", "%2e"),
    ],
)
def test_a_name_is_decoded_once_and_never_becomes_a_path(path: str, name: str) -> None:
    """S-97."""
    assert ROUTER.match("GET", path).name == name


@pytest.mark.parametrize("path", ["/containers/a%00b/json", "/containers/%ff/json"])
def test_a_name_that_is_no_text_is_refused(path: str) -> None:
    """S-97."""
    with pytest.raises(InvalidRequestError):
        ROUTER.match("GET", path)


@given(st.sampled_from(["GET", "POST", "DELETE", "HEAD"]), st.text(min_size=0, max_size=60))
def test_any_path_is_a_route_or_a_named_error(method: str, path: str) -> None:
    try:
        ROUTER.match(method, path)
    except ToolkitError as error:
        assert error.status in {400, 404}  # noqa: PT017 - a property: either way is right
