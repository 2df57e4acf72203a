# SPDX-License-Identifier: Apache-2.0
"""One container's resolver: what arrives at its sockets, and what leaves them.

Memory is bounded for each container: so many TCP clients, so long a question, so much waiting to
be sent, so many questions under way, so that none starves the others
(row S-88).
"""

from __future__ import annotations

import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from toolkit.network.dns import wire
from toolkit.network.proxy_loop import READABLE, WRITABLE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from toolkit.network.dns.sockets import ResolverSockets
    from toolkit.network.dns.table import NameTable
    from toolkit.network.dns.upstream import Resolver, Upstream

MOST_CLIENTS: Final = 16
IDLE_SECONDS: Final = 10.0
_LARGEST_OUTPUT_BYTES: Final = 1 << 18
_AT_ONCE: Final = 32
_LENGTH: Final = struct.Struct("!H")


@dataclass(eq=False)
class _Client:
    connection: socket.socket
    received: bytearray = field(default_factory=bytearray)
    to_send: bytearray = field(default_factory=bytearray)
    last_use: float = field(default_factory=time.monotonic)


class ContainerResolver:
    """Answers one container's questions.

    Args:
        container: Its id, by which the table knows it.
        sockets: Opened in its namespace; closed with this.
        table: Names of all networks.
        upstream: What passes questions on.
        resolvers: To whom; nobody where the container's networks lead nowhere (CVE-2024-29018).
    """

    def __init__(
        self,
        container: str,
        sockets: ResolverSockets,
        *,
        table: NameTable,
        upstream: Upstream,
        resolvers: Sequence[Resolver],
    ) -> None:
        self._container = container
        self._sockets = sockets
        self._table = table
        self._upstream = upstream
        self._loop = upstream.loop
        self._resolvers = tuple(resolvers)
        self._clients: set[_Client] = set()
        self._is_open = True
        self._has_clock = False
        self._loop.watch(sockets.datagrams.fileno(), READABLE, self._receive)
        self._loop.watch(sockets.listener.fileno(), READABLE, self._accept)

    def pass_on_to(self, resolvers: Sequence[Resolver]) -> None:
        """Pass what the table does not know on to others from now on."""
        self._resolvers = tuple(resolvers)

    def close(self) -> None:
        """Close everything; what is under way is answered no more."""
        self._is_open = False
        self._upstream.drop(self._container)
        self._loop.watch(self._sockets.datagrams.fileno(), 0, self._receive)
        self._loop.watch(self._sockets.listener.fileno(), 0, self._accept)
        for client in [*self._clients]:
            self._drop(client)
        self._sockets.close()

    def _receive(self, _mask: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                raw, asker = self._sockets.datagrams.recvfrom(wire.LARGEST_QUERY_BYTES)
            except OSError:
                return

            def reply(answer: bytes, asker: tuple[str, int] = asker) -> None:
                if self._is_open:
                    with suppress(OSError):  # who does not wait for it does not get it
                        self._sockets.datagrams.sendto(answer, asker)

            self._answer(raw, reply, over_tcp=False)

    def _answer(self, raw: bytes, reply: Callable[[bytes], None], *, over_tcp: bool) -> None:
        question = wire.parse_question(raw)
        if question is None:
            return
        if isinstance(question, bytes):
            reply(question)
            return
        answer = wire.answer_locally(question, self._table, self._container, over_tcp=over_tcp)
        if answer is not None:
            reply(answer)
        elif not self._resolvers:
            reply(wire.failure(question))
        else:
            self._upstream.ask(
                question,
                self._resolvers,
                over_tcp=over_tcp,
                container=self._container,
                reply=reply,
            )

    def _accept(self, _mask: int) -> None:
        with suppress(OSError):
            connection, _ = self._sockets.listener.accept()
            connection.settimeout(0)
            if len(self._clients) >= MOST_CLIENTS:
                self._drop(min(self._clients, key=lambda client: client.last_use))
            client = _Client(connection)
            if not self._has_clock:
                self._has_clock = True
                self._loop.add_clock(self._drop_idle)
            self._clients.add(client)
            self._watch(client)

    def _watch(self, client: _Client) -> None:
        mask = WRITABLE if client.to_send else READABLE  # who does not read may not ask either
        self._loop.watch(
            client.connection.fileno(), mask, lambda mask: self._serve_client(client, mask)
        )

    def _serve_client(self, client: _Client, mask: int) -> None:
        client.last_use = time.monotonic()
        try:
            if mask & WRITABLE:
                del client.to_send[: client.connection.send(client.to_send)]
            elif not self._read(client):
                self._drop(client)
                return
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)
            return
        if client in self._clients:
            self._watch(client)

    def _read(self, client: _Client) -> bool:
        """Read and answer what is whole; False when the client is done, or asks too much."""
        part = client.connection.recv(wire.LARGEST_QUERY_BYTES)
        client.received += part
        while len(client.received) >= _LENGTH.size:
            length = _LENGTH.unpack_from(client.received)[0]
            if length > wire.LARGEST_QUERY_BYTES:
                return False
            end = _LENGTH.size + length
            if len(client.received) < end:
                break
            raw = bytes(client.received[_LENGTH.size : end])
            del client.received[:end]
            self._answer(raw, lambda answer: self._reply_by_tcp(client, answer), over_tcp=True)
            if client not in self._clients:
                return True
        return bool(part)

    def _reply_by_tcp(self, client: _Client, answer: bytes) -> None:
        if client not in self._clients:
            return
        if len(client.to_send) > _LARGEST_OUTPUT_BYTES:
            self._drop(client)
            return
        client.to_send += _LENGTH.pack(len(answer)) + answer
        self._watch(client)

    def _drop(self, client: _Client) -> None:
        self._clients.discard(client)
        self._loop.watch(client.connection.fileno(), 0, self._accept)
        client.connection.close()

    def _drop_idle(self) -> bool:
        long_ago = time.monotonic() - IDLE_SECONDS
        for client in [one for one in self._clients if one.last_use < long_ago]:
            self._drop(client)
        self._has_clock = bool(self._clients)
        return self._has_clock
