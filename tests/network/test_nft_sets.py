# SPDX-License-Identifier: Apache-2.0
"""Elements of sets as bytes; `integration/network/test_endpoint.py` gives them to the kernel."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, cast

import pytest

from toolkit.errors import FirewallError, LinkError
from toolkit.network.netlink import NLM_F_ACK, Message, attributes
from toolkit.network.nft_sets import NftSets, key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.network.netlink import NetlinkSocket

BEGIN, END, NEW, DELETE = 16, 17, 0xA0C, 0xA0E


class Kernel:
    def __init__(self, refuses: int = 0) -> None:
        self._refuses = refuses
        self.sent: list[Message] = []

    def transact(self, messages: Sequence[Message]) -> None:
        self.sent = list(messages)
        if self._refuses:
            raise LinkError("change set", "ports", self._refuses)


def sets_of(kernel: Kernel) -> NftSets:
    return NftSets(cast("NetlinkSocket", kernel))


def test_each_field_of_a_key_fills_whole_registers() -> None:
    key = key_of("tktA", bytes.fromhex("0242ac110002"), bytes([172, 17, 0, 2]))
    assert key == b"tktA" + bytes(12) + b"\x02\x42\xac\x11\0\2\0\0" + b"\xac\x11\0\2"


def test_a_change_is_one_transaction_in_its_order() -> None:
    kernel = Kernel()
    sets_of(kernel).change("t", [("ports", b"aaaa")], [("macs", b"bbbb")])
    assert [message.kind for message in kernel.sent] == [BEGIN, NEW, DELETE, END]
    assert [bool(message.flags & NLM_F_ACK) for message in kernel.sent] == [
        False,
        True,
        True,
        False,
    ]


def test_an_element_names_table_set_and_key() -> None:
    kernel = Kernel()
    sets_of(kernel).change("t", [("ports", b"aaaa")])
    body = kernel.sent[1].body
    assert body[0] == 7  # NFPROTO_BRIDGE
    found = attributes(body, 4)
    assert (found[1], found[2]) == (b"t\0", b"ports\0")
    element = attributes(attributes(found[3])[1])
    assert attributes(element[1]) == {1: b"aaaa"}


def test_what_the_kernel_refuses_is_an_error_of_the_firewall() -> None:
    with pytest.raises(FirewallError, match="nftables refused a change"):
        sets_of(Kernel(errno.ENOENT)).change("t", [("ports", b"aaaa")])
