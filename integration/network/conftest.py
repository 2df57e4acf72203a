# SPDX-License-Identifier: Apache-2.0
"""A host, its neighbour and containers, each a network namespace that the test makes.

A test's own thread is the host. Nothing here starts an engine, and nothing
touches the links or the rules of the machine.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, ip_interface
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from integration.pace import SLOWNESS
from toolkit.kernel.namespaces import CLONE_NEWNET, bring_loopback_up, enter, unshare
from toolkit.network.addresses import AddressPool
from toolkit.network.bridge import Bridge, BridgeSpec, Seat, SeatRequest
from toolkit.network.conntrack import ConnectionTable
from toolkit.network.endpoint import Endpoint
from toolkit.network.interfaces import VethPair
from toolkit.network.link_names import LinkOwner
from toolkit.network.netlink import current_network_namespace, in_network_namespace
from toolkit.network.nft import find_nft
from toolkit.network.nft_sets import NftSets
from toolkit.network.rtnetlink import NetworkStack
from toolkit.network.spoof_guard import NftGuard, NoGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INSTANCE: Final = "tktnet"
HOST, NEIGHBOUR = IPv4Address("10.77.0.1"), IPv4Address("10.77.0.2")
PATIENCE_SECONDS: Final = 0.4 * SLOWNESS


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    """Take the place of the check that starts an engine: the machine's own links stay."""
    before = sorted(path.name for path in Path("/sys/class/net").iterdir())
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, check=False).stdout
    yield
    after = sorted(path.name for path in Path("/sys/class/net").iterdir())
    assert [name for name in after if INSTANCE in name] == []
    assert [name for name in before if INSTANCE in name] == []
    assert INSTANCE.encode() not in rules


def new_namespace() -> int:
    """Return a descriptor of a new network namespace, with its loopback up."""

    def make() -> int:
        unshare(CLONE_NEWNET)
        bring_loopback_up()
        return current_network_namespace()

    here = current_network_namespace()
    try:
        return in_network_namespace(here, make)
    finally:
        os.close(here)


@dataclass
class Container:
    """A namespace with a seat on a bridge."""

    netns_fd: int
    seat: Seat
    endpoint: Endpoint

    @property
    def address(self) -> IPv4Address:
        return self.seat.address.ip

    def do(self, act: Callable[[], Any]) -> Any:
        return in_network_namespace(self.netns_fd, act)

    def serve(self, port: int, address: str = "") -> socket.socket:
        """Listen; the kernel accepts, nobody answers."""
        server: socket.socket = self.do(lambda: socket.create_server((address, port)))
        return server

    def hear(self, port: int) -> socket.socket:
        """Take datagrams."""
        heard: socket.socket = self.do(lambda: _datagrams(port))
        return heard


def _datagrams(port: int) -> socket.socket:
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("", port))
    taken.settimeout(PATIENCE_SECONDS)
    return taken


@dataclass
class Rig:
    """The host (this thread), a neighbour on its link, and what is made in a test."""

    neighbour_fd: int
    stack: NetworkStack
    guard: Any = field(default_factory=NoGuard)
    opened: list[Any] = field(default_factory=list)
    _containers: int = 0

    def bridge(self, name: str = "n1", interface: str = "172.17.42.1/16", **spec: Any) -> Bridge:
        four = ip_interface(interface)
        assert isinstance(four, IPv4Interface)
        six = spec.get("interface6")
        flows = ConnectionTable()
        self.opened.append(flows)
        return Bridge(
            spec=BridgeSpec(owner=LinkOwner(INSTANCE, name), interface=four, **spec),
            stack=self.stack,
            addresses=AddressPool(four.network, four.ip),
            addresses6=AddressPool(six.network, six.ip) if six else None,
            flows=flows,
            guard=self.guard,
        )

    def container(self, bridge: Bridge, **request: Any) -> Container:
        self._containers += 1
        netns_fd = new_namespace()
        self.opened.append(_Descriptor(netns_fd))
        seat = bridge.reserve_seat(SeatRequest(container_id=f"{self._containers:064x}", **request))
        return Container(netns_fd, seat, Endpoint.connect(bridge, seat, netns_fd))

    def guarded(self) -> None:
        """Let every container that is made from now on speak for itself alone."""
        nft = find_nft()
        if nft is None:
            pytest.skip("no nftables here")
        sets = NftSets()
        self.opened.append(sets)
        self.guard = NftGuard(INSTANCE, nft, sets)
        self.guard.reset()

    def neighbour(self, act: Callable[[], Any]) -> Any:
        """Return what *act* returns on the neighbour."""
        return in_network_namespace(self.neighbour_fd, act)


