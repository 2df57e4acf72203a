# SPDX-License-Identifier: Apache-2.0
"""What a network is to be on a host, and the subnets that the host chooses for it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_network
from typing import TYPE_CHECKING

from toolkit.errors import NoFreeSubnetError, SubnetOverlapError
from toolkit.network.bridge import DEFAULT_MTU, existing_interface
from toolkit.network.link_names import LinkOwner
from toolkit.network.resolv_conf import nameservers_as_cidr, read_host_file
from toolkit.network.subnets import (
    check_routes,
    choose_bridge_interface,
    choose_network_subnet,
    overlap,
)
from toolkit.network.unique_local import choose_subnet, pool_of_instance

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from toolkit.network.rtnetlink import NetworkStack


@dataclass(frozen=True, kw_only=True)
class BridgePlan:
    """What a network is to be on this host.

    Attributes:
        interface: The gateway with its subnet; None lets the host choose one that is free.
        wants_ipv6: Without an *interface6*, one from the instance's own pool is chosen.
        link_name: Of the bridge; empty for the derived one.
        is_default: 0.7.2's candidates are tried before docker's (rule 6.4).
        avoided: Subnets of the instance's other networks; *avoided6* the same for IPv6.
        allocatable: The part that addresses are handed out from.
        reserved: Addresses that are somebody else's.
        taken: Addresses that running containers have.
        last: What was handed out last.
    """

    network_id: str
    interface: IPv4Interface | None = None
    interface6: IPv6Interface | None = None
    wants_ipv6: bool = False
    link_name: str = ""
    mtu: int = DEFAULT_MTU
    has_gateway: bool = True
    is_default: bool = False
    avoided: tuple[IPv4Network, ...] = ()
    avoided6: tuple[IPv6Network, ...] = ()
    allocatable: IPv4Network | None = None
    allocatable6: IPv6Network | None = None
    reserved: frozenset[IPv4Address | IPv6Address] = frozenset()
    taken: tuple[IPv4Address | IPv6Address, ...] = ()
    last: IPv4Address | None = None


def chosen(plan: BridgePlan, instance: str, stack: NetworkStack) -> BridgePlan:
    """Return a plan with all addresses that it wants; what it lacks is free on this host.

    Raises:
        NoFreeSubnetError: There is none.
    """
    return _with_ipv6(_with_ipv4(plan, instance, stack), instance, stack)


def _with_ipv4(plan: BridgePlan, instance: str, stack: NetworkStack) -> BridgePlan:
    """Return a plan with an address: its own, that of the bridge as it is, or a free one."""
    link_name = plan.link_name or LinkOwner(instance, plan.network_id).link_name()
    there = existing_interface(stack, link_name)
    if plan.interface is not None:
        if there is not None or not plan.is_default or _is_free(plan.interface, stack):
            return plan
    elif there is not None:
        return replace(plan, interface=there)
    routes = [*stack.routed_networks(), *plan.avoided]
    nameservers = _nameservers()
    if plan.is_default:
        with contextlib.suppress(NoFreeSubnetError):
            found = choose_bridge_interface(link_name, routes=routes, nameservers=nameservers)
            return replace(plan, interface=found)
    subnet = choose_network_subnet(routes=routes, nameservers=nameservers, networks=())
    gateway = IPv4Interface((int(subnet.network_address) + 1, subnet.prefixlen))
    return replace(plan, interface=gateway)


def _with_ipv6(plan: BridgePlan, instance: str, stack: NetworkStack) -> BridgePlan:
    """Return a plan that has an IPv6 address if it wants one: its own, or a free one.

    While the default bridge had no IPv6, another network may have come by its subnet.
    """
    if not plan.wants_ipv6:
        return plan
    if plan.interface6 is not None:
        subnet = plan.interface6.network
        if not (plan.is_default and any(overlap(subnet, other) for other in plan.avoided6)):
            return plan
    used = [*stack.routed_networks6(), *plan.avoided6]
    subnet = choose_subnet(pool_of_instance(instance), used)
    gateway = IPv6Interface((int(subnet.network_address) + 1, subnet.prefixlen))
    return replace(plan, interface6=gateway)


def _is_free(interface: IPv4Interface, stack: NetworkStack) -> bool:
    """Tell whether a subnet of an earlier boot is still nobody else's."""
    try:
        check_routes(interface.network, stack.routed_networks())
    except SubnetOverlapError:
        return False
    return True


def _nameservers() -> list[IPv4Network | IPv6Network]:
    """Return the host's resolvers as networks; an unreadable file means none (rule 6.5)."""
    try:
        return [ip_network(text) for text in nameservers_as_cidr(read_host_file())]
    except OSError:
        return []
