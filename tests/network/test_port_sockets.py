# SPDX-License-Identifier: Apache-2.0
"""Sockets of published ports, on loopback."""

from __future__ import annotations

import socket
from contextlib import closing
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from toolkit.errors import AllPortsTakenError, InvalidPortError, PortInUseError
from toolkit.network.port_sockets import open_socket, publish
from toolkit.network.ports import HostPort, PortAllocator, PortWish

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolkit.network.ports import Protocol

LOCAL = ip_address("127.0.0.1")


@pytest.fixture
def foreign() -> Iterator[int]:
    """A port that a process outside the toolkit holds, tcp and udp."""
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        stream.bind(("127.0.0.1", 0))
        stream.listen()
        datagrams.bind(stream.getsockname())
        yield stream.getsockname()[1]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_foreign_process_is_named_as_what_it_is(foreign: int, protocol: Protocol) -> None:
    """Row S-86: and nothing stays allocated."""
    ports = PortAllocator()
    with pytest.raises(PortInUseError, match=f"127.0.0.1:{foreign} .* in use by another process"):
        publish(ports, [PortWish(80, protocol, LOCAL), PortWish(80, protocol, LOCAL, foreign)], "a")
    assert ports.held() == {}


def test_a_range_passes_over_what_a_foreign_process_holds(foreign: int) -> None:
    ports = PortAllocator()
    [(published, bound)] = publish(ports, [PortWish(80, "tcp", LOCAL, foreign, foreign + 20)], "a")
    with closing(bound):
        assert published.host.port > foreign
        assert bound.getsockname()[1] == published.host.port
    assert ports.held() == {published.host: "a"}


def test_a_range_that_is_all_foreign_is_exhausted(foreign: int) -> None:
    ports = PortAllocator({HostPort("tcp", LOCAL, foreign + 1): "b"})
    with pytest.raises(AllPortsTakenError):
        publish(ports, [PortWish(80, "tcp", LOCAL, foreign, foreign + 1)], "a")
    assert ports.held() == {HostPort("tcp", LOCAL, foreign + 1): "b"}


def test_tcp_and_udp_share_a_number() -> None:
    ports = PortAllocator()
    [(tcp, one)] = publish(ports, [PortWish(53, "tcp", LOCAL)], "a")
    with closing(one):
        [(_, other)] = publish(ports, [PortWish(53, "udp", LOCAL, tcp.host.port)], "a")
        other.close()


def test_ipv4_and_ipv6_share_a_number() -> None:
    ports = PortAllocator()
    [(v6, one)] = publish(ports, [PortWish(80, "tcp", ip_address("::1"))], "a")
    with closing(one), closing(open_socket(HostPort("tcp", LOCAL, v6.host.port))):
        pass


def test_an_address_of_another_host_is_refused() -> None:
    ports = PortAllocator()
    with pytest.raises(InvalidPortError, match="the address is not this host's"):
        publish(ports, [PortWish(80, "tcp", ip_address("192.0.2.1"))], "a")
    assert ports.held() == {}


def test_a_port_can_be_taken_again_at_once() -> None:
    """Row S-86: connections in TIME_WAIT are no obstacle."""
    ports = PortAllocator()
    [(published, bound)] = publish(ports, [PortWish(80, "tcp", LOCAL)], "a")
    with socket.create_connection(bound.getsockname()):
        accepted, _ = bound.accept()
        accepted.close()
    bound.close()
    open_socket(published.host).close()
