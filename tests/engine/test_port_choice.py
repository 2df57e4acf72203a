# SPDX-License-Identifier: Apache-2.0
"""Ports of IPv6 beside those of IPv4 that name no address."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from toolkit.engine.port_choice import has_ipv6, publish_beside
from toolkit.network.port_sockets import publish
from toolkit.network.ports import PortAllocator, PortWish

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from toolkit.engine.port_choice import Given

EVERYWHERE = PortWish(80, "tcp", ip_address("0.0.0.0"), is_everywhere=True)  # noqa: S104 - docker's default
LOCAL = PortWish(81, "tcp", ip_address("127.0.0.1"))

pytestmark = pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")


@contextmanager
def given_ports(ports: PortAllocator, wishes: Sequence[PortWish]) -> Iterator[Given]:
    given = publish(ports, wishes, "a")
    try:
        yield given
    finally:
        for _, bound in given:
            bound.close()


def test_the_same_number_is_taken_of_ipv6_where_no_address_is_named() -> None:
    ports, wishes = PortAllocator(), [LOCAL, EVERYWHERE]
    with given_ports(ports, wishes) as given:
        [(port, bound)] = publish_beside(ports, wishes, given, "a")
        with bound:
            assert port.container_port == 80
            assert (str(port.host.address), port.host.port) == ("::", given[1][0].host.port)
            assert bound.getsockname()[:2] == ("::", port.host.port)
            assert ports.holder_of(port.host) == "a"


def test_one_that_a_container_has_is_left_out() -> None:
    ports, wishes = PortAllocator(), [EVERYWHERE]
    with given_ports(ports, wishes) as given:
        number = given[0][0].host.port
        six = PortWish(80, "tcp", ip_address("::1"), number)
        with given_ports(ports, [six]):
            assert publish_beside(ports, wishes, given, "b") == []


def test_one_that_a_process_has_is_left_out_and_held_by_nobody() -> None:
    ports, wishes = PortAllocator(), [EVERYWHERE]
    with given_ports(ports, wishes) as given, socket.socket(socket.AF_INET6) as foreign:
        foreign.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        foreign.bind(("::", given[0][0].host.port))
        foreign.listen()
        assert publish_beside(ports, wishes, given, "a") == []
        assert list(ports.held()) == [given[0][0].host]


def test_a_host_has_ipv6_when_a_link_has_an_address(tmp_path: Path) -> None:
    listed = tmp_path / "if_inet6"
    assert not has_ipv6(listed)
    listed.touch()
    assert not has_ipv6(listed)
    listed.write_text("00000000000000000000000000000001 01 80 10 80       lo\n")
    assert has_ipv6(listed)
