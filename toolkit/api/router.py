# SPDX-License-Identifier: Apache-2.0
"""From a method and a path to a route, by look-ups in a dictionary.

Every path of docker's API has at most one parameter, right behind its first
segment, so a request is found by (first segment, what follows the parameter)
and never by trying patterns one after the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from toolkit.api.request import Request, Response
from toolkit.errors import InvalidRequestError, NotFoundError, ToolkitError

if TYPE_CHECKING:
    from toolkit.api.facade import EngineFacade

MAXIMUM_VERSION = (1, 44)
MINIMUM_VERSION = (1, 24)

Handler = Callable[["EngineFacade", Request], Awaitable[Response | None]]

_LONGEST_SUFFIX = 2  # attach/ws


class MethodNotAllowedError(ToolkitError):
    """A method that no route of this API uses."""

    status = 405

    def __init__(self, method: str) -> None:
        super().__init__(f"method {method} not allowed")


@dataclass(frozen=True, kw_only=True)
class Route:
    """One line of the API's table.

    Attributes:
        pattern: ``/containers/{name}/json``; ``{name:*}`` may hold slashes.
        cancels: The handler is cancelled when its client goes away. Acts that
            change something run to their end instead.
    """

    method: str
    pattern: str
    handler: Handler
    cancels: bool

    @property
    def is_greedy(self) -> bool:
        """Whether the name may hold slashes."""
        return "{name:*}" in self.pattern


def get(pattern: str, handler: Handler) -> Route:
    """Return a route that reads."""
    return Route(method="GET", pattern=pattern, handler=handler, cancels=True)


def head(pattern: str, handler: Handler) -> Route:
    """Return a route that reads, without a body."""
    return Route(method="HEAD", pattern=pattern, handler=handler, cancels=True)


def post(pattern: str, handler: Handler, *, cancels: bool = False) -> Route:
    """Return a route that acts."""
    return Route(method="POST", pattern=pattern, handler=handler, cancels=cancels)


def put(pattern: str, handler: Handler) -> Route:
    """Return a route that takes a file."""
    return Route(method="PUT", pattern=pattern, handler=handler, cancels=False)


def delete(pattern: str, handler: Handler) -> Route:
    """Return a route that removes."""
    return Route(method="DELETE", pattern=pattern, handler=handler, cancels=False)


@dataclass(frozen=True)
class Match:
    """What a request's path leads to.

    Attributes:
        version: The API version in the path, or the newest.
    """

    route: Route
    name: str
    version: tuple[int, int]


@dataclass
class Router:
    """The table of routes."""

    routes: Iterable[Route]
    _exact: dict[str, dict[str, Route]] = field(default_factory=dict)
    _named: dict[tuple[str, str], dict[str, Route]] = field(default_factory=dict)
    _methods: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for route in self.routes:
            self._methods.add(route.method)
            first, braced, rest = route.pattern.partition("/{")
            if braced:
                key = (first.strip("/"), rest.partition("}")[2].strip("/"))
                self._named.setdefault(key, {})[route.method] = route
            else:
                self._exact.setdefault(route.pattern, {})[route.method] = route

    def match(self, method: str, path: str) -> Match:
        """Return the route of a request.

        Raises:
            NotFoundError: There is none.
            MethodNotAllowedError: No route at all has that method.
            InvalidRequestError: The version is too old or too new, or the name
                cannot be decoded.
        """
        if method not in self._methods:
            raise MethodNotAllowedError(method)
        version, path = split_version(path)
        route = self._exact.get(path, {}).get(method)
        if route is not None:
            return Match(route, "", version)
        segments = path.split("/")
        for size in range(_LONGEST_SUFFIX, -1, -1):
            edge = len(segments) - size
            found = self._named.get((segments[1] if edge > 1 else "", "/".join(segments[edge:])))
            route = found.get(method) if found is not None else None
            name = segments[2:edge]
            if len(name) > 1 and not name[0]:
                del name[0]  # `/web`, as people write a container's name
            if route is not None and all(name) and (len(name) == 1 or (name and route.is_greedy)):
                return Match(route, decode_name("/".join(name)), version)
        raise NotFoundError("page not found")


def decode_name(text: str) -> str:
    """Return a path parameter, decoded once.

    Raises:
        InvalidRequestError: It is not UTF-8, or holds a NUL (S-97).
    """
    if "%" not in text:
        return text
    try:
        name = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise InvalidRequestError("the path is not UTF-8") from None
    if "\0" in name:
        raise InvalidRequestError("the path holds a NUL character")
    return name


def split_version(path: str) -> tuple[tuple[int, int], str]:
    """Return the API version that a path asks for, and the path without it."""
    if not path.startswith("/v1."):
        return MAXIMUM_VERSION, path
    minor, slash, rest = path.removeprefix("/v1.").partition("/")
    if not slash or not minor.isdecimal() or not minor.isascii():
        return MAXIMUM_VERSION, path
    version = (1, int(minor[:9]))
    check_version(version)
    return version, f"/{rest}"


def check_version(version: tuple[int, int]) -> None:
    """Refuse a version that is not served, in docker's words."""
    text = f"client version {version[0]}.{version[1]}"
    if version < MINIMUM_VERSION:
        raise InvalidRequestError(
            f"{text} is too old. Minimum supported API version is {version_text(MINIMUM_VERSION)}, "
            "please upgrade your client to a newer version"
        )
    if version > MAXIMUM_VERSION:
        raise InvalidRequestError(
            f"{text} is too new. Maximum supported API version is {version_text(MAXIMUM_VERSION)}"
        )


def version_text(version: tuple[int, int]) -> str:
    """Return a version as it is written."""
    return f"{version[0]}.{version[1]}"
