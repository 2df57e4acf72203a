# SPDX-License-Identifier: Apache-2.0
"""The engine's end of one shim: what it says, and what it is asked."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import toolkit.errors
from toolkit.errors import BackendError, ToolkitError
from toolkit.runtime.protocol import (
    AttachClient,
    ExitStatus,
    Message,
    receive_message,
    send_message,
)

if TYPE_CHECKING:
    import socket

_T = TypeVar("_T")
Connect = Callable[[int], Awaitable[None]]
_REPLY_SECONDS: Final = 30.0  # of one that hangs: one that is gone closes its socket


class Running:
    """A program that a shim serves.

    Attributes:
        pid: Its process on the host; 0 until `started` is done.
        start_time_ticks: When that process started; with the pid it names it for good.
        started: Done when the program runs, fails with the reason why it does not.
        was_refused: It does not run, and the shim itself has told why.
        exited: Done with how it ended; fails with BackendError when the shim was lost.
        on_detach: Called when a client has typed its detach keys.
        released: Done when cgroup and namespaces are gone too, or the shim is.
    """

    def __init__(self, control: socket.socket, connect: Connect | None = None) -> None:
        """Serve a shim's connection.

        Args:
            control: The connection.
            connect: Connects a network namespace, before the program runs.
        """
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._control: socket.socket | None = control
        self._replies: dict[int, asyncio.Future[None]] = {}
        self._numbers = itertools.count(1)
        self._connect = connect
        self._connecting: asyncio.Task[None] | None = None
        self._refusal: BaseException | None = None
        self.pid = 0
        self.start_time_ticks = 0
        self.was_refused = False
        self.on_detach: Callable[[], None] = _nobody_asks
        self.started: asyncio.Future[None] = loop.create_future()
        self.exited: asyncio.Future[ExitStatus] = loop.create_future()
        self.released: asyncio.Future[None] = loop.create_future()
        self.started.add_done_callback(_mark_seen)
        self.exited.add_done_callback(_mark_seen)
        loop.add_reader(control, self._on_readable)

    async def attach(self, client: AttachClient) -> None:
        """Hand a connection over to the shim; it is the shim's from here on."""
        try:
            await self._ask({"op": "attach", "client": client.to_message()}, [client.fd])
        finally:
            os.close(client.fd)

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of the program's terminal, in characters."""
        await self._ask({"op": "resize", "rows": rows, "columns": columns})

    async def signal(self, number: int) -> None:
        """Send a signal to the program; nothing happens when it has ended."""
        await self._ask({"op": "signal", "number": number})

    def forget(self) -> None:
        """Drop the connection; the shim and its program go on."""
        self._disconnect("the engine has let go of the shim")

    def connect_namespace(self, netns_fd: int) -> None:
        """Begin to connect the program's network namespace; closes the descriptor in the end.

        One that needs nothing of the engine is left as it is.
        """
        if self._connect is None:
            os.close(netns_fd)
        else:
            self._connecting = self._loop.create_task(
                self._connect_namespace(netns_fd, self._connect)
            )

    def go_on(self) -> None:
        """Tell a shim that its bundle is whole."""
        self._say({"op": "go on"})

    async def give_up(self) -> None:
        """Drop a program that was not started; return when nobody connects its network any more."""
        self._disconnect("the start was given up")
        if self._connecting is not None:
            await asyncio.wait([self._connecting])

    async def _ask(self, message: Message, fds: list[int] | None = None) -> None:
        if self._control is None:
            raise BackendError("the shim of this program is gone")
        number = next(self._numbers)
        reply: asyncio.Future[None] = self._loop.create_future()
        self._replies[number] = reply
        try:
            send_message(self._control, {**message, "id": number}, fds or ())
            async with asyncio.timeout(_REPLY_SECONDS):
                await reply
        except TimeoutError:  # an OSError too
            raise BackendError(f"the shim did not answer within {_REPLY_SECONDS:.0f} s") from None
        except OSError as error:
            raise BackendError(f"the shim does not listen: {error.strerror}") from error
        finally:
            self._replies.pop(number, None)

    def _on_readable(self) -> None:
        while self._control is not None:
            try:
                received = receive_message(self._control)
            except BlockingIOError:
                return
            except (OSError, ValueError):
                received = None
            if received is None:
                self._disconnect("the shim of the program was lost")
                return
            self._on_message(*received)

    def _on_message(self, message: Message, fds: list[int]) -> None:
        if "reply" in message:
            self._on_reply(message)
            return
        match message["event"]:
            case "namespace":
                self.connect_namespace(fds[0])
            case "started":
                self.pid = message["pid"]
                self.start_time_ticks = message["start_time"]
                _settle(self.started, None)
            case "failed":
                self.was_refused = True
                kind = getattr(toolkit.errors, message["kind"], BackendError)
                known = isinstance(kind, type) and issubclass(kind, ToolkitError)
                error = self._refusal or _revive_error(
                    kind if known else BackendError, message["text"]
                )
                if not self.started.done():
                    self.started.set_exception(error)
                self._disconnect("the program was not started")
            case "exited":
                _settle(self.exited, ExitStatus.from_message(message))
                # Two turns later whoever waits for `exited` has had the first word.
                self._loop.call_soon(self._loop.call_soon, self._acknowledge)
            case "detached":
                self.on_detach()
            case "released":  # the last word; what the shim still sends goes to clients
                self._disconnect("the program has ended")

    async def _connect_namespace(self, netns_fd: int, connect: Connect) -> None:
        """Have the network connected, and tell the shim, which goes on or gives up."""
        try:
            await connect(netns_fd)
            answer = "connected"
        except Exception as error:  # noqa: BLE001 - whatever it is, the start must not wait on
            self._refusal = error
            answer = "refused"
        finally:
            os.close(netns_fd)
        self._say({"op": answer})

    def _on_reply(self, message: Message) -> None:
        reply = self._replies.get(message["reply"])
        if reply is None or reply.done():
            return
        if message["error"]:
            reply.set_exception(BackendError(message["error"]))
        else:
            reply.set_result(None)

    def _acknowledge(self) -> None:
        self._say({"op": "acknowledge"})

    def _say(self, message: Message) -> None:
        """Send something that needs no reply."""
        if self._control is not None:
            try:
                send_message(self._control, message)
            except OSError:
                self._disconnect("the shim of the program was lost")

    def _disconnect(self, reason: str) -> None:
        if self._control is None:
            return
        self._loop.remove_reader(self._control)
        self._control.close()
        self._control = None
        waited: list[asyncio.Future[Any]] = [self.started, self.exited, *self._replies.values()]
        for future in waited:
            if not future.done():
                future.set_exception(BackendError(reason))
        _settle(self.released, None)


def _nobody_asks() -> None:
    pass


def _settle(future: asyncio.Future[_T], value: _T) -> None:
    if not future.done():
        future.set_result(value)


def _mark_seen(future: asyncio.Future[Any]) -> None:
    """Keep asyncio from warning of a failure that nobody happened to wait for."""
    if not future.cancelled():
        future.exception()


def _revive_error(kind: type[ToolkitError], text: str) -> ToolkitError:
    """Make an error that crossed a process boundary again, from its text."""
    error = kind.__new__(kind)
    Exception.__init__(error, text)
    return error
