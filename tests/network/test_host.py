# SPDX-License-Identifier: Apache-2.0
"""Links that were left, and containers that come back before those are looked at."""

from __future__ import annotations

import itertools
from dataclasses import replace
from ipaddress import IPv6Interface, IPv6Network
from typing import TYPE_CHECKING

import pytest

from tests.fakes.network import FakeHost
from toolkit.network.bridge import SeatRequest
from toolkit.network.bridge_plan import BridgePlan
from toolkit.network.unique_local import pool_of_instance

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.network.host import HostNetworks

NETWORK, CONTAINER = "n" * 64, "c" * 64


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)


@pytest.fixture
def networks(host: FakeHost) -> HostNetworks:
    made = host.networks("test")
    made.make(BridgePlan(network_id=NETWORK))
    return made


def come(networks: HostNetworks) -> None:
    seat = networks.reserve_seat(NETWORK, SeatRequest(container_id=CONTAINER))
    try:
        networks.connect(NETWORK, seat, 0, default_route=True)
    finally:
        networks.release_seat(NETWORK, seat)


def go(networks: HostNetworks) -> list[tuple[str, str, str]]:
    return [(NETWORK, CONTAINER, networks.leave(NETWORK, CONTAINER))]


def test_a_link_whose_namespace_lives_on_is_removed(host: FakeHost, networks: HostNetworks) -> None:
    come(networks)
    networks.remove_links(go(networks))
    assert host.veths() == []


@pytest.mark.parametrize("when", ["while it comes", "when it is there"])
def test_a_container_that_came_back_keeps_its_link(
    host: FakeHost, networks: HostNetworks, when: str
) -> None:
    come(networks)
    left = go(networks)
    if when == "while it comes":
        host.meanwhile = lambda: networks.remove_links(left)
    come(networks)
    networks.remove_links(left)
    assert host.veths() == [CONTAINER]


def test_one_that_failed_to_come_back_does_not_protect_it(
    host: FakeHost, networks: HostNetworks
) -> None:
    def refuse() -> None:
        raise RuntimeError

    come(networks)
    left = go(networks)
    host.meanwhile = refuse
    with pytest.raises(RuntimeError):
        come(networks)
    networks.remove_links(left)
    assert host.veths() == []


def test_a_link_that_took_the_name_meanwhile_is_spared(
    host: FakeHost, networks: HostNetworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    come(networks)
    left = go(networks)
    look_up = host.stack.link

    def look_up_just_before(name: str) -> object:
        found = look_up(name)
        monkeypatch.setattr(host.stack, "link", look_up)
        come(networks)
        networks.leave(NETWORK, CONTAINER)  # so that only the index tells
        return found

    monkeypatch.setattr(host.stack, "link", look_up_just_before)
    networks.remove_links(left)
    assert host.veths() == [CONTAINER]


def test_a_network_that_asks_for_ipv6_alone_gets_the_first_free_subnet(
    host: FakeHost, networks: HostNetworks
) -> None:
    pool = pool_of_instance("test")
    first, second, third, *_ = itertools.islice(pool.subnets(new_prefix=64), 3)
    host.stack.routes6 = [first]
    plan = BridgePlan(network_id="6" * 64, wants_ipv6=True, avoided6=(second,))
    made = networks.make(plan).interface6
    assert made is not None
    assert (made.network, made.ip) == (third, third.network_address + 1)
    assert networks.make(BridgePlan(network_id="4" * 64)).interface6 is None


def test_the_default_bridge_gets_another_ipv6_subnet_where_a_network_has_its_own(
    networks: HostNetworks,
) -> None:
    """It had none for a while; a network of a person's keeps what was asked for."""
    taken = IPv6Network("fd00:5::/64")
    plan = BridgePlan(
        network_id="6" * 64,
        interface6=IPv6Interface("fd00:5::1/64"),
        wants_ipv6=True,
        avoided6=(taken,),
    )
    assert networks.make(plan).interface6 == plan.interface6
    made = networks.make(replace(plan, is_default=True)).interface6
    assert made is not None
    assert made.network.subnet_of(pool_of_instance("test"))
