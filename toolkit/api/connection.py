# SPDX-License-Identifier: Apache-2.0
"""One connection: h11 on an asyncio protocol.

Owns the bytes: heads, bodies, keep-alive, limits, slow and vanished clients, and
giving the socket away. A plain protocol rather than asyncio's streams, because
attach needs the raw descriptor, exactly the bytes that came behind the head, and
a half-closed connection that goes on living. What a request means is
`toolkit.api.application`'s.

A client is *gone* when the connection breaks or hangs up. One that only closed
its writing side is still there and gets its answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from typing import cast

import h11

from toolkit.api.answers import Answers, Headers
from toolkit.api.hangup import HangupWatch
from toolkit.api.heads import Limits, read_head
from toolkit.api.request import Request, Response, error_response
from toolkit.api.waiting import Waiting
from toolkit.errors import InvalidRequestError, ToolkitError

_log = logging.getLogger(__name__)

Serve = Callable[[Request], Awaitable[Response | None]]

_UNREAD_LIMIT_BYTES = 256 * 1024
_WRITE_LIMIT_BYTES = 256 * 1024


class ClientGoneError(ToolkitError):
    """The client went away before its request was done."""

    def __init__(self) -> None:
        super().__init__("the client closed the connection")


class Connection(asyncio.Protocol):
    """Serves the requests of one client, one after the other."""

    def __init__(
        self,
        serve: Serve,
        *,
        headers: Headers,
        limits: Limits | None = None,
        registry: set[Connection] | None = None,
    ) -> None:
        self._serve = serve
        self._limits = limits or Limits()
        self._registry = registry if registry is not None else set()
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head_bytes)
        self._answers = Answers(self._parser, headers)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._request: Request | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._data = Waiting()
        self._drained = Waiting()
        self._hangup = HangupWatch(self._abort_transport)
        self._unread_bytes = 0
        self._writing_paused = False
        self._reading_paused = False
        self._body_done = True
        self._at_eof = False
        self._is_lingering = False
        self._is_closing = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_LIMIT_BYTES)
        self._registry.add(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; begin a request, or wake the one that waits for its body."""
        if self._is_lingering:
            return
        self._parser.receive_data(data)
        self._unread_bytes += len(data)
        if self._task is None:
            self._next_request()
        else:
            self._data.wake()
            if self._unread_bytes > _UNREAD_LIMIT_BYTES:
                self._pause_reading()

    def eof_received(self) -> bool:
        """Note that nothing more comes; a request that is being served goes on."""
        self._at_eof = True
        if self._is_lingering:
            return False
        self._parser.receive_data(b"")
        if self._task is None:
            self._next_request()
        else:
            self._data.wake()
            self._watch_hangup()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """End what was being done for a client that is gone."""
        del exc
        self._is_closing = True
        self._registry.discard(self)
        self._stop_head_timer()
        self._hangup.stop()
        if self._request is not None and self._request.is_hijacked:
            return
        self._abandon()

    def pause_writing(self) -> None:
        """Make writers wait: the client is slow."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._writing_paused = False
        self._drained.wake()

    # What the server calls.

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What serves the present request."""
        return self._task

    def close(self) -> None:
        """Close now if idle, and cancel what waits for a client; the rest finishes first."""
        self._is_closing = True
        if self._task is None:
            self._close_transport()
        elif self._request is not None and self._request.cancels:
            self._task.cancel()

    def abort(self) -> None:
        """Cut the connection, whatever it is doing."""
        self._is_closing = True
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    # One request after the other.

    def _next_request(self) -> None:
        """Begin the next request if its head is there."""
        try:
            event = self._parser.next_event()
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, str(error))
            return
        if isinstance(event, h11.Request):
            self._stop_head_timer()
            self._begin(event)
        elif isinstance(event, h11.ConnectionClosed):
            self._close_transport()
        elif self._head_timer is None and self._parser.trailing_data[0]:
            self._head_timer = self._loop.call_later(
                self._limits.head_seconds, self._refuse, 408, "the request head took too long"
            )

    def _begin(self, event: h11.Request) -> None:
        """Start the task that serves a request."""
        try:
            self._request = read_head(event, self, self._limits)
        except ToolkitError as error:
            self._refuse(error.status, str(error))
            return
        self._body_done = False
        self._task = self._loop.create_task(self._run(self._request))
        if self._at_eof:
            self._watch_hangup()

    async def _run(self, request: Request) -> None:
        """Serve one request, then look for the next."""
        try:
            response = await self._serve(request)
            if request.is_hijacked:
                return
            if response is not None:
                await self._respond(request, response)
            elif request.has_answered:
                await self._end_stream()
        except (ClientGoneError, ConnectionError, asyncio.CancelledError):
            self._abort_transport()
        except Exception:  # noqa: BLE001 - one answer broke; the engine goes on
            _log.exception("%s %s: the answer broke", request.method, request.path)
            self._abort_transport()
        else:
            self._finish()
        finally:
            self._task = None
        if self._request is None and not self._is_closing:
            self._next_request()

    def _finish(self) -> None:
        """Make ready for the next request, or close."""
        self._request = None
        if self._parser.our_state is h11.DONE and self._parser.their_state is h11.DONE:
            if self._is_closing:
                self._close_transport()
                return
            self._parser.start_next_cycle()
            self._hangup.stop()
            self._unread_bytes = len(self._parser.trailing_data[0])
            self._resume_reading()
        elif self._body_done:
            self._is_closing = True
            self._close_transport()
        else:
            self._linger()

    # Answers.

    async def _respond(self, request: Request, response: Response) -> None:
        """Send a whole response in one write."""
        if not self._body_done:
            self._drop_arrived_body()
        closes = not self._body_done or self._is_closing
        out = self._answers.whole(response, closes=closes, is_head=request.method == "HEAD")
        request.has_answered = True
        await self._write(out)

    async def send_head(self, status: int, headers: Headers) -> None:
        """Send the head of a streamed response, chunked for all but the oldest clients."""
        if not self._body_done:
            self._drop_arrived_body()
        await self._write(self._answers.head(status, headers, closes=not self._body_done))

    async def send_data(self, data: bytes) -> None:
        """Send bytes of a streamed response; waits while the client is slow."""
        await self._write(self._answers.piece(data))

    def send_soon(self, data: bytes) -> None:
        """Send bytes of a streamed response without waiting; a client that is gone gets none."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._answers.piece(data))

    async def _end_stream(self) -> None:
        """Send the last chunk."""
        await self._write(self._answers.end())

    async def _write(self, data: bytes) -> None:
        """Hand bytes to the kernel, and wait while too many stand before it."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ClientGoneError
        if data:
            transport.write(data)
        while self._writing_paused:
            await self._drained.wait()

    # Bodies.

    async def receive_body(self) -> bytes:
        """Return the next bytes of the request's body; empty at its end."""
        while not self._body_done:
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError as error:
                raise InvalidRequestError(f"the request body is broken: {error}") from None
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if event is not h11.NEED_DATA:
                self._body_done = True
                break
            await self._wait_data()
        return b""

    async def _wait_data(self) -> None:
        """Wait until something more of the body has come."""
        if self._is_closing and self._transport is not None and self._transport.is_closing():
            raise ClientGoneError
        if self._parser.they_are_waiting_for_100_continue:
            await self._write(self._answers.go_on())
        self._unread_bytes = 0
        self._resume_reading()
        await self._data.wait()

    def _drop_arrived_body(self) -> None:
        """Read what came of a body that the handler did not want."""
        with contextlib.suppress(h11.RemoteProtocolError):
            while isinstance(event := self._parser.next_event(), h11.Data):
                pass
            self._body_done = event is not h11.NEED_DATA

    def _pause_reading(self) -> None:
        """Stop taking bytes that nobody reads yet."""
        if not self._reading_paused and self._transport is not None and not self._at_eof:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        """Take bytes again."""
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()

    # Giving the socket away.

    async def hijack(self, head: bytes, gap_seconds: float) -> tuple[int, bytes]:
        """Send *head* alone, leave the connection open, and return it with what came behind.

        The descriptor is a duplicate; asyncio's own is closed without shutting the
        connection down.
        """
        while await self.receive_body():
            pass
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ClientGoneError
        self._pause_reading()
        transport.set_write_buffer_limits(high=0)
        await self._write(head)
        if gap_seconds:
            await asyncio.sleep(gap_seconds)
        if transport.is_closing():
            raise ClientGoneError
        leftover, _ = self._parser.trailing_data
        fd = os.dup(self._socket_fd())
        transport.abort()  # drops nothing: the write buffer is empty
        return fd, leftover

    def _socket_fd(self) -> int:
        """Return the descriptor of the transport's socket."""
        if self._transport is None:
            raise ClientGoneError
        return cast("int", self._transport.get_extra_info("socket").fileno())

    # Endings.

    def _refuse(self, status: int, message: str) -> None:
        """Answer bytes that are no request, and close."""
        self._stop_head_timer()
        self._is_closing = True
        if self._parser.our_state in {h11.IDLE, h11.SEND_RESPONSE} and self._transport is not None:
            response = error_response(status, message)
            self._transport.write(self._answers.whole(response, closes=True))
        self._linger()

    def _linger(self) -> None:
        """Close after the client had time to read the answer while it was still writing."""
        self._is_closing = self._is_lingering = True
        if self._transport is None or self._transport.is_closing():
            return
        if self._at_eof:
            self._close_transport()
            return
        self._resume_reading()
        self._transport.write_eof()
        self._loop.call_later(self._limits.linger_seconds, self._close_transport)

    def _close_transport(self) -> None:
        """Close after what was written has gone."""
        self._is_closing = True
        if self._transport is not None:
            self._transport.close()

    def _abort_transport(self) -> None:
        """Cut the connection: the answer is not whole and must not look so."""
        self._is_closing = True
        if self._transport is not None:
            self._transport.abort()

    def _abandon(self) -> None:
        """Wake and, where the request says so, cancel what runs for a client that is gone."""
        for waiting in (self._data, self._drained):
            waiting.fail(ClientGoneError())
        if self._task is not None and self._request is not None and self._request.cancels:
            self._task.cancel()

    def _stop_head_timer(self) -> None:
        """Forget the time that a head may take."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _watch_hangup(self) -> None:
        """Learn when a half-closed client goes altogether."""
        if self._transport is not None and not self._transport.is_closing():
            self._hangup.start(self._socket_fd())
