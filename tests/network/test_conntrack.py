# SPDX-License-Identifier: Apache-2.0
"""Row S-89, as far as it is data; `integration/network/test_firewall.py` sends the datagrams."""

from __future__ import annotations

import errno
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, cast

import pytest

from toolkit.errors import LinkError
from toolkit.network.conntrack import ConnectionTable
from toolkit.network.netlink import Message, attribute, attributes, nested

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolkit.network.netlink import NetlinkSocket

GONE, OTHER, CLIENT = (IPv4Address(text) for text in ("172.17.0.2", "172.17.0.3", "10.0.0.9"))


def direction(kind: int, source: IPv4Address, destination: IPv4Address) -> bytes:
    addresses = attribute(1, source.packed) + attribute(2, destination.packed)
    return nested(kind, nested(1, addresses))


class Kernel:
    """A table of flows: what the client asked for, and who answers."""

    def __init__(self, *flows: tuple[IPv4Address, IPv4Address], refuses: int = 0) -> None:
        self._flows, self._refuses = flows, refuses
        self.deleted: list[bytes] = []
        self.walks = 0

    def query(self, message: Message) -> bytes | None:
        if self._refuses:
            raise LinkError(message.call, message.subject, self._refuses)
        return bytes(4) + attribute(1, len(self._flows).to_bytes(4, "big"))

    def dump(self, message: Message) -> Iterator[tuple[int, bytes]]:
        del message
        self.walks += 1
        for number, (asked, answering) in enumerate(self._flows):
            original = direction(1, CLIENT, asked)
            reply = direction(2, answering, CLIENT)
            yield 256, bytes(4) + original + reply + attribute(12, bytes([0, 0, 0, number]))

    def request(self, message: Message) -> None:
        self.deleted.append(attributes(message.body, 4)[12])


def forget(kernel: Kernel) -> int:
    return ConnectionTable(cast("NetlinkSocket", kernel)).forget(GONE)


def test_flows_of_the_address_are_deleted_by_their_number() -> None:
    """S-89: also one that was translated on its way."""
    host = IPv4Address("10.0.0.1")
    kernel = Kernel((GONE, GONE), (OTHER, OTHER), (host, GONE), (host, OTHER))
    assert forget(kernel) == 2
    assert kernel.deleted == [b"\0\0\0\0", b"\0\0\0\2"]


def test_a_table_without_flows_is_not_walked_through() -> None:
    """Cost: 4 ms of the processor, whatever there is."""
    kernel = Kernel()
    assert forget(kernel) == 0
    assert kernel.walks == 0


def test_a_kernel_without_the_table_forgets_nothing() -> None:
    assert forget(Kernel(refuses=errno.EINVAL)) == 0


def test_another_refusal_is_told() -> None:
    with pytest.raises(LinkError):
        forget(Kernel(refuses=errno.EPERM))
