# SPDX-License-Identifier: Apache-2.0
"""Which ports of the host a container gets: as before, where the choice is the engine's.

0.7.2 makes a random port a fixed one at the first start (defect D-22, kept). Here
the next start takes the same number again while it is free, and another one when
somebody else has it by then: a container always comes back.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolkit.errors import AllPortsTakenError, ConflictError, InvalidPortError, PortInUseError
from toolkit.network.port_sockets import publish

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from toolkit.engine.model import ContainerRecord
    from toolkit.engine.model import PublishedPort as StoredPort
    from toolkit.network.ports import PortAllocator, PortWish, PublishedPort

_EVERY_IPV6: Final = IPv6Address(0)

Given = list[tuple["PublishedPort", "socket.socket"]]


def publish_as_before(
    ports: PortAllocator, wishes: Sequence[PortWish], record: ContainerRecord
) -> Given:
    """Reserve and bind all that a container wishes, or nothing; one entry a wish, in order.

    Raises:
        PortInUseError: A container, or a process, holds a port that was asked for.
        AllPortsTakenError: None is left of those that would do.
        InvalidPortError: The kernel does not let us use it.
    """
    before = list(record.chosen_ports)
    given: Given = []
    with ExitStack() as undo:
        for wish in wishes:
            [(port, bound)] = _publish_one(ports, wish, record.id, before)
            undo.callback(ports.release, port.host, record.id)
            undo.callback(bound.close)
            given.append((port, bound))
        undo.pop_all()
    return given


def publish_beside(
    ports: PortAllocator, wishes: Sequence[PortWish], given: Given, holder: str
) -> Given:
    """Reserve and bind the same numbers of IPv6 for those wishes that name no address.

    One that somebody has by now is left out: IPv4 alone is served then.
    """
    beside: Given = []
    for wish, (port, _) in zip(wishes, given, strict=True):
        if wish.is_everywhere:
            six = replace(wish, address=_EVERY_IPV6, first=port.host.port, last=0)
            with suppress(ConflictError, InvalidPortError, OSError):
                beside += publish(ports, [six], holder)
    return beside


def has_ipv6(addresses_path: Path = Path("/proc/net/if_inet6")) -> bool:
    """Say whether anybody has an IPv6 address here, be it the loopback alone."""
    try:
        return bool(addresses_path.read_bytes())
    except OSError:
        return False


def _publish_one(
    ports: PortAllocator, wish: PortWish, holder: str, before: list[StoredPort]
) -> Given:
    known = None if wish.first else _taken_from(before, wish)
    if known is not None:
        try:
            return publish(ports, [replace(wish, first=known.host_port)], holder)
        except (PortInUseError, AllPortsTakenError):
            pass  # somebody has it by now
    return publish(ports, [wish], holder)


def _taken_from(before: list[StoredPort], wish: PortWish) -> StoredPort | None:
    for port in before:
        same = (port.container_port, port.protocol) == (wish.container_port, wish.protocol)
        if same and port.host_ip == str(wish.address):
            before.remove(port)
            return port
    return None
