# SPDX-License-Identifier: Apache-2.0
"""Endpoints in the kernel, and what the guard keeps containers from (row S-84)."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import time
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Interface
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.network.conftest import (
    HOST,
    can_connect,
    checksum,
    frame,
    ip_packet,
    neighbours_of_this_namespace,
    new_namespace,
    packets,
)
from integration.pace import SLOWNESS
from toolkit.errors import LinkError
from toolkit.network.bridge import SeatRequest
from toolkit.network.endpoint import Endpoint, add_default_route
from toolkit.network.rtnetlink import NetworkStack

if TYPE_CHECKING:
    from integration.network.conftest import Container, Rig

ARP, IP = 0x0806, 0x0800


def test_a_container_has_address_mac_and_a_way_out(rig: Rig) -> None:
    container = rig.container(rig.bridge())
    with NetworkStack.inside(container.netns_fd) as inside:
        link = inside.link("eth0")
        assert link
        assert (link.mac, link.mtu, link.is_up) == ("02:42:ac:11:00:02", 1500, True)
        assert inside.addresses(link.index) == [container.seat.address]
        assert inside.has_default_route()
    assert can_connect_to_host(container)


def can_connect_to_host(container: Container) -> bool:
    with socket.create_server((str(HOST), 0)) as server:
        port = server.getsockname()[1]
        return bool(container.do(lambda: can_connect(HOST, port)))


def test_a_second_network_has_no_default_route_until_it_is_asked_for(rig: Rig) -> None:
    bridge = rig.bridge()
    netns_fd = new_namespace()
    seat = bridge.reserve_seat(SeatRequest(container_id="c", interface_name="eth1"))
    Endpoint.connect(bridge, seat, netns_fd, default_route=False)
    with NetworkStack.inside(netns_fd) as inside:
        assert not inside.has_default_route()
        add_default_route(bridge, netns_fd)
        assert inside.has_default_route()
        assert inside.link("eth1")
    os.close(netns_fd)


def test_ipv6_is_there_when_the_network_has_it_and_not_otherwise(rig: Rig) -> None:
    """S-84: IPv6 is off on networks without it."""
    six = rig.bridge("six", "172.18.0.1/16", interface6=IPv6Interface("fd00:18::1/64"))
    with_six, without = rig.container(six), rig.container(rig.bridge())
    shown = with_six.do(lambda: Path("/proc/thread-self/net/if_inet6").read_text())
    assert "fd000018000000000000000000000002" in shown
    assert "eth0" not in without.do(lambda: Path("/proc/thread-self/net/if_inet6").read_text())
    other = rig.container(six)
    address = other.seat.address6
    assert address
    with other.do(lambda: socket.create_server(("::", 80), family=socket.AF_INET6)):
        assert with_six.do(lambda: can_connect(address.ip, 80))


def test_a_failure_inside_leaves_nothing(rig: Rig) -> None:
    bridge = rig.bridge()
    container = rig.container(bridge)
    before = {link.name for link in rig.stack.links()}
    seat = bridge.reserve_seat(SeatRequest(container_id="c", interface_name="eth1"))
    with pytest.raises(LinkError) as caught:  # there is a default route already
        Endpoint.connect(bridge, seat, container.netns_fd)
    assert caught.value.errno == errno.EEXIST
    assert {link.name for link in rig.stack.links()} == before
    with NetworkStack.inside(container.netns_fd) as inside:
        assert inside.link("eth1") is None


def test_an_endpoint_is_found_again_and_disconnected(rig: Rig) -> None:
    bridge = rig.bridge()
    container = rig.container(bridge)
    found = Endpoint.find(bridge, container.seat)
    assert found == container.endpoint
    assert found is not None
    found.disconnect()
    assert rig.stack.link(found.link) is None
    container.endpoint.disconnect()
    assert Endpoint.find(bridge, container.seat) is None


def test_a_container_can_be_connected_anew_when_its_link_was_deleted(rig: Rig) -> None:
    """F-14: veth deleted."""
    bridge = rig.bridge()
    container = rig.container(bridge)
    subprocess.run(["ip", "link", "delete", container.endpoint.link], check=True)
    assert Endpoint.find(bridge, container.seat) is None
    Endpoint.connect(bridge, container.seat, container.netns_fd)
    assert can_connect_to_host(container)


def test_the_first_packet_after_connecting_is_not_lost(rig: Rig) -> None:
    """A bridge that has not taken note of a new port drops: the next try comes a second later."""
    bridge = rig.bridge()
    server = rig.container(bridge)
    with server.serve(80):
        for _ in range(20):
            client = rig.container(bridge)
            begin = time.perf_counter()
            assert client.do(lambda: can_connect(server.address, 80))
            assert time.perf_counter() - begin < 0.3 * SLOWNESS


def test_connecting_takes_a_few_milliseconds(rig: Rig) -> None:
    """Cost: 1.5 ms here with the guard, 4 ms at most; more on a machine that is busy."""
    rig.guarded()
    bridge = rig.bridge()
    taken = []
    for number in range(10):
        netns_fd = new_namespace()
        begin = time.perf_counter()
        Endpoint.connect(
            bridge, bridge.reserve_seat(SeatRequest(container_id=f"{number}")), netns_fd
        )
        taken.append(time.perf_counter() - begin)
        os.close(netns_fd)
    assert min(taken) < 0.004 * SLOWNESS


def arp_reply(sender: str, sender_mac: str, target: Container, *, source_mac: str) -> bytes:
    """Return "*sender* is at *sender_mac*", told to *target*."""
    body = struct.pack("!HHBBH", 1, IP, 6, 4, 2)
    body += bytes.fromhex(sender_mac.replace(":", "")) + IPv4Address(sender).packed
    body += bytes.fromhex(target.seat.mac.replace(":", "")) + target.address.packed
    return frame(target.seat.mac, source_mac, ARP, body)


def knows(container: Container, address: IPv4Address) -> str:
    return str(container.do(neighbours_of_this_namespace).get(str(address), ""))


def poison(attacker: Container, victim: Container, claimed: IPv4Address) -> None:
    """Tell *victim* three times that *claimed* is at the attacker's MAC."""
    mac = attacker.seat.mac
    lie = arp_reply(str(claimed), mac, victim, source_mac=mac)
    with attacker.do(packets) as raw:
        for _ in range(3):
            raw.send(lie)


