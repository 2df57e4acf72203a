# SPDX-License-Identifier: Apache-2.0
"""TCP through a proxy: each direction ends by itself, and nothing is held in our memory.

Bytes go from socket to socket through a pipe in the kernel (splice(2)); a reader that is slow
fills its pipe, and then we read no more from the other side (row S-90). The end of one direction
is passed on as such (defect D-9 is not kept), a reset as a reset.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from toolkit.network.proxy_loop import READABLE, WRITABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolkit.network.proxy_loop import Loop

Address = tuple[str, int]

_CHUNK_BYTES: Final = 1 << 20
_SMALL_PIPE_BYTES: Final = 1 << 16
_ROUNDS: Final = 8  # before another connection has its turn
_ACCEPTED_AT_ONCE: Final = 64
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close(2) sends a reset
_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Flow:
    """One direction of a connection.

    Attributes:
        filled_bytes: How much stands in the pipe.
        has_ended: The source has sent all it will.
        is_done: And the target has been told.
    """

    __slots__ = ("_is_wide", "_pipe", "filled_bytes", "has_ended", "is_done", "source", "target")

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self.filled_bytes = 0
        self.has_ended = False
        self.is_done = False
        self._is_wide = False
        self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def wants_input(self) -> bool:
        """Whether the source is to be read."""
        return not self.has_ended and not self.filled_bytes

    def pump(self) -> None:
        """Move what can be moved without waiting.

        Raises:
            OSError: One of both sides has broken off.
        """
        with suppress(BlockingIOError):
            for _ in range(_ROUNDS):
                if not self.filled_bytes:
                    if self.has_ended:
                        break
                    self._fill()
                while self.filled_bytes:
                    self._drain()
        if self.has_ended and not self.filled_bytes and not self.is_done:
            self.is_done = True
            self.target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the pipe."""
        for fd in self._pipe:
            os.close(fd)

    def _fill(self) -> None:
        count = os.splice(
            self.source.fileno(), self._pipe[1], _CHUNK_BYTES, flags=os.SPLICE_F_NONBLOCK
        )
        self.filled_bytes = count
        self.has_ended = not count

    def _drain(self) -> None:
        if self.filled_bytes >= _SMALL_PIPE_BYTES and not self._is_wide:
            self._is_wide = True
            with suppress(OSError):  # then it stays small
                fcntl.fcntl(self._pipe[1], fcntl.F_SETPIPE_SZ, _CHUNK_BYTES)
        self.filled_bytes -= os.splice(
            self._pipe[0], self.target.fileno(), self.filled_bytes, flags=os.SPLICE_F_NONBLOCK
        )


class Connection:
    """A client's connection and ours to the backend."""

    __slots__ = ("_backend", "_client", "_flows", "_loop", "_on_close", "_on_failure")

    def __init__(
        self,
        loop: Loop,
        client: socket.socket,
        backend: Address,
        *,
        on_close: Callable[[Connection], None],
        on_failure: Callable[[OSError], None],
    ) -> None:
        self._loop = loop
        self._client = client
        self._on_close = on_close
        self._on_failure = on_failure
        self._flows: tuple[Flow, ...] = ()
        family = socket.AF_INET6 if ":" in backend[0] else socket.AF_INET
        self._backend = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            for end in (client, self._backend):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            code = self._backend.connect_ex(backend)
            if code not in {0, errno.EINPROGRESS}:
                _refuse(code)
            self._flows = (Flow(client, self._backend),)
            self._flows += (Flow(self._backend, client),)
        except OSError:
            self._backend.close()
            for flow in self._flows:
                flow.close()
            raise
        loop.watch(self._backend.fileno(), WRITABLE, self._on_connected)

    def close(self, *, reset: bool = False) -> None:
        """Close both sides, by a reset if that is what happened to one."""
        for end in (self._client, self._backend):
            self._loop.watch(end.fileno(), 0, self._on_ready)
            if reset:
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.close()
        for flow in self._flows:
            flow.close()
        self._flows = ()
        self._on_close(self)

    def _on_connected(self, _mask: int) -> None:
        code = self._backend.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == errno.ECONNRESET:  # it was there, and has left again
            self.close(reset=True)
            return
        if code:
            self._on_failure(OSError(code, os.strerror(code)))
            self.close()
            return
        self._on_ready(0)

    def _on_ready(self, _mask: int) -> None:
        try:
            for flow in self._flows:
                flow.pump()
        except OSError:
            self.close(reset=True)
            return
        there, back = self._flows
        if there.is_done and back.is_done:
            self.close()
            return
        self._watch(self._client, there, back)
        self._watch(self._backend, back, there)

    def _watch(self, end: socket.socket, leaving: Flow, arriving: Flow) -> None:
        mask = READABLE if leaving.wants_input else 0
        if arriving.filled_bytes:
            mask |= WRITABLE
        self._loop.watch(end.fileno(), mask, self._on_ready)


class StreamForward:
    """A listening socket whose connections are carried to a backend.

    Args:
        loop: What calls back.
        listener: Bound and listening.
        backend: Address and port of the container.
        most_connections: More than these wait in the kernel's queue.

    Attributes:
        failures: How many connections to the backend failed.
        last_error: What the last of them met.
    """

    def __init__(
        self, loop: Loop, listener: socket.socket, backend: Address, most_connections: int
    ) -> None:
        self.failures = 0
        self.last_error = ""
        self._loop = loop
        self._listener = listener
        self._backend = backend
        self._most = most_connections
        self._connections: set[Connection] = set()
        listener.settimeout(0)
        self._listen()

    @property
    def sessions(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def close(self) -> None:
        """Stop listening and end every connection (rule 6.27)."""
        self._loop.watch(self._listener.fileno(), 0, self._accept)
        self._listener.close()
        for connection in [*self._connections]:
            connection.close()

    def _listen(self) -> None:
        if self._listener.fileno() >= 0:
            has_room = len(self._connections) < self._most
            self._loop.watch(self._listener.fileno(), READABLE if has_room else 0, self._accept)

    def _accept(self, _mask: int) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            if len(self._connections) >= self._most:
                break
            try:
                client, _ = self._listener.accept()
            except OSError as error:
                if error.errno in _NO_ROOM and self._connections:
                    self._most = len(self._connections)
                break
            self._begin(client)
        self._listen()

    def _begin(self, client: socket.socket) -> None:
        client.settimeout(0)
        try:
            connection = Connection(
                self._loop,
                client,
                self._backend,
                on_close=self._ended,
                on_failure=self._failed,
            )
        except OSError as error:
            self._failed(error)
            client.close()
            return
        self._connections.add(connection)

    def _ended(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._listen()

    def _failed(self, error: OSError) -> None:
        host, port = self._backend
        self.failures += 1
        reason = error.strerror or str(error)
        self.last_error = f"Can't forward traffic to backend tcp/{host}:{port}: {reason}"


def _refuse(code: int) -> None:
    raise OSError(code, os.strerror(code))
