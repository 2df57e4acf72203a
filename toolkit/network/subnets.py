# SPDX-License-Identifier: Apache-2.0
"""Which subnet a bridge takes, and which subnets are in each other's way (rules 6.4-6.6, 6.8).

Arithmetic only: who asks brings the routes and the nameservers.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TYPE_CHECKING, Final, NamedTuple

from toolkit.errors import InvalidRequestError, NoFreeSubnetError, SubnetOverlapError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

# Rule 6.4, in this order. The host part is the bridge's own address.
BRIDGE_CANDIDATES: Final = tuple(
    IPv4Interface(text)
    for text in (
        "172.17.42.1/16", "10.0.42.1/16", "10.1.42.1/16", "10.42.42.1/16",
        "172.16.42.1/24", "172.16.43.1/24", "172.16.44.1/24",
        "10.0.42.1/24", "10.0.43.1/24",
        "192.168.42.1/24", "192.168.43.1/24", "192.168.44.1/24",
    )
)  # fmt: skip

# What docker gives to networks that name no subnet, in this order.
NETWORK_CANDIDATES: Final = (
    *(IPv4Network(f"172.{number}.0.0/16") for number in range(18, 32)),
    *IPv4Network("192.168.0.0/16").subnets(new_prefix=20),
)
_LONGEST_USABLE: Final = {4: 30, 6: 126}  # a gateway and one container


class Range(NamedTuple):
    """First and last address of a network, and how many there are."""

    first: Address
    last: Address
    size: int


def network_range(text: str) -> Range:
    """Return the range of the network that an address in CIDR form lies in (rule 6.8)."""
    network = ip_network(text, strict=False)
    return Range(network.network_address, network.broadcast_address, network.num_addresses)


def overlap(one: Network, other: Network) -> bool:
    """Tell whether either contains the first address of the other (rule 6.6)."""
    return one.network_address in other or other.network_address in one


def check_routes(subnet: Network, routes: Iterable[Network]) -> None:
    """Refuse a subnet that a route of the host is for.

    Raises:
        SubnetOverlapError: With the route.
    """
    for route in routes:
        if overlap(subnet, route):
            raise SubnetOverlapError(
                str(subnet), str(route), f"Network {subnet} is already routed: '{route}'"
            )


def check_nameservers(subnet: Network, nameservers: Iterable[Network]) -> None:
    """Refuse a subnet that a nameserver lies in.

    Raises:
        SubnetOverlapError: With the nameserver.
    """
    for nameserver in nameservers:
        if overlap(subnet, nameserver):
            raise SubnetOverlapError(
                str(subnet), str(nameserver), f"{subnet} overlaps nameserver {nameserver}"
            )


def check_networks(subnet: Network, networks: Iterable[Network]) -> None:
    """Refuse a subnet that another network of the engine uses.

    Raises:
        SubnetOverlapError: With that network's subnet.
    """
    for network in networks:
        if overlap(subnet, network):
            raise SubnetOverlapError(str(subnet), str(network))


def choose_bridge_interface(
    name: str, *, routes: Sequence[Network], nameservers: Sequence[Network]
) -> IPv4Interface:
    """Return the address of the instance's bridge: the first candidate that is free.

    Raises:
        NoFreeSubnetError: None is.
    """
    for candidate in BRIDGE_CANDIDATES:
        if _is_free(candidate.network, routes, nameservers):
            return candidate
    raise NoFreeSubnetError(
        f"Could not find a free IP address range for interface '{name}'. "
        f"Please configure its address manually and run 'docker -b {name}'"
    )


def choose_network_subnet(
    *, routes: Sequence[Network], nameservers: Sequence[Network], networks: Sequence[Network]
) -> IPv4Network:
    """Return a subnet for a network that names none.

    Raises:
        NoFreeSubnetError: Every one is in use.
    """
    for candidate in NETWORK_CANDIDATES:
        if _is_free(candidate, (*routes, *networks), nameservers):
            return candidate
    raise NoFreeSubnetError(
        "could not find an available, non-overlapping IPv4 address pool "
        "among the defaults to assign to the network"
    )


def parse_subnet(text: str) -> Network:
    """Return the subnet that a request names.

    Raises:
        InvalidRequestError: No subnet in CIDR form, or one too small for a container.
    """
    try:
        subnet = ip_network(text, strict=False)
    except ValueError:
        raise InvalidRequestError(
            f"invalid subnet {text[:80]!r}: use a network with its prefix length, as in 10.1.0.0/16"
        ) from None
    if "/" not in text or subnet.prefixlen > _LONGEST_USABLE[subnet.version]:
        raise InvalidRequestError(
            f"invalid subnet {text!r}: it needs a prefix of at most "
            f"{_LONGEST_USABLE[subnet.version]} bits"
        )
    if subnet.is_loopback or subnet.is_multicast or subnet.prefixlen == 0:
        raise InvalidRequestError(f"invalid subnet {text!r}: no network of containers")
    return subnet


def _is_free(subnet: Network, networks: Iterable[Network], nameservers: Iterable[Network]) -> bool:
    try:
        check_nameservers(subnet, nameservers)
        check_routes(subnet, networks)
    except SubnetOverlapError:
        return False
    return True