@pytest.mark.parametrize("is_guarded", [False, True], ids=["open", "guarded"])
def test_an_address_of_another_cannot_be_claimed(rig: Rig, *, is_guarded: bool) -> None:
    """S-84: ARP; without the guard the lie is believed."""
    if is_guarded:
        rig.guarded()
    bridge = rig.bridge()
    attacker, friend, victim = (rig.container(bridge) for _ in range(3))
    locktime = Path("/proc/sys/net/ipv4/neigh/eth0/locktime")
    victim.do(lambda: locktime.write_text("0"))
    with friend.serve(80):
        assert victim.do(lambda: can_connect(friend.address, 80))
    assert knows(victim, friend.address) == friend.seat.mac
    poison(attacker, victim, friend.address)
    believed = attacker.seat.mac if not is_guarded else friend.seat.mac
    assert knows(victim, friend.address) == believed


def datagram_from(source: str, sender: Container, receiver: Container, port: int) -> bytes:
    udp = struct.pack("!HHHH", 9, port, 8 + 1, 0) + b"x"
    packet = ip_packet(source, str(receiver.address), socket.IPPROTO_UDP, udp)
    return frame(receiver.seat.mac, sender.seat.mac, IP, packet)


@pytest.mark.parametrize("is_guarded", [False, True], ids=["open", "guarded"])
def test_the_source_of_another_cannot_be_forged(rig: Rig, *, is_guarded: bool) -> None:
    """S-84: IP; what has the own source arrives, with the guard and without."""
    if is_guarded:
        rig.guarded()
    bridge = rig.bridge()
    attacker, friend, victim = (rig.container(bridge) for _ in range(3))
    with victim.hear(53) as heard, attacker.do(packets) as raw:
        raw.send(datagram_from(str(attacker.address), attacker, victim, 53))
        assert heard.recvfrom(10)[1][0] == str(attacker.address)
        raw.send(datagram_from(str(friend.address), attacker, victim, 53))
        if is_guarded:
            with pytest.raises(TimeoutError):
                heard.recv(10)
        else:
            assert heard.recvfrom(10)[1][0] == str(friend.address)


@pytest.mark.parametrize("is_guarded", [False, True], ids=["open", "guarded"])
def test_the_mac_of_another_cannot_be_forged(rig: Rig, *, is_guarded: bool) -> None:
    """S-84: a frame with another source moves the bridge's idea of where that one is."""
    if is_guarded:
        rig.guarded()
    bridge = rig.bridge()
    attacker, friend, victim = (rig.container(bridge) for _ in range(3))
    with victim.hear(53) as heard, attacker.do(packets) as raw:
        honest = datagram_from(str(attacker.address), attacker, victim, 53)
        forged = honest[:6] + bytes.fromhex(friend.seat.mac.replace(":", "")) + honest[12:]
        raw.send(forged)
        with suppress(TimeoutError):
            heard.recv(10)
            assert not is_guarded
            return
    assert is_guarded


@pytest.mark.parametrize("is_guarded", [False, True], ids=["open", "guarded"])
def test_a_container_is_no_router(rig: Rig, *, is_guarded: bool) -> None:
    """S-84, CVE-2020-13401: router advertisements do not leave the container."""
    if is_guarded:
        rig.guarded()
    bridge = rig.bridge("six", "172.18.0.1/16", interface6=IPv6Interface("fd00:18::1/64"))
    attacker, victim = rig.container(bridge), rig.container(bridge)
    with victim.do(packets) as heard, attacker.do(packets) as raw:
        raw.send(router_advertisement(attacker, victim))
        found = False
        with suppress(TimeoutError):
            while not found:
                received = heard.recv(2000)
                found = received[12:14] == b"\x86\xdd" and received[54:55] == b"\x86"
    assert found is not is_guarded


def router_advertisement(sender: Container, receiver: Container) -> bytes:
    assert sender.seat.address6
    source = sender.seat.address6.ip.packed
    destination = bytes.fromhex("ff02" + "00" * 13 + "01")
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    pseudo = source + destination + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    packet = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + source + destination + body
    return frame(receiver.seat.mac, sender.seat.mac, 0x86DD, packet)
