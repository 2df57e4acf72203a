# SPDX-License-Identifier: Apache-2.0
"""UDP through a proxy: a session for each client, which ends when the backend is silent.

Rule 6.28: the first datagram of a client opens a socket to the backend; 90 seconds without an
answer close it. A backend that is not there yet ends nothing. Answers leave from the address
that the client has sent to, also where the proxy listens at all addresses.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final

from toolkit.network.proxy_loop import READABLE

if TYPE_CHECKING:
    from toolkit.network.proxy_loop import Loop

Address = tuple[str, int]
Ancillary = tuple[tuple[int, int, bytes], ...]

SESSION_SECONDS: Final = 90.0
_LARGEST_BYTES: Final = 65536  # 0.7.2 cut datagrams to 2048
_AT_ONCE: Final = 64
_IP_PKTINFO: Final = 8  # ip(7); Python has no name for it
_PKTINFO: Final = struct.Struct("=i4s4s")
_PKTINFO6: Final = struct.Struct("=16si")
_ANCILLARY_BYTES: Final = 128


@dataclass(slots=True)
class _Session:
    client: tuple[str | int, ...]
    reply_from: Ancillary
    backend: socket.socket
    deadline: float


class DatagramForward:
    """A bound socket whose datagrams are carried to a backend, and answers back.

    Args:
        loop: What calls back.
        listener: Bound.
        backend: Address and port of the container.
        most_sessions: With more, the one that was silent longest ends.
        session_seconds: How long a backend may be silent.

    Attributes:
        failures: How many datagrams could not be passed on.
        last_error: What the last of them met.
    """

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        backend: Address,
        most_sessions: int,
        *,
        session_seconds: float = SESSION_SECONDS,
    ) -> None:
        self.failures = 0
        self.last_error = ""
        self._loop = loop
        self._listener = listener
        self._backend = backend
        self._most = max(1, most_sessions)
        self._session_seconds = session_seconds
        self._sessions: OrderedDict[tuple[object, ...], _Session] = OrderedDict()
        self._has_clock = False
        listener.settimeout(0)
        note_destinations(listener)
        loop.watch(listener.fileno(), READABLE, self._receive)

    @property
    def sessions(self) -> int:
        """How many clients have a socket to the backend."""
        return len(self._sessions)

    def close(self) -> None:
        """Close the listener and every session."""
        self._loop.watch(self._listener.fileno(), 0, self._receive)
        self._listener.close()
        for key in [*self._sessions]:
            self._end(key)

    def _receive(self, _mask: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, ancillary, _, client = self._listener.recvmsg(
                    _LARGEST_BYTES, _ANCILLARY_BYTES
                )
            except OSError:
                return
            reply_from = _reply_from(ancillary)
            try:
                session = self._session((client, reply_from))
                _send(session.backend, data)
            except OSError as error:
                self._failed(error)  # the datagram is lost, the proxy goes on

    def _session(self, key: tuple[tuple[str | int, ...], Ancillary]) -> _Session:
        session = self._sessions.get(key)
        if session is not None:
            return session
        if len(self._sessions) >= self._most:
            self._end(next(iter(self._sessions)))
        family = socket.AF_INET6 if ":" in self._backend[0] else socket.AF_INET
        backend = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            backend.connect(self._backend)
        except OSError:
            backend.close()
            raise
        session = _Session(*key, backend, time.monotonic() + self._session_seconds)
        self._sessions[key] = session
        self._loop.watch(backend.fileno(), READABLE, lambda _mask: self._answer(key))
        if not self._has_clock:
            self._has_clock = True
            self._loop.add_clock(self._expire)
        return session

    def _answer(self, key: tuple[tuple[str | int, ...], Ancillary]) -> None:
        session = self._sessions[key]
        for _ in range(_AT_ONCE):
            try:
                data = session.backend.recv(_LARGEST_BYTES)
            except ConnectionRefusedError:
                continue  # nobody listens there yet: until the deadline that is no error
            except BlockingIOError:
                return
            except OSError as error:
                self._failed(error)
                self._end(key)
                return
            session.deadline = time.monotonic() + self._session_seconds
            self._sessions.move_to_end(key)
            try:
                self._listener.sendmsg([data], session.reply_from, 0, session.client)
            except OSError as error:
                self._failed(error)

    def _expire(self) -> bool:
        now = time.monotonic()
        while self._sessions:
            key, session = next(iter(self._sessions.items()))
            if session.deadline > now:
                break
            self._end(key)
        self._has_clock = bool(self._sessions)
        return self._has_clock

    def _end(self, key: tuple[object, ...]) -> None:
        session = self._sessions.pop(key)
        self._loop.watch(session.backend.fileno(), 0, self._receive)
        session.backend.close()

    def _failed(self, error: OSError) -> None:
        if error.errno == errno.EAGAIN:
            return  # a queue is full: what UDP is allowed to lose
        host, port = self._backend
        self.failures += 1
        reason = error.strerror or str(error)
        self.last_error = f"Can't proxy a datagram to udp/{host}:{port}: {reason}"


def note_destinations(listener: socket.socket) -> None:
    """Have the kernel note where each datagram was sent to; what came before is not noted."""
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        listener.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def _send(backend: socket.socket, data: bytes) -> None:
    """Send a datagram; the refusal of an earlier one is no reason to lose this."""
    try:
        backend.send(data)
    except ConnectionRefusedError:
        backend.send(data)


def _reply_from(ancillary: list[tuple[int, int, bytes]]) -> Ancillary:
    """Return what makes the kernel answer from the address that was sent to (ip(7))."""
    for level, kind, content in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            _, local, _ = _PKTINFO.unpack(content[: _PKTINFO.size])
            if not any(local):
                return ()
            return ((level, kind, _PKTINFO.pack(0, local, b"\0" * 4)),)
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            local, index = _PKTINFO6.unpack(content[: _PKTINFO6.size])
            if not IPv6Address(local).is_link_local:
                index = 0
            return ((level, kind, _PKTINFO6.pack(local, index)),)
    return ()