@dataclass
class _Descriptor:
    fd: int

    def close(self) -> None:
        os.close(self.fd)


@pytest.fixture
def rig() -> Iterator[Rig]:
    """This thread in a host of its own, with a neighbour that has a route to the containers."""
    machine = current_network_namespace()
    unshare(CLONE_NEWNET)
    neighbour_fd = new_namespace()
    stack = NetworkStack()
    rig = Rig(neighbour_fd, stack)
    try:
        bring_loopback_up()
        _join(stack, neighbour_fd)
        yield rig
    finally:
        for each in (*rig.opened, stack):
            each.close()
        os.close(neighbour_fd)
        enter(machine, CLONE_NEWNET)
        os.close(machine)


def _join(stack: NetworkStack, neighbour_fd: int) -> None:
    stack.create_bridge("uplink", mac="02:77:00:00:00:01", mtu=1500)
    link = stack.link("uplink")
    assert link
    stack.create_veth(
        VethPair(
            name="up0", bridge_index=link.index, alias="", peer_name="eth0",
            peer_mac="02:77:00:00:00:02", peer_netns_fd=neighbour_fd, mtu=1500,
        )
    )  # fmt: skip
    stack.add_address(link.index, IPv4Interface((int(HOST), 24)))
    stack.set_up(link.index)

    def inside() -> None:
        with NetworkStack() as theirs:
            eth0 = theirs.link("eth0")
            assert eth0
            theirs.add_address(eth0.index, IPv4Interface((int(NEIGHBOUR), 24)))
            theirs.set_up(eth0.index)
            theirs.add_default_route(HOST)

    in_network_namespace(neighbour_fd, inside)
    stack.settle("up0")
    stack.settle("uplink")


def can_connect(address: object, port: int) -> bool:
    """Tell whether a connection is made from this thread's namespace."""
    try:
        with socket.create_connection((str(address), port), PATIENCE_SECONDS):
            return True
    except OSError:
        return False


def comes_true(condition: Callable[[], bool], seconds: float = 5) -> bool:
    """Tell whether something becomes so in time; each question takes its own time."""
    deadline = time.monotonic() + seconds * SLOWNESS
    while not condition():
        if time.monotonic() > deadline:
            return False
    return True


def neighbours_of_this_namespace() -> dict[str, str]:
    """Return the MAC of each address that this thread's namespace knows."""
    shown = subprocess.run(["ip", "-j", "neigh"], capture_output=True, check=True).stdout
    return {entry["dst"]: entry.get("lladdr", "") for entry in json.loads(shown)}


def checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_packet(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    """Return an IPv4 packet."""
    addresses = IPv4Address(source).packed + IPv4Address(destination).packed
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 7, 0, 64, protocol, 0) + addresses
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def syn_to(source: str, destination: str, port: int, *, source_port: int) -> bytes:
    """Return a packet that begins a TCP connection."""
    tcp = struct.pack("!HHIIBBHHH", source_port, port, 1, 0, 5 << 4, 2, 1024, 0, 0)
    pseudo = IPv4Address(source).packed + IPv4Address(destination).packed
    pseudo += struct.pack("!BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    return ip_packet(source, destination, 6, tcp)


def frame(destination: str, source: str, kind: int, payload: bytes) -> bytes:
    """Return an Ethernet frame."""
    macs = bytes.fromhex((destination + source).replace(":", ""))
    return macs + struct.pack("!H", kind) + payload


def packets() -> socket.socket:
    """Return a raw socket on eth0 of this thread's namespace."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    raw.bind(("eth0", 0))
    raw.settimeout(PATIENCE_SECONDS)
    return raw
