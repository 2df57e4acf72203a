# SPDX-License-Identifier: Apache-2.0
"""Questions passed on to the host's resolvers, one after the other.

Each goes out from a socket of its own, connected to the resolver, with an id of its own: the
kernel draws the port, we draw the id, and whatever does not fit both is dropped (row S-88).
"""

from __future__ import annotations

import secrets
import socket
import struct
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from toolkit.network.dns import wire
from toolkit.network.proxy_loop import READABLE, WRITABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from toolkit.network.proxy_loop import Loop

Resolver = tuple[str, int]

ANSWER_SECONDS: Final = 2.0
MOST_RESOLVERS: Final = 3
MOST_PENDING: Final = 512
MOST_PENDING_OF_CONTAINER: Final = 64
_LARGEST_BYTES: Final = 65535
_LENGTH: Final = struct.Struct("!H")
_ALL_IDS: Final = 1 << 16


class _Attempt:
    """One question to one resolver.

    Attributes:
        deadline: When we stop waiting.
    """

    def __init__(self, request: _Request, resolver: Resolver, *, over_tcp: bool) -> None:
        self.deadline = time.monotonic() + ANSWER_SECONDS
        self._request = request
        self._over_tcp = over_tcp
        self._id = secrets.randbelow(_ALL_IDS)
        query = wire.for_upstream(request.question, self._id)
        self._to_send = (_LENGTH.pack(len(query)) if over_tcp else b"") + query
        self._received = b""
        kind = socket.SOCK_STREAM if over_tcp else socket.SOCK_DGRAM
        family = socket.AF_INET6 if ":" in resolver[0] else socket.AF_INET
        self._socket = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        try:
            with suppress(BlockingIOError):
                self._socket.connect(resolver)
            request.loop.watch(self._socket.fileno(), WRITABLE, self._send)
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        """Forget the question."""
        self._request.loop.watch(self._socket.fileno(), 0, self._send)
        self._socket.close()

    def _send(self, _mask: int) -> None:
        try:
            self._to_send = self._to_send[self._socket.send(self._to_send) :]
        except BlockingIOError:
            return
        except OSError:
            self._request.next_attempt()
            return
        if not self._to_send:
            self._request.loop.watch(self._socket.fileno(), READABLE, self._receive)

    def _receive(self, _mask: int) -> None:
        try:
            part = self._socket.recv(_LARGEST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._request.next_attempt()
            return
        if self._over_tcp:
            self._received += part
            if not part:
                self._request.next_attempt()
                return
            if len(self._received) < _LENGTH.size + self._length:
                return
            part = self._received[_LENGTH.size : _LENGTH.size + self._length]
        answer = wire.from_upstream(
            self._request.question, part, self._id, over_tcp=self._request.over_tcp
        )
        if answer is not None:
            self._request.take(answer)
        elif self._over_tcp:
            self._request.next_attempt()

    @property
    def _length(self) -> int:
        if len(self._received) < _LENGTH.size:
            return _LARGEST_BYTES
        return int(_LENGTH.unpack_from(self._received)[0])


class _Request:
    """A client's question on its way through the resolvers."""

    def __init__(
        self,
        upstream: Upstream,
        question: wire.Question,
        resolvers: Sequence[Resolver],
        *,
        over_tcp: bool,
        container: str,
        reply: Callable[[bytes], None],
    ) -> None:
        self.loop = upstream.loop
        self.question = question
        self.over_tcp = over_tcp
        self.container = container
        self._upstream = upstream
        self._reply = reply
        some = resolvers[:MOST_RESOLVERS]
        self._left = [(resolver, True) for resolver in some if over_tcp]
        self._left += [(resolver, False) for resolver in some]
        self._attempt: _Attempt | None = None
        self._refusal: bytes | None = None

    @property
    def deadline(self) -> float:
        """When the present attempt has lasted too long."""
        return self._attempt.deadline if self._attempt else 0.0

    def next_attempt(self) -> None:
        """Ask the next resolver, or give up."""
        self.close()
        while self._left:
            resolver, over_tcp = self._left.pop(0)
            with suppress(OSError):
                self._attempt = _Attempt(self, resolver, over_tcp=over_tcp)
                return
        self._finish(self._refusal or wire.failure(self.question))

    def take(self, answer: bytes) -> None:
        """Take an answer; a refusal only if there is no better one."""
        if wire.is_refusal(answer) and self._left:
            self._refusal = answer
            self.next_attempt()
        else:
            self._finish(answer)

    def close(self) -> None:
        """Forget what is under way."""
        if self._attempt is not None:
            self._attempt.close()
            self._attempt = None

    def _finish(self, answer: bytes) -> None:
        self.close()
        self._upstream.forget(self)
        self._reply(answer)


class Upstream:
    """All questions under way to resolvers.

    Attributes:
        loop: What calls back.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self._pending: dict[_Request, None] = {}
        self._of_container: Counter[str] = Counter()
        self._has_clock = False

    def ask(
        self,
        question: wire.Question,
        resolvers: Sequence[Resolver],
        *,
        over_tcp: bool,
        container: str,
        reply: Callable[[bytes], None],
    ) -> None:
        """Pass a question on; *reply* gets the answer, or the failure, once."""
        if (
            len(self._pending) >= MOST_PENDING
            or self._of_container[container] >= MOST_PENDING_OF_CONTAINER
        ):
            reply(wire.failure(question))
            return
        request = _Request(
            self, question, resolvers, over_tcp=over_tcp, container=container, reply=reply
        )
        if not self._has_clock:
            self._has_clock = True
            self.loop.add_clock(self._expire)
        self._pending[request] = None
        self._of_container[container] += 1
        request.next_attempt()

    def forget(self, request: _Request) -> None:
        """Count a request no more."""
        if request in self._pending:
            del self._pending[request]
            self._of_container -= Counter({request.container: 1})

    def drop(self, container: str) -> None:
        """Forget what a container has asked."""
        for request in [one for one in self._pending if one.container == container]:
            request.close()
            self.forget(request)

    def _expire(self) -> bool:
        now = time.monotonic()
        for request in [one for one in self._pending if one.deadline <= now]:
            request.next_attempt()
        self._has_clock = bool(self._pending)
        return self._has_clock
