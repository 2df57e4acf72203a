# SPDX-License-Identifier: Apache-2.0
"""What can be asked of the toolkit's own engine, beyond docker's API.

Sessions and leases are connections: they last as long as this process holds them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from toolkit.client.errors import ApiError, ConnectionLostError, EngineSilentError, StreamError
from toolkit.client.pending import PendingAnswer
from toolkit.client.query import quote

if TYPE_CHECKING:
    from toolkit.client.client import Client
    from toolkit.client.jsonstream import Document
    from toolkit.client.query import Query
    from toolkit.client.wire import HijackedConnection

_NOT_FOUND = 404


class Heard(NamedTuple):
    """Whether somebody listens; if not, why not."""

    is_listening: bool
    waited_seconds: float
    reason: str


class PendingListener(PendingAnswer):
    """A wait that the engine has taken up; it answers when somebody listens, or will not."""

    def result(self) -> Heard:
        """Wait for the answer.

        Raises:
            ConnectionLostError: The engine went away meanwhile.
        """
        document = self._answer.json() or {}
        return Heard(
            bool(document.get("Listening")),
            float(document.get("Seconds", 0)),
            str(document.get("Reason", "")),
        )


class Lines:
    """A connection that carries a JSON document a line, in both directions."""

    def __init__(self, connection: HijackedConnection) -> None:
        self._connection = connection
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, document: object) -> None:
        """Send a document."""
        try:
            self._connection.send(json.dumps(document).encode() + b"\n")
        except OSError as error:
            raise ConnectionLostError("the engine closed the connection") from error

    def receive(self) -> Document:
        """Return the next document.

        Raises:
            ConnectionLostError: The engine closed instead, or was silent for too long.
            StreamError: It says something else.
        """
        while b"\n" not in self._buffer:
            try:
                data = self._connection.recv()
            except TimeoutError as error:
                raise EngineSilentError("the engine does not answer") from error
            if not data:
                raise ConnectionLostError("the engine closed the connection")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            document = json.loads(line)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise StreamError(f"the engine sent no document: {line[:80]!r}")
        return document

    def keep(self, container_id: str) -> None:
        """Have a container spared when what is held ends.

        Raises:
            StreamError: It is not there any more.
        """
        self.send({"Keep": container_id})
        answer = self.receive()
        if "Kept" not in answer:
            raise StreamError(str(answer.get("Error", "the engine does not keep it")))

    def end(self, *, timeout_seconds: float | None = None) -> Document:
        """Let go, and return what was removed when it has been.

        Args:
            timeout_seconds: Longest wait for that; without one it has no limit.

        Raises:
            EngineSilentError: The time is up; the engine removes it all the same.
        """
        self._connection.socket.settimeout(timeout_seconds)
        try:
            self.send({"End": True})
            removed = self.receive().get("Removed") or {}
        finally:
            self.close()
        return dict(removed)

    def close(self) -> None:
        """Let go without waiting; a second call does nothing."""
        self._connection.close()


class Extensions:
    """What docker's API has not. An engine that is not the toolkit's has no features."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def features(self) -> frozenset[str]:
        """Return what the engine can beyond docker's API; empty for docker's own."""
        try:
            document = self._client.request("GET", "/toolkit").json()
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return frozenset()
            raise
        return frozenset(document.get("Features") or ())

    def open_session(self, name: str) -> Lines:
        """Open a session: what carries its label goes when this connection closes.

        Raises:
            ApiError: Somebody has it open.
        """
        lines = self._open("sessions", name)
        lines.receive()
        return lines

    def open_lease(self, name: str) -> tuple[Lines, Document]:
        """Take a share in something; return its connection and what the engine said first.

        That is ``{"Make": true}`` to the first: it makes the thing, and sends
        ``{"Value": ...}`` or ``{"Error": text}``. The others are told that.
        """
        lines = self._open("leases", name)
        try:
            return lines, lines.receive()
        except BaseException:
            lines.close()
            raise

    def prune_sessions(self) -> Document:
        """Remove what belongs to sessions that are over, and what was kept of them."""
        document: Document = self._client.request("POST", "/toolkit/sessions/prune").json()
        return document

    def begin_listening(
        self, reference: str, port: int, *, protocol: str = "tcp", timeout_seconds: float
    ) -> PendingListener:
        """Begin to wait until a container's program listens on a port."""
        query: dict[str, Any] = {
            "port": port,
            "protocol": protocol,
            "milliseconds": max(1, int(timeout_seconds * 1000)),
        }
        path = f"/containers/{quote(reference)}/listening"
        return PendingListener(self._client.request("GET", path, query=query))

    def _open(self, kind: str, name: str) -> Lines:
        query: Query = {"name": name}
        return Lines(self._client.hijack(f"/toolkit/{kind}", query=query))
