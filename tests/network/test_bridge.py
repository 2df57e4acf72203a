# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.fakes.links import FakeNetworkStack
from toolkit.errors import (
    AddressInUseError,
    AddressPoolExhaustedError,
    LinkNameInUseError,
)
from toolkit.network import bridge as module
from toolkit.network.addresses import AddressPool
from toolkit.network.bridge import Bridge, BridgeSpec, SeatRequest, existing_interface
from toolkit.network.interfaces import VethPair
from toolkit.network.link_names import LinkOwner

if TYPE_CHECKING:
    from toolkit.network.rtnetlink import NetworkStack

OWNER = LinkOwner("tkt", "n" * 64)
GATEWAY = IPv4Interface("172.17.42.1/16")
SIX = IPv6Interface("fd00:5::1/64")


@pytest.fixture(autouse=True)
def sysctls(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    written: dict[str, str] = {}

    def write(path: str, value: str) -> bool:
        written[path] = value
        return True

    monkeypatch.setattr(module, "write_sysctl", write)
    return written


@pytest.fixture
def stack() -> FakeNetworkStack:
    return FakeNetworkStack()


@pytest.fixture
def bridge(stack: FakeNetworkStack) -> Bridge:
    spec = BridgeSpec(owner=OWNER, interface=GATEWAY, name="tkt0")
    pool = AddressPool(GATEWAY.network, GATEWAY.ip)
    return Bridge(spec=spec, stack=cast("NetworkStack", stack), addresses=pool)


def plugged(bridge: Bridge, container_id: str) -> str:
    owner = LinkOwner("tkt", OWNER.network_id, container_id)
    pair: dict[str, Any] = {"peer_name": "eth0", "peer_mac": "", "peer_netns_fd": 3, "mtu": 1500}
    name = owner.link_name()
    bridge.stack.create_veth(
        VethPair(name=name, bridge_index=bridge.ensure(), alias=owner.alias, **pair)
    )
    return name


def test_a_bridge_is_made_once_up_and_with_its_address(
    bridge: Bridge, stack: FakeNetworkStack
) -> None:
    index = bridge.ensure()
    assert bridge.ensure() == index
    (link,) = stack.links()
    assert (link.name, link.alias, link.is_up) == ("tkt0", OWNER.alias, True)
    assert stack.addresses(index) == [GATEWAY]


def test_a_network_without_ipv6_has_none_at_all(bridge: Bridge, sysctls: dict[str, str]) -> None:
    """S-84: an unexpected link-local address is a way around the rules."""
    bridge.ensure()
    assert sysctls == {"ipv6/conf/tkt0/disable_ipv6": "1", "ipv6/conf/tkt0/accept_ra": "0"}


def test_a_bridge_that_is_to_have_ipv6_is_let_have_it(
    bridge: Bridge, stack: FakeNetworkStack, sysctls: dict[str, str]
) -> None:
    """An engine before had it without; later uses do not touch the parameter."""
    bridge.ensure()
    bridge.spec = replace(bridge.spec, interface6=SIX)
    bridge.remove_other_ipv6()
    assert stack.addresses(bridge.ensure()) == [GATEWAY, SIX]
    assert sysctls.pop("ipv6/conf/tkt0/disable_ipv6") == "0"
    bridge.ensure()
    assert "ipv6/conf/tkt0/disable_ipv6" not in sysctls


def test_other_ipv6_of_an_engine_before_is_taken_away(
    bridge: Bridge, stack: FakeNetworkStack, sysctls: dict[str, str]
) -> None:
    """S-84; the link's own link-local address stays where there is IPv6."""
    bridge.remove_other_ipv6()  # nothing is there yet
    bridge.spec = replace(bridge.spec, interface6=SIX)
    index = bridge.ensure()
    own = IPv6Interface("fe80::1/64")
    for address in (IPv6Interface("fd00:9::1/64"), own):
        stack.add_address(index, address)
    bridge.remove_other_ipv6()
    assert stack.addresses(index) == [GATEWAY, SIX, own]
    bridge.spec = replace(bridge.spec, interface6=None)
    bridge.remove_other_ipv6()
    assert sysctls["ipv6/conf/tkt0/disable_ipv6"] == "1"


def test_the_ipv6_of_a_bridge_that_a_person_made_stays(
    bridge: Bridge, stack: FakeNetworkStack, sysctls: dict[str, str]
) -> None:
    stack.create_bridge("tkt0", mac="", mtu=1500)
    stack.add_address(2, SIX)
    bridge.remove_other_ipv6()
    assert (stack.addresses(2), sysctls) == ([SIX], {})


@pytest.mark.parametrize("harm", ["deleted", "renamed", "down", "no address", "mtu", "no alias"])
def test_a_harmed_bridge_is_mended_at_the_next_use(
    bridge: Bridge, stack: FakeNetworkStack, harm: str
) -> None:
    """F-14."""
    index = bridge.ensure()
    port = plugged(bridge, "c" * 64)
    harms = {
        "deleted": lambda: stack.delete_link("tkt0"),
        "renamed": lambda: stack.rename(index, "other"),
        "down": lambda: stack.set_down(index),
        "no address": lambda: stack.delete_address(index, GATEWAY),
        "mtu": lambda: stack.set_mtu(index, 1280),
        "no alias": lambda: stack.set_alias(index, ""),
    }
    harms[harm]()
    index = bridge.ensure()
    link = stack.link("tkt0")
    assert link
    assert (link.index, link.is_up, link.mtu, link.alias) == (index, True, 1500, OWNER.alias)
    assert stack.addresses(index) == [GATEWAY]
    plug = stack.link(port)
    assert plug
    assert plug.master == index


def test_repair_plugs_in_a_port_that_has_come_loose(
    bridge: Bridge, stack: FakeNetworkStack
) -> None:
    """F-14."""
    link = stack.link(plugged(bridge, "c" * 64))
    assert link
    stack.set_master(link.index, 0)
    assert bridge.repair() == ["c" * 64]
    assert bridge.repair() == []


def test_a_link_of_another_owner_is_not_taken_over(bridge: Bridge, stack: FakeNetworkStack) -> None:
    stack.create_bridge("tkt0", mac="", mtu=1500)
    stack.set_alias(2, LinkOwner("tkt", "other").alias)
    with pytest.raises(LinkNameInUseError, match="interface tkt0 is not this network's bridge"):
        bridge.ensure()


def test_a_bridge_that_a_person_made_is_used(bridge: Bridge, stack: FakeNetworkStack) -> None:
    """RT 6.3."""
    stack.create_bridge("tkt0", mac="", mtu=1500)
    stack.add_address(2, IPv4Interface("10.9.8.7/24"))
    assert existing_interface(bridge.stack, "tkt0") == IPv4Interface("10.9.8.7/24")
    assert existing_interface(bridge.stack, "none") is None
    assert bridge.ensure() == 2


def test_a_seat_has_an_address_and_the_mac_of_it(bridge: Bridge) -> None:
    seat = bridge.reserve_seat(SeatRequest(container_id="c" * 64))
    assert (str(seat.address), seat.mac) == ("172.17.0.2/16", "02:42:ac:11:00:02")
    assert seat.link_name.startswith("tkt")


def test_a_seat_can_be_asked_for(bridge: Bridge) -> None:
    wanted = SeatRequest(
        container_id="c", address=IPv4Address("172.17.9.9"), mac="02:00:00:00:00:01"
    )
    seat = bridge.reserve_seat(wanted)
    assert (seat.address.ip, seat.mac) == (wanted.address, wanted.mac)
    with pytest.raises(AddressInUseError):
        bridge.reserve_seat(wanted)


def test_a_released_seat_is_forgotten_by_the_neighbours(
    bridge: Bridge, stack: FakeNetworkStack
) -> None:
    """S-89."""
    bridge.ensure()
    seat = bridge.reserve_seat(SeatRequest(container_id="c"))
    bridge.release_seat(seat)
    assert stack.forgotten == [seat.address.ip]
    assert bridge.addresses.taken() == frozenset()


def test_without_an_ipv6_address_no_ipv4_address_is_held(bridge: Bridge) -> None:
    six = IPv6Interface("fd00::1/126")
    bridge.spec = replace(bridge.spec, interface6=six)
    bridge.addresses6 = AddressPool(six.network, six.ip)
    assert bridge.reserve_seat(SeatRequest(container_id="a")).address6 == IPv6Interface(
        "fd00::2/126"
    )
    with pytest.raises(AddressPoolExhaustedError):
        bridge.reserve_seat(SeatRequest(container_id="b"))
    assert len(bridge.addresses.taken()) == 1
