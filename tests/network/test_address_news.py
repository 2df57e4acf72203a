# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import struct
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from toolkit.network import address_news as module
from toolkit.network.address_news import AddressNews
from toolkit.network.netlink import attribute, number

if TYPE_CHECKING:
    from collections.abc import Iterator

WANTED, OTHER = IPv6Address("fd00::2"), IPv6Address("fd00::3")
TENTATIVE = 0x40


class Multicast:
    """News on a pipe: one message for each byte."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, bytes]] = []
        self._reader, self._writer = os.pipe()

    def tell(self, address: IPv6Address, flags: int = 0, kind: int = 20) -> None:
        body = struct.pack("=BBBBi", 10, 64, 0, 0, 2)
        body += attribute(1, address.packed) + number(8, flags)
        self.messages.append((kind, body))
        os.write(self._writer, b"x")

    def fileno(self) -> int:
        return self._reader

    def receive(self) -> list[tuple[int, bytes]]:
        os.read(self._reader, 1)
        return [self.messages.pop(0)]

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


@pytest.fixture
def multicast(monkeypatch: pytest.MonkeyPatch) -> Multicast:
    multicast = Multicast()
    monkeypatch.setattr(module, "NetlinkSocket", lambda **_: multicast)
    return multicast


@pytest.fixture
def news(multicast: Multicast) -> Iterator[AddressNews]:
    with AddressNews() as news:
        assert multicast.fileno() >= 0
        yield news


def test_an_address_is_usable_when_the_kernel_has_looked_at_it(
    multicast: Multicast, news: AddressNews
) -> None:
    multicast.tell(WANTED, TENTATIVE)
    multicast.tell(OTHER)
    multicast.tell(WANTED, kind=21)
    multicast.tell(WANTED)
    assert news.await_usable(WANTED)
    assert not multicast.messages


def test_waiting_for_an_address_has_an_end(multicast: Multicast, news: AddressNews) -> None:
    multicast.tell(WANTED, TENTATIVE)
    assert not news.await_usable(WANTED, timeout_seconds=0.02)
