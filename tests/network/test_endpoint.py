# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING, cast

import pytest

from tests.fakes.links import FakeGuard, FakeNetworkStack
from toolkit.errors import LinkError
from toolkit.network import bridge as bridge_module
from toolkit.network import endpoint as module
from toolkit.network.addresses import AddressPool
from toolkit.network.bridge import Bridge, BridgeSpec, Seat, SeatRequest
from toolkit.network.endpoint import Endpoint
from toolkit.network.link_names import LinkOwner

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolkit.network.interfaces import VethPair
    from toolkit.network.rtnetlink import NetworkStack

GATEWAY = IPv4Interface("172.17.42.1/16")
NETNS = 7


class Rig:
    """A bridge in memory; what is done inside a namespace can be made to fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stack, self.guard = FakeNetworkStack(), FakeGuard()
        self.entered: list[int] = []
        self.inside_fails = False
        monkeypatch.setattr(module, "in_network_namespace", self._inside)
        monkeypatch.setattr(bridge_module, "write_sysctl", lambda *_: True)
        self.bridge = Bridge(
            spec=BridgeSpec(owner=LinkOwner("tkt", "n" * 64), interface=GATEWAY),
            stack=cast("NetworkStack", self.stack),
            addresses=AddressPool(GATEWAY.network, GATEWAY.ip),
            guard=self.guard,
        )
        self.seat: Seat = self.bridge.reserve_seat(SeatRequest(container_id="c" * 64))

    def _inside(self, netns_fd: int, _: Callable[[], None]) -> None:
        if self.inside_fails:
            raise LinkError("set link up", "eth0", errno.EPERM)
        self.entered.append(netns_fd)

    def veths(self) -> list[str]:
        return [link.name for link in self.stack.links() if link.kind == "veth"]


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


def test_connect_plugs_a_veth_in_and_configures_the_other_end(rig: Rig) -> None:
    endpoint = Endpoint.connect(rig.bridge, rig.seat, NETNS)
    assert rig.veths() == [endpoint.link]
    assert rig.stack.inside[NETNS].peer_name == "eth0"
    assert rig.entered == [NETNS]
    assert rig.stack.settled == [endpoint.link, rig.bridge.spec.link_name]
    assert rig.guard.admitted[endpoint.link] == ("02:42:ac:11:00:02", [rig.seat.address.ip])


def test_connect_leaves_nothing_when_the_inside_fails(rig: Rig) -> None:
    rig.inside_fails = True
    with pytest.raises(LinkError):
        Endpoint.connect(rig.bridge, rig.seat, NETNS)
    assert not rig.veths()
    assert not rig.guard.admitted


def test_connect_leaves_nothing_when_the_link_fails(rig: Rig) -> None:
    rig.stack.fails = "create veth", errno.ENOBUFS
    with pytest.raises(LinkError):
        Endpoint.connect(rig.bridge, rig.seat, NETNS)
    assert not rig.guard.admitted


def test_disconnect_takes_the_link_away_once(rig: Rig) -> None:
    endpoint = Endpoint.connect(rig.bridge, rig.seat, NETNS)
    endpoint.disconnect()
    endpoint.disconnect()
    assert not rig.veths()
    assert not rig.guard.admitted
    assert rig.bridge.addresses.taken() == {rig.seat.address.ip}


def test_a_link_of_this_container_that_a_crash_left_is_replaced(rig: Rig) -> None:
    Endpoint.connect(rig.bridge, rig.seat, NETNS)
    Endpoint.connect(rig.bridge, rig.seat, NETNS)
    assert len(rig.veths()) == 1


def test_two_containers_whose_names_meet_have_two_links(rig: Rig) -> None:
    Endpoint.connect(rig.bridge, rig.seat, NETNS)
    (link,) = (link for link in rig.stack.links() if link.kind == "veth")
    rig.stack.set_alias(link.index, LinkOwner("tkt", "n" * 64, "d" * 64).alias)
    Endpoint.connect(rig.bridge, rig.seat, NETNS)
    assert len(rig.veths()) == 2


def test_an_interface_that_is_there_already_is_told(rig: Rig) -> None:
    rig.stack.fails = "create veth", errno.EEXIST
    with pytest.raises(LinkError) as caught:
        Endpoint.connect(rig.bridge, rig.seat, NETNS)
    assert caught.value.errno == errno.EEXIST


def test_a_link_of_an_earlier_life_that_goes_at_this_moment_is_no_hindrance(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart: the kernel takes the old one away with its namespace, when it finds time."""
    create, refusals = rig.stack.create_veth, [errno.EEXIST]

    def create_veth(pair: VethPair) -> None:
        if refusals:
            raise LinkError("create veth", pair.name, refusals.pop())
        create(pair)

    monkeypatch.setattr(rig.stack, "create_veth", create_veth)
    Endpoint.connect(rig.bridge, rig.seat, NETNS)
    assert len(rig.veths()) == 1


def test_a_new_engine_finds_the_endpoint_again(rig: Rig) -> None:
    connected = Endpoint.connect(rig.bridge, rig.seat, NETNS)
    rig.guard.flush()
    found = Endpoint.find(rig.bridge, rig.seat)
    assert found == connected
    assert found is not None
    assert connected.link in rig.guard.admitted
    found.disconnect()
    assert not rig.veths()


def test_an_endpoint_whose_link_has_gone_is_not_found(rig: Rig) -> None:
    """F-14: the engine connects it anew."""
    assert Endpoint.find(rig.bridge, rig.seat) is None
