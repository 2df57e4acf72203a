# SPDX-License-Identifier: Apache-2.0
"""Who waits for a container: for its end, for its removal, or to be attached to its start."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from toolkit.errors import InvalidRequestError
from toolkit.runtime.lifecycle import ACTIVE

if TYPE_CHECKING:
    from toolkit.engine.model import State
    from toolkit.runtime.protocol import AttachClient

WaitCondition = Literal["not-running", "next-exit", "removed"]
_CONDITIONS: Final = ("not-running", "next-exit", "removed")


@dataclass(frozen=True, kw_only=True)
class WaitResult:
    """What a wait answers.

    Attributes:
        error: Why the exit code does not say it all; empty if it does.
    """

    exit_code: int
    error: str = ""


class Waiters:
    """The waits on one container; every one of them ends."""

    def __init__(self) -> None:
        self._exit: asyncio.Future[WaitResult] | None = None
        self._removal: asyncio.Future[WaitResult] | None = None
        self._gone: WaitResult | None = None

    def begin(self, condition: str, state: State, result: WaitResult) -> asyncio.Future[WaitResult]:
        """Return the future of a wait; it counts from this call on.

        Args:
            condition: One of docker's three; empty means ``not-running``.
            state: Where the container stands now.
            result: What a wait that is over at once answers.

        Raises:
            InvalidRequestError: There is no such condition.
        """
        if condition and condition not in _CONDITIONS:
            raise InvalidRequestError(f'invalid condition: "{condition[:80]}"')
        loop = asyncio.get_running_loop()
        over = self._gone
        if condition in {"", "not-running"} and state not in ACTIVE:
            over = over or result
        if over is not None:
            done: asyncio.Future[WaitResult] = loop.create_future()
            done.set_result(over)
            return done
        if condition == "removed":
            self._removal = self._removal or loop.create_future()
            return self._removal
        self._exit = self._exit or loop.create_future()
        return self._exit

    def release_exit(self, result: WaitResult) -> None:
        """Answer those who wait for an end."""
        if self._exit is not None and not self._exit.done():
            self._exit.set_result(result)
        self._exit = None

    def release_all(self, result: WaitResult, *, gone: bool = True) -> None:
        """Answer everybody: the container was removed, or cannot be."""
        self.release_exit(result)
        if self._removal is not None and not self._removal.done():
            self._removal.set_result(result)
        self._removal = None
        if gone:
            self._gone = result


class WaitingClients:
    """Attached clients of containers that do not run yet.

    One that hangs up is closed at once, whatever it sent; one that only closed
    its sending side stays (its input is at its end, no more).
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._clients: dict[int, AttachClient] = {}
        self._is_watched = False

    def add(self, client: AttachClient) -> None:
        """Keep a client until it is taken, or hangs up."""
        if not self._is_watched:
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._drop_hung_up)
            self._is_watched = True
        self._clients[client.fd] = client
        with contextlib.suppress(OSError):  # a file or /dev/null never hangs up
            self._epoll.register(client.fd, 0)

    def take(self, fd: int) -> AttachClient | None:
        """Return a client for good; None if it hung up meanwhile."""
        client = self._clients.pop(fd, None)
        if client is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)
        return client

    def close(self) -> None:
        """Close every client that still waits."""
        if self._is_watched:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
        for fd in self._clients:
            os.close(fd)
        self._clients.clear()
        self._epoll.close()

    def _drop_hung_up(self) -> None:
        for fd, _ in self._epoll.poll(0):
            if self.take(fd) is not None:
                os.close(fd)
