# SPDX-License-Identifier: Apache-2.0
"""The name server's process: containers attached to it, networks told to it, and its end.

The engine tells it everything through a socket and reads an answer to each message: once it has
that, the change is visible. Without an engine it goes on with what it knows. With no container
and no engine it ends by itself.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import ToolkitError
from toolkit.kernel.capabilities import (
    held_capabilities,
    limit_bounding_set,
    numbers,
    set_capabilities,
    set_no_new_privileges,
)
from toolkit.network.dns import sockets
from toolkit.network.dns.control import Channel, peer_uid
from toolkit.network.dns.resolver import ContainerResolver
from toolkit.network.dns.sockets import PORT
from toolkit.network.dns.table import NameRecord, NameTable
from toolkit.network.dns.upstream import Upstream
from toolkit.network.proxy_loop import READABLE, Loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolkit.network.dns.sockets import ResolverSockets

Message = dict[str, Any]

LONELY_SECONDS: Final = 60.0
_CLOCK_SECONDS: Final = 0.25
# setns(2), the rules inside, port 53 itself where there can be no rules.
_NEEDED: Final = ("CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE")
_MOST_CHANNELS: Final = 16
_ENGINE_SECONDS: Final = 5.0  # an engine that does not read its answers is dropped


class NameServer:
    """Everything the process holds.

    Args:
        listener: Where engines connect.
        open_sockets: Opens a resolver's sockets in a namespace.
        lonely_seconds: How long to live with neither container nor engine.
        resolver_port: Where resolvers listen.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        open_sockets: Callable[[int], ResolverSockets] = sockets.open_in,
        lonely_seconds: float = LONELY_SECONDS,
        resolver_port: int = PORT,
    ) -> None:
        self.loop = Loop(clock_seconds=_CLOCK_SECONDS)
        self._listener = listener
        self._open_sockets = open_sockets
        self._resolver_port = resolver_port
        self._lonely_seconds = lonely_seconds
        self._lonely_since = time.monotonic()
        self._table = NameTable()
        self._upstream = Upstream(self.loop)
        self._resolvers: dict[str, ContainerResolver] = {}
        self._pidfds: dict[str, int] = {}
        self._channels: set[Channel] = set()
        listener.settimeout(0)
        self.loop.watch(listener.fileno(), READABLE, self._accept)
        self.loop.add_clock(self._end_if_lonely)

    def serve(self) -> None:
        """Serve until told to stop, or nobody is left."""
        self.loop.run()
        for container in [*self._resolvers]:
            self._detach(container)
        for channel in self._channels:
            channel.close()
        self._listener.close()

    def _accept(self, _mask: int) -> None:
        with suppress(OSError):
            connection, _ = self._listener.accept()
            if peer_uid(connection) != os.geteuid() or len(self._channels) >= _MOST_CHANNELS:
                connection.close()
                return
            connection.settimeout(_ENGINE_SECONDS)
            channel = Channel(connection)
            self._channels.add(channel)
            self.loop.watch(connection.fileno(), READABLE, lambda _mask: self._hear(channel))

    def _hear(self, channel: Channel) -> None:
        try:
            goes_on = channel.receive_some()
            while (received := channel.next_message()) is not None:
                message, fds = received
                try:
                    answer = self._obey(message, fds)
                finally:
                    for fd in fds:
                        os.close(fd)
                channel.send(answer)
        except (OSError, ValueError, TypeError):
            goes_on = False
        if not goes_on:
            self.loop.watch(channel.socket.fileno(), 0, self._accept)
            self._channels.discard(channel)
            channel.close()
            self._lonely_since = time.monotonic()

    def _obey(self, message: Message, fds: list[int]) -> Message:
        try:
            answer: Message = getattr(self, f"_on_{message['op']}")(message, fds) or {}
        except (KeyError, AttributeError, ValueError, TypeError, IndexError) as error:
            return {"error": f"not understood: {type(error).__name__}: {error}"}
        except (OSError, ToolkitError) as error:
            return {"error": str(error)}
        return answer

    def _on_attach(self, message: Message, fds: list[int]) -> None:
        container = message["container"]
        self._detach(container)
        opened = self._open_sockets(fds[0])
        self._table.seat(container, message["networks"], message["private_names"])
        self._resolvers[container] = ContainerResolver(
            container,
            opened,
            table=self._table,
            upstream=self._upstream,
            resolvers=self._resolvers_in(message),
        )
        if len(fds) > 1:
            self._watch(container, fds[1])

    def _on_seat(self, message: Message, _fds: list[int]) -> None:
        resolver = self._attached(message)
        self._table.seat(message["container"], message["networks"], message["private_names"])
        resolver.pass_on_to(self._resolvers_in(message))

    def _on_watch(self, message: Message, fds: list[int]) -> None:
        self._attached(message)
        self._watch(message["container"], fds[0])

    def _on_detach(self, message: Message, _fds: list[int]) -> None:
        self._detach(message["container"])

    def _on_publish(self, message: Message, _fds: list[int]) -> None:
        record = NameRecord(
            message["container"],
            tuple(message["names"]),
            tuple(ip_address(text) for text in message["addresses"]),
        )
        self._table.publish(message["network"], message["network_name"], record)

    def _on_withdraw(self, message: Message, _fds: list[int]) -> None:
        self._table.withdraw(message["network"], message["container"])

    def _on_state(self, _message: Message, _fds: list[int]) -> Message:
        return {
            "pid": os.getpid(),
            "containers": [*self._resolvers],
            "published": self._table.published(),
        }

    def _on_stop(self, _message: Message, _fds: list[int]) -> None:
        self.loop.is_running = False

    def _attached(self, message: Message) -> ContainerResolver:
        resolver = self._resolvers.get(message["container"])
        if resolver is None:
            raise ValueError("this container is not attached")
        return resolver

    def _resolvers_in(self, message: Message) -> list[tuple[str, int]]:
        return [(str(ip_address(text)), self._resolver_port) for text in message["resolvers"]]

    def _watch(self, container: str, program_fd: int) -> None:
        """Forget a container when its program ends, engine or not."""
        self._unwatch(container)
        pidfd = os.dup(program_fd)
        self._pidfds[container] = pidfd
        self.loop.watch(pidfd, READABLE, lambda _mask: self._forget(container))

    def _forget(self, container: str) -> None:
        self._detach(container)
        for network in self._table.published():
            self._table.withdraw(network, container)

    def _unwatch(self, container: str) -> None:
        pidfd = self._pidfds.pop(container, -1)
        if pidfd >= 0:
            self.loop.watch(pidfd, 0, self._accept)
            os.close(pidfd)

    def _detach(self, container: str) -> None:
        resolver = self._resolvers.pop(container, None)
        self._unwatch(container)
        if resolver is not None:
            resolver.close()
            self._table.unseat(container)
            self._lonely_since = time.monotonic()

    def _end_if_lonely(self) -> bool:
        if self._resolvers or self._channels:
            self._lonely_since = time.monotonic()
        elif time.monotonic() - self._lonely_since > self._lonely_seconds:
            self.loop.is_running = False
        return True


def main(listener_fd: int) -> None:
    """Be the name server of an instance, at the listening socket that the engine passed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a ctrl-c in the engine's terminal is not ours
    listener = socket.socket(fileno=listener_fd)
    listener.set_inheritable(False)
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null_fd, number)
    os.close(null_fd)
    drop_privileges()
    NameServer(listener).serve()


def drop_privileges() -> None:
    """Keep what it takes to open sockets and make rules in a namespace, for good.

    It reads what programs in containers send.
    """
    held = held_capabilities()
    kept = numbers(_NEEDED) & held.permitted
    limit_bounding_set(kept)
    set_capabilities(kept, kept, frozenset())
    set_no_new_privileges()


if __name__ == "__main__":
    main(int(sys.argv[1]))
