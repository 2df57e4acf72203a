# SPDX-License-Identifier: Apache-2.0
"""One request and the means to answer it.

Owns what a handler sees: path, query, headers, the body as bytes or as a
stream, and the three ways to answer (a whole response, a stream, taking over
the socket). The bytes on the wire are `toolkit.api.connection`'s.
"""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from toolkit.errors import InvalidRequestError, ToolkitError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from _typeshed import WriteableBuffer

    from toolkit.api.query import Query

JSON = "application/json"
BODY_SECONDS = 30.0
_SDK_GAP_SECONDS = 0.003
_HELD_LIMIT_BYTES = 64 * 1024
JSON_BODY_BYTES = 4 * 1024 * 1024  # the largest create body seen in the wild is a few kilobytes


class BodyTooLargeError(ToolkitError):
    """A body is longer than its route takes; nothing of it is acted on (S-94)."""

    status = 413

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"request body is larger than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class BodyTooSlowError(ToolkitError):
    """A body that should be there at once did not come (S-94)."""

    status = 408

    def __init__(self) -> None:
        super().__init__(f"the request body did not come within {BODY_SECONDS:g} seconds")


@dataclass(frozen=True)
class Response:
    """A whole answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()


NO_CONTENT = Response(status=204)


def json_response(value: Any, status: int = 200) -> Response:
    """Return *value* as docker writes it: JSON and a newline."""
    return Response(status=status, body=msgspec.json.encode(value) + b"\n", content_type=JSON)


def error_response(status: int, message: str) -> Response:
    """Return docker's error object."""
    return json_response({"message": message}, status)


class Wire(Protocol):
    """What a request needs of its connection."""

    async def receive_body(self) -> bytes:
        """Return the next bytes of the body; empty at its end."""

    async def send_head(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Send the head of a streamed response."""

    async def send_data(self, data: bytes) -> None:
        """Send bytes of a streamed response, and wait while the client is slow."""

    def send_soon(self, data: bytes) -> None:
        """Send bytes of a streamed response without waiting; for small amounts."""

    async def hijack(self, head: bytes, gap_seconds: float) -> tuple[int, bytes]:
        """Send *head* alone and give the socket away; also what the client sent behind."""


@dataclass(slots=True)
class Request:
    """One request.

    Attributes:
        path: Without version prefix and query, still percent-encoded.
        name: What the route's ``{name}`` stands for, decoded.
        version: API version that the client asked for.
        cancels: The handler ends when the client goes away.
        has_answered: A response's head was sent.
    """

    method: str
    path: str
    query: Query
    headers: Mapping[str, str]
    wire: Wire
    name: str = ""
    version: tuple[int, int] = (1, 44)
    cancels: bool = True
    has_answered: bool = False
    is_hijacked: bool = False
    _body_limit: int = field(default=JSON_BODY_BYTES)

    async def body(self, limit_bytes: int = JSON_BODY_BYTES) -> bytes:
        """Return the whole body.

        Raises:
            BodyTooLargeError: It is longer than the limit; told before it is read if
                the client announced its length.
            BodyTooSlowError: It did not come.
        """
        announced = self.headers.get("content-length", "0")
        if len(announced) > len(str(limit_bytes)) or int(announced) > limit_bytes:
            raise BodyTooLargeError(limit_bytes)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._read_body(limit_bytes)
        except TimeoutError:
            raise BodyTooSlowError from None

    async def _read_body(self, limit_bytes: int) -> bytes:
        """Return the whole body, however long it takes."""
        parts = []
        size = 0
        while part := await self.wire.receive_body():
            size += len(part)
            if size > limit_bytes:
                raise BodyTooLargeError(limit_bytes)
            parts.append(part)
        return b"".join(parts)

    async def json_body(self) -> bytes:
        """Return the body after checking that it claims to be JSON.

        Browsers send other types without asking, so this also keeps a hostile
        page's form from being taken for a request (S-93).
        """
        content_type = self.headers.get("content-type", "")
        if content_type.partition(";")[0].strip().lower() != JSON:
            raise InvalidRequestError(
                f"unsupported Content-Type header ({content_type}): must be 'application/json'"
            )
        return await self.body()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes, however long it is."""
        while part := await self.wire.receive_body():
            yield part

    async def stream(
        self,
        content_type: str = JSON,
        *,
        status: int = 200,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> ResponseStream:
        """Send the head of a streamed response now, and return where to write the rest."""
        self.has_answered = True
        await self.wire.send_head(status, [("Content-Type", content_type), *headers])
        return ResponseStream(self.wire)

    async def hijack(self, content_type: str, *, data_follows: bool) -> tuple[int, bytes]:
        """Answer 101 (or 200 to a client that asked for no upgrade) and take the socket.

        Args:
            content_type: What will be sent.
            data_follows: Something may be sent at once, before the client acts again.

        Returns:
            A descriptor of the connection, which now is the caller's, and the
            bytes that the client sent behind its request.
        """
        self.has_answered = True
        if "upgrade" in self.headers:
            start = "101 UPGRADED"
            end = "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        else:
            start, end = "200 OK", "\r\n"
        head = f"HTTP/1.1 {start}\r\nContent-Type: {content_type}\r\n{end}"
        # The SDK reads the socket below its HTTP buffer: what comes in one segment
        # with the head is lost to it, so its first bytes have to come later. Nobody
        # else waits: a client that attaches before the start may start at once, and
        # has to be known by then.
        is_sdk = self.headers.get("user-agent", "").startswith("docker-sdk-python")
        gap_seconds = _SDK_GAP_SECONDS if is_sdk and data_follows else 0.0
        taken = await self.wire.hijack(head.encode(), gap_seconds)
        self.is_hijacked = True
        return taken


class ResponseStream:
    """A streamed response whose head is sent; each write leaves at once."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._held: list[bytes] = []
        self._held_bytes = 0

    async def put(self, data: bytes) -> None:
        """Send bytes together with those that come before the event loop's next turn.

        Many small pieces that are there at once cost one write; one that is
        followed by a wait still leaves before that wait.
        """
        if not self._held:
            asyncio.get_running_loop().call_soon(self._send_held)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= _HELD_LIMIT_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Send what `put` holds, and wait while the client is slow."""
        held = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        await self.write(held)

    def _send_held(self) -> None:
        """Send what `put` holds, from the event loop."""
        if self._held:
            held = b"".join(self._held)
            self._held.clear()
            self._held_bytes = 0
            self._wire.send_soon(held)

    async def write(self, data: bytes) -> None:
        """Send bytes; waits while the client is slow."""
        if data:
            await self._wire.send_data(data)

    async def write_json(self, value: Any, *, end: bytes = b"\r\n") -> None:
        """Send one JSON object of a progress stream."""
        await self._wire.send_data(msgspec.json.encode(value) + end)


class BodyFile(io.RawIOBase):
    """A request's body as a blocking file, for a thread that reads an archive."""

    def __init__(self, wire: Wire, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._wire = wire
        self._loop = loop
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill *buffer* with what there is; called in the reading thread."""
        if not self._rest:
            coming = asyncio.run_coroutine_threadsafe(self._wire.receive_body(), self._loop)
            self._rest = memoryview(coming.result())
        target = memoryview(buffer).cast("B")
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
