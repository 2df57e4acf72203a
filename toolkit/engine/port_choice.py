# SPDX-License-Identifier: Apache-2.0
"""Which ports of the host a container gets: as before, where the choice is the engine's.

0.7.2 makes a random port a fixed one at the first start (defect D-22, kept). Here
the next start takes the same number again while it is free, and another one when
somebody else has it by then: a container always comes back.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from toolkit.errors import AllPortsTakenError, PortInUseError
from toolkit.network.port_sockets import publish

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from toolkit.engine.model import ContainerRecord
    from toolkit.engine.model import PublishedPort as StoredPort
    from toolkit.network.ports import PortAllocator, PortWish, PublishedPort

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
