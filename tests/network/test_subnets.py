# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import InvalidRequestError, NoFreeSubnetError, SubnetOverlapError
from toolkit.network import subnets

ROUTES = [
    IPv4Network(text)
    for text in ("10.0.2.0/32", "10.0.3.0/24", "10.0.42.0/24", "172.16.42.0/24", "192.168.142.0/24")
]


@pytest.mark.parametrize(
    ("text", "first", "last", "size"),
    [
        ("192.168.0.1/24", "192.168.0.0", "192.168.0.255", 256),
        ("10.0.0.1/8", "10.0.0.0", "10.255.255.255", 16777216),
        ("10.1.2.3/8", "10.0.0.0", "10.255.255.255", 16777216),
        ("10.1.2.3/32", "10.1.2.3", "10.1.2.3", 1),
        ("10.1.2.3/31", "10.1.2.2", "10.1.2.3", 2),
        ("10.1.2.3/26", "10.1.2.0", "10.1.2.63", 64),
    ],
)
def test_a_network_has_a_first_and_a_last_address(
    text: str, first: str, last: str, size: int
) -> None:
    """RT-081: TestNetworkRange."""
    found = subnets.network_range(text)
    assert (str(found.first), str(found.last), found.size) == (first, last, size)


@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_an_address_survives_the_way_through_a_number(number: int) -> None:
    """RT-082: TestConversion."""
    network = subnets.network_range(f"{IPv4Address(number)}/32")
    assert int(network.first) == number


@pytest.mark.parametrize(
    ("one", "other", "overlaps"),
    [
        ("172.16.0.1/24", "172.16.0.1/25", True),
        ("172.16.0.1/24", "172.16.0.128/25", True),
        ("172.16.0.1/24", "172.16.0.64/25", True),
        ("172.16.0.1/24", "172.16.0.1/23", True),
        ("172.16.1.1/24", "172.16.0.1/23", True),
        ("172.16.1.1/25", "172.16.0.1/24", False),
        ("172.16.1.1/25", "172.16.2.1/24", False),
    ],
)
def test_networks_overlap_when_one_contains_the_start_of_the_other(
    one: str, other: str, *, overlaps: bool
) -> None:
    """RT-084: TestNetworkOverlaps."""
    pair = ip_interface(one).network, ip_interface(other).network
    assert subnets.overlap(*pair) is overlaps
    assert subnets.overlap(*reversed(pair)) is overlaps


def test_a_subnet_beside_all_routes_is_free() -> None:
    """RT-085: TestCheckRouteOverlaps."""
    subnets.check_routes(IPv4Network("172.16.0.0/24"), ROUTES)


def test_a_subnet_that_is_routed_is_refused_with_the_route() -> None:
    """RT-085: TestCheckRouteOverlaps."""
    with pytest.raises(SubnetOverlapError, match=r"already routed: '10\.0\.2\.0/32'"):
        subnets.check_routes(IPv4Network("10.0.2.0/24"), ROUTES)


def test_a_subnet_with_a_nameserver_is_refused() -> None:
    """RT-086: TestCheckNameserverOverlaps."""
    servers = [IPv4Network("10.0.2.3/32"), IPv4Network("192.168.102.1/32")]
    subnets.check_nameservers(IPv4Network("192.168.102.2/32"), servers)
    with pytest.raises(SubnetOverlapError, match="overlaps nameserver"):
        subnets.check_nameservers(IPv4Network("10.0.2.3/32"), servers)


def test_the_first_candidate_is_taken_on_an_empty_host() -> None:
    chosen = subnets.choose_bridge_interface("toolkit0", routes=[], nameservers=[])
    assert str(chosen) == "172.17.42.1/16"


def test_candidates_that_are_routed_or_hold_a_nameserver_are_passed_over() -> None:
    chosen = subnets.choose_bridge_interface(
        "toolkit0",
        routes=[IPv4Network("172.16.0.0/12"), IPv4Network("10.1.0.0/16")],
        nameservers=[IPv4Network("10.0.0.2/32")],
    )
    assert str(chosen) == "10.42.42.1/16"


def test_without_a_free_candidate_the_error_says_how_to_go_on() -> None:
    everything = [IPv4Network("0.0.0.0/1"), IPv4Network("128.0.0.0/1")]
    with pytest.raises(NoFreeSubnetError, match="'docker -b toolkit0'"):
        subnets.choose_bridge_interface("toolkit0", routes=everything, nameservers=[])
    with pytest.raises(NoFreeSubnetError):
        subnets.choose_network_subnet(routes=everything, nameservers=[], networks=[])


def test_networks_take_subnets_one_after_the_other() -> None:
    taken: list[subnets.Network] = []
    for _ in range(16):
        chosen = subnets.choose_network_subnet(routes=[], nameservers=[], networks=taken)
        subnets.check_networks(chosen, taken)
        taken.append(chosen)
    assert [str(subnet) for subnet in taken[12:]] == [
        "172.30.0.0/16", "172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20",
    ]  # fmt: skip


def test_two_networks_cannot_share_addresses() -> None:
    with pytest.raises(SubnetOverlapError) as caught:
        subnets.check_networks(IPv4Network("10.9.8.0/24"), [IPv4Network("10.9.0.0/16")])
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/31", "::/0", "0.0.0.0/0", "127.0.0.0/8", "x\n/8"],
)
def test_a_subnet_that_no_container_could_live_in_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^invalid subnet .*: ") as refused:
        subnets.parse_subnet(text)
    assert "\n" not in str(refused.value)


def test_the_host_part_of_a_subnet_does_not_matter() -> None:
    assert subnets.parse_subnet("10.9.8.7/24") == ip_network("10.9.8.0/24")
