# SPDX-License-Identifier: Apache-2.0
"""Requests and answers: the client itself.

Owns the version that is spoken, what counts as an error, and reuse of connections.
The verbs are in `containers`, `images` and `system`, one object each.
"""

from __future__ import annotations

import json
import os
from collections import deque
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

from toolkit import __version__
from toolkit.client.containers import Containers, Execs
from toolkit.client.errors import ApiError
from toolkit.client.extensions import Extensions
from toolkit.client.host import parse_host, resolve_host
from toolkit.client.images import Images
from toolkit.client.jsonstream import Document, decode_objects
from toolkit.client.networks import Networks
from toolkit.client.query import Query, encode_query
from toolkit.client.registries import Registries
from toolkit.client.system import System
from toolkit.client.volumes import Volumes
from toolkit.client.wire import (
    UPGRADED,
    Connection,
    Head,
    HijackedConnection,
    open_socket,
)
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

NEWEST_API: Final = (1, 44)
OLDEST_API: Final = (1, 24)  # also what an engine speaks that does not tell

_NO_BODY = frozenset({204, 304})
_FIRST_ERROR = 400
_HTTP_OK = 200


class Response:
    """An answer whose head has come; its body is read on demand.

    Attributes:
        status: HTTP status, below 400.
        headers: Names in lower case.
    """

    def __init__(
        self,
        connection: Connection,
        head: Head,
        release: Callable[[Connection], None],
        *,
        body: bool,
    ) -> None:
        self.status = head.status
        self.headers = head.headers
        self._head = head
        self._connection = connection
        self._release = release
        self._is_done = False
        self._chunks = self._body() if body else iter(())
        if not body:
            self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def read(self) -> bytes:
        """Return the whole body."""
        return b"".join(self._chunks)

    def json(self) -> Any:
        """Return the body's document; None if there is no body."""
        text = self.read()
        return json.loads(text) if text.strip() else None

    def objects(self) -> Iterator[Document]:
        """Return the documents of a streamed body as they come."""
        with self:
            yield from decode_objects(self._chunks)

    def fileno(self) -> int:
        """Return the connection's descriptor, for `select`; look at `has_data` first."""
        return self._connection.fileno()

    @property
    def has_data(self) -> bool:
        """Whether something of the body is here already."""
        return self._connection.has_data

    def discard(self) -> bool:
        """Drop what of the body has come; say whether more can come. It can only be closed then."""
        return self._connection.discard()

    def close(self) -> None:
        """Drop what was not read, and the connection with it."""
        if not self._is_done:
            self._is_done = True
            self._connection.close()

    def _body(self) -> Iterator[bytes]:
        try:
            yield from self._connection.body(self._head)
        except BaseException:  # one that nobody reads to its end, too
            self.close()
            raise
        self._finish()

    def _finish(self) -> None:
        self._is_done = True
        if self._head.keeps_alive and (
            self._head.status in _NO_BODY
            or "content-length" in self.headers
            or "transfer-encoding" in self.headers
        ):
            self._release(self._connection)
        else:
            self._connection.close()


class Client:
    """A client of one engine.

    Connections are opened on demand and kept; threads may share a client.

    Attributes:
        host: The engine's address.
        containers, execs, extensions, images, networks, registries, system, volumes: The verbs.
    """

    def __init__(
        self,
        host: str | None = None,
        *,
        api_version: str | None = None,
        timeout_seconds: float | None = None,
    ) -> None:
        named = parse_host(host, "host") if host else resolve_host(None, os.environ)
        self.host = named.url
        self._socket_path = named.socket_path
        self._timeout_seconds = timeout_seconds
        self._api_version = api_version
        self._idle: deque[Connection] = deque()
        self.containers = Containers(self)
        self.execs = Execs(self)
        self.extensions = Extensions(self)
        self.images = Images(self)
        self.registries = Registries(self)
        self.system = System(self)
        self.networks = Networks(self)
        self.volumes = Volumes(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the kept connections."""
        while self._idle:
            self._idle.pop().close()

    @property
    def api_version(self) -> str:
        """The version that both sides speak; the first question asks the engine.

        Raises:
            EngineUnreachableError: Nobody listens.
        """
        if self._api_version is None:
            self._api_version = self._negotiate()
        return self._api_version

    def _negotiate(self) -> str:
        for method in ("HEAD", "GET"):
            with self._exchange(method, "/_ping", {}, None) as answer:
                if answer.status == _HTTP_OK:
                    answer.read()
                    major, _, minor = answer.headers.get("api-version", "").partition(".")
                    told = (int(major), int(minor)) if minor.isdecimal() else OLDEST_API
                    return "{}.{}".format(*min(told, NEWEST_API))
        raise ApiError(answer.status, "the engine does not answer a ping")

    def request(  # one parameter per part of a request
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        document: object = None,
        upload: BinaryIO | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Ask the engine; the answer's body is still to be read.

        Args:
            method: The HTTP method.
            path: Below the version, as `query.quote` leaves it.
            query: See `query.encode_query`.
            document: Sent as JSON.
            upload: Sent in chunks, to its end.
            headers: Sent beside the usual ones.

        Raises:
            ApiError: The engine refused.
            EngineUnreachableError: It does not listen, or went away.
        """
        extra = dict(headers or {})
        body: bytes | BinaryIO | None = upload
        if document is not None:
            body = json.dumps(document).encode()
            extra["Content-Type"] = "application/json"
        elif upload is not None:
            extra.setdefault("Content-Type", "application/x-tar")
        answer = self._exchange(method, self._target(path, query), extra, body)
        return _checked(answer)

    def hijack(
        self, path: str, *, query: Query | None = None, document: object = None
    ) -> HijackedConnection:
        """Ask for a raw stream in both directions.

        Raises:
            ApiError: The engine refused, or would not switch.
        """
        target = self._target(path, query)
        connection = Connection(open_socket(self._socket_path, self._timeout_seconds))
        headers = self._headers() | {"Connection": "Upgrade", "Upgrade": "tcp"}
        body = None
        if document is not None:
            body = json.dumps(document).encode()
            headers["Content-Type"] = "application/json"
        try:
            connection.send("POST", target, headers, body)
            head = connection.read_head()
        except BaseException:
            connection.close()
            raise
        if head.status == UPGRADED:
            return connection.hijack()
        answer = Response(connection, head, self._release, body=True)
        with _checked(answer):
            raise ApiError(head.status, f"unable to upgrade to tcp, received {head.status}")

    def _target(self, path: str, query: Query | None) -> str:
        return f"/v{self.api_version}{path}{encode_query(query)}"

    @staticmethod
    def _headers() -> dict[str, str]:
        return {"Host": "engine", "User-Agent": f"toolkit/{__version__}"}

    def _exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | BinaryIO | None
    ) -> Response:
        if "\r" in target or "\n" in target or " " in target:
            raise InvalidRequestError(f"request target {target!r} is not quoted")
        connection = self._take()
        try:
            connection.send(method, target, self._headers() | dict(headers), body)
            head = connection.read_head()
        except BaseException:
            connection.close()
            raise
        has_body = method != "HEAD" and head.status not in _NO_BODY
        return Response(connection, head, self._release, body=has_body)

    def _take(self) -> Connection:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if connection.is_idle:
                return connection
            connection.close()
        return Connection(open_socket(self._socket_path, self._timeout_seconds))

    def _release(self, connection: Connection) -> None:
        self._idle.append(connection)


def _checked(answer: Response) -> Response:
    if answer.status < _FIRST_ERROR:
        return answer
    with answer:
        text = answer.read().decode(errors="replace").strip()
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        message = text
    raise ApiError(answer.status, message)
