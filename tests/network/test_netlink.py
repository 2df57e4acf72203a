# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import struct
import sys
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import LinkError
from toolkit.network import netlink
from toolkit.network.rtnetlink import NetworkStack, packed_mac
from toolkit.network.spoof_guard import link_local_of

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="asks a Linux kernel")


@given(st.dictionaries(st.integers(1, 0x3FFF), st.binary(max_size=40), max_size=8))
def test_attributes_survive_the_way_there_and_back(each: dict[int, bytes]) -> None:
    packed = b"".join(netlink.attribute(kind, value) for kind, value in each.items())
    assert len(packed) % 4 == 0
    assert netlink.attributes(packed) == each


@given(st.binary(max_size=200))
def test_damaged_attributes_end_the_reading(raw: bytes) -> None:
    assert isinstance(netlink.attributes(raw), dict)


def test_nested_attributes_are_found_by_their_kind() -> None:
    packed = netlink.nested(18, netlink.text(1, "veth"), netlink.number(2, 7))
    inner = netlink.attributes(netlink.attributes(packed)[18])
    assert netlink.decoded_text(inner, 1) == "veth"
    assert netlink.decoded_number(inner, 2) == 7
    assert netlink.decoded_text(inner, 9) == ""


def test_an_error_of_the_kernel_names_call_subject_and_number() -> None:
    body = struct.pack("=i", -errno.EEXIST)
    error = netlink._error_of(body, netlink.Message(16, b"", call="create veth", subject="tkt0"))
    assert isinstance(error, LinkError)
    assert (error.call, error.subject, error.errno) == ("create veth", "tkt0", errno.EEXIST)
    accepted = netlink.Message(16, b"", accepted_errors=frozenset({errno.EEXIST}))
    assert netlink._error_of(body, accepted) is None


@on_linux
def test_the_loopback_is_listed() -> None:
    with NetworkStack() as stack:
        link = stack.link("lo")
        assert link
        assert link.index in {each.index for each in stack.links()}
        assert stack.link("no-such-link") is None
        assert all(isinstance(route, IPv4Network) for route in stack.routed_networks())
        assert IPv4Address("192.0.2.1") not in stack.neighbours(link.index)


def test_a_mac_is_six_bytes() -> None:
    assert packed_mac("02:42:ac:11:00:02") == b"\x02\x42\xac\x11\x00\x02"
    assert str(link_local_of("02:42:ac:11:00:02")) == "fe80::42:acff:fe11:2"
