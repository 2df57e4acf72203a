# SPDX-License-Identifier: Apache-2.0
"""Is it listening? Asked of the kernel inside a container's network namespace.

No connection is made, so nothing shows in the program's log and no slot of its
backlog is used; UDP can be asked as well. The kernel tells nobody when a socket
begins to listen: one question takes 0.1 ms, and is asked again after 2 ms, then
less and less often, until the time is up.
"""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Self

from toolkit.errors import NotReadyError
from toolkit.network.sockdiag import SocketDiagnosis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from ipaddress import IPv4Address, IPv6Address

    from toolkit.network.sockdiag import Listener, Protocol

FIRST_PAUSE_SECONDS: Final = 0.002
LONGEST_PAUSE_SECONDS: Final = 0.05
_GROWTH: Final = 1.5


class ListeningProbe:
    """Asks one network namespace who listens; holds one socket."""

    def __init__(self, diagnosis: SocketDiagnosis) -> None:
        self._diagnosis = diagnosis

    @classmethod
    def inside(cls, netns_fd: int) -> Self:
        """Return a probe of a network namespace; *netns_fd* is not kept."""
        return cls(SocketDiagnosis.inside(netns_fd))

    def close(self) -> None:
        """Close the socket."""
        self._diagnosis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def listeners(self, port: int, protocol: Protocol = "tcp") -> list[Listener]:
        """Return the sockets that listen on a port, whatever their address."""
        return self._diagnosis.listeners(protocol, port)

    def is_listening(
        self,
        port: int,
        protocol: Protocol = "tcp",
        *,
        address: IPv4Address | IPv6Address | None = None,
    ) -> bool:
        """Tell whether somebody listens; with *address*, whether it is heard there.

        A program that listens on 127.0.0.1 alone is not reached through a
        published port: ask with the container's address.
        """
        found = self.listeners(port, protocol)
        return any(address is None or listener.hears(address) for listener in found)


def pauses() -> Iterator[float]:
    """Yield how long to wait between questions, in seconds: for a timer of the engine."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(pause * _GROWTH, LONGEST_PAUSE_SECONDS)


def wait_listening(
    probe: ListeningProbe,
    port: int,
    *,
    timeout_seconds: float,
    protocol: Protocol = "tcp",
    address: str = "",
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Return after how many seconds somebody listened.

    Blocks its thread. An engine would rather ask `ListeningProbe.is_listening`
    on a timer, with `pauses`.

    Raises:
        NotReadyError: Nobody did in time; says who listens on other addresses.
    """
    wanted = ip_address(address) if address else None
    begin = clock()
    for pause in pauses():
        if probe.is_listening(port, protocol, address=wanted):
            return clock() - begin
        left = begin + timeout_seconds - clock()
        if left <= 0:
            break
        sleep(min(pause, left))
    others = ", ".join(str(found.address) for found in probe.listeners(port, protocol))
    only = f"; only on {others}" if others else ""
    raise NotReadyError(f"nobody listens on {port}/{protocol} after {timeout_seconds:g} s{only}")
