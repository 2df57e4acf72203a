# SPDX-License-Identifier: Apache-2.0
"""The sockets at which the proxies of published ports listen.

They are bound here, by the engine, so that the kernel's refusal is the engine's error, and then
belong to a proxy, which outlives the engine. A bound socket is also what keeps other processes
off the port while rules of the firewall divert what comes from outside.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final

from toolkit.errors import AllPortsTakenError, InvalidPortError, PortInUseError
from toolkit.network.ports import FIRST_RANDOM_PORT, LAST_RANDOM_PORT
from toolkit.network.proxy_datagrams import note_destinations

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toolkit.network.ports import HostPort, PortAllocator, PortWish, PublishedPort

BACKLOG: Final = 4096  # the kernel cuts it to net.core.somaxconn
_REFUSALS: Final = {
    errno.EADDRNOTAVAIL: "the address is not this host's",
    errno.EACCES: "this user may not use that port",
}


def open_socket(host_port: HostPort) -> socket.socket:
    """Return a socket bound to a port of the host, listening where that means something.

    Raises:
        PortInUseError: A process outside the toolkit holds it.
        InvalidPortError: The host has no such address, or this user may not use the port.
    """
    is_stream = host_port.protocol == "tcp"
    is_v6 = host_port.address.version == 6  # noqa: PLR2004 - IPv6
    bound = socket.socket(
        socket.AF_INET6 if is_v6 else socket.AF_INET,
        (socket.SOCK_STREAM if is_stream else socket.SOCK_DGRAM) | socket.SOCK_NONBLOCK,
    )
    try:
        if is_v6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if is_stream:  # connections of an earlier proxy in TIME_WAIT are no obstacle (row S-86)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            note_destinations(bound)
        bound.bind((str(host_port.address), host_port.port))
        if is_stream:
            bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise _refusal(host_port, error) from error
    return bound


def publish(
    ports: PortAllocator, wishes: Iterable[PortWish], holder: str
) -> list[tuple[PublishedPort, socket.socket]]:
    """Reserve and bind all that a container wishes, or nothing.

    Where any number will do, one that a foreign process holds is passed over.

    Raises:
        PortInUseError: A container, or a process, holds a port that was asked for.
        AllPortsTakenError: None is left of those that would do.
        InvalidPortError: The kernel does not let us use it.
    """
    published: list[tuple[PublishedPort, socket.socket]] = []
    try:
        published.extend(_publish_one(ports, wish, holder) for wish in wishes)
    except BaseException:
        for port, bound in published:
            bound.close()
            ports.release(port.host, holder)
        raise
    return published


def _publish_one(
    ports: PortAllocator, wish: PortWish, holder: str
) -> tuple[PublishedPort, socket.socket]:
    first = wish.first or FIRST_RANDOM_PORT
    last = wish.last or wish.first or LAST_RANDOM_PORT
    foreign: list[PublishedPort] = []
    try:
        for _ in range(first, last + 1):
            chosen = ports.reserve(wish, holder)
            try:
                return chosen, open_socket(chosen.host)
            except PortInUseError:
                foreign.append(chosen)  # stays reserved until we are through, so the next differs
                if first == last:
                    raise
            except BaseException:
                ports.release(chosen.host, holder)
                raise
    finally:
        for port in foreign:
            ports.release(port.host, holder)
    raise AllPortsTakenError(str(wish.address), first, last, wish.protocol)


def _refusal(host_port: HostPort, error: OSError) -> PortInUseError | InvalidPortError:
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(str(host_port.address), host_port.port, "", host_port.protocol)
    reason = _REFUSALS.get(error.errno or 0, error.strerror or "refused")
    return InvalidPortError(
        f"cannot publish on {host_port.address} port {host_port.port}/{host_port.protocol}: "
        f"{reason}"
    )
