# SPDX-License-Identifier: Apache-2.0
"""What a request for a network, or for a seat on one, may say."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from toolkit.engine.link_texts import check_link_texts
from toolkit.engine.network_index import BRIDGE, PREDEFINED
from toolkit.engine.network_plan import (
    OPTION_HOST_ADDRESS,
    OPTION_ICC,
    OPTION_MASQUERADE,
    OPTION_NAME,
    filled_pool,
    flag_of,
    mtu_of,
    pool_of,
)
from toolkit.engine.validation import check_address, check_host_name, check_text
from toolkit.errors import (
    DriverNotFoundError,
    InvalidNameError,
    InvalidRequestError,
    PredefinedNetworkError,
)
from toolkit.network.firewall import LinkName
from toolkit.network.subnets import check_networks, overlap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toolkit.engine.model import EndpointSpec, NetworkRecord, NetworkSpec

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_LONGEST_NAME: Final = 128
_MAC: Final = re.compile(r"[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5}")
_MULTICAST_MAC: Final = 1
_MOST_ALIASES: Final = 256


def check_network(
    spec: NetworkSpec, others: Iterable[NetworkRecord], *, kept: Iterable[str] = ()
) -> NetworkSpec:
    """Return a request with its pools filled in.

    Args:
        spec: The request.
        others: The networks that there are.
        kept: Subnets that a network is to have as soon as it is made.

    Raises:
        InvalidRequestError: It says something that cannot be.
        SubnetOverlapError: A subnet is another network's.
        DriverNotFoundError: There is no such driver.
        PredefinedNetworkError: Its driver has one network, and that is there.
    """
    if len(spec.name) > _LONGEST_NAME or not _NAME.fullmatch(spec.name):
        raise InvalidNameError(
            f"invalid network name {spec.name[:80]!r}: use a letter or digit, then "
            f"[a-zA-Z0-9_.-], at most {_LONGEST_NAME} characters"
        )
    if spec.driver not in {"", "bridge"}:
        if spec.driver in PREDEFINED.values():
            raise PredefinedNetworkError(f'only one instance of "{spec.driver}" network is allowed')
        raise DriverNotFoundError(spec.driver)
    for name, value in (*spec.options.items(), *spec.labels.items()):
        check_text(name, "network option or label")
        check_text(value, f"network option or label {name[:80]}")
    _check_options(spec)
    pools = tuple(filled_pool(pool) for pool in spec.pools if pool.subnet or pool.gateway)
    _check_pools(spec, len(pools), {ip_network(pool.subnet).version for pool in pools})
    subnets = [*kept, *(pool.subnet for other in others for pool in other.subnets)]
    taken = [ip_network(subnet) for subnet in subnets]
    for pool in pools:
        subnet = ip_network(pool.subnet)
        check_networks(subnet, [other for other in taken if other.version == subnet.version])
    return replace(spec, driver="bridge", pools=pools)


def check_bridge_subnet6(text: str, others: Iterable[NetworkRecord]) -> None:
    """Refuse a subnet that is set for the default bridge and that another network has.

    Raises:
        InvalidRequestError: With that network.
    """
    for other in others:
        pool = None if other.name == BRIDGE or not text else pool_of(other.subnets, 6)
        if pool is not None and overlap(ip_network(text), ip_network(pool.subnet)):
            raise InvalidRequestError(
                f"--fixed-cidr-v6 (or TOOLKIT_FIXED_CIDR_V6) {text}: use another network; "
                f"{other.name} has {pool.subnet}"
            )


def check_endpoint(spec: EndpointSpec, record: NetworkRecord | None) -> EndpointSpec:
    """Return what is asked for of a seat; *record* is the network's, if it is there.

    Raises:
        InvalidRequestError: It says something that cannot be.
    """
    if spec.mac:
        check_mac(spec.mac)
    if spec.aliases and record is not None and record.name == BRIDGE:
        raise InvalidRequestError(
            "network-scoped alias is supported only for containers in user defined networks"
        )
    if len(spec.aliases) > _MOST_ALIASES:
        raise InvalidRequestError(f"{len(spec.aliases)} network aliases are too many")
    for alias in spec.aliases:
        check_host_name(alias, "network alias", also="_")
        if not alias:
            raise InvalidRequestError("invalid network alias: it is empty")
    check_link_texts(spec.links)
    for text, kind in ((spec.ipv4, IPv4Address), (spec.ipv6, IPv6Address)):
        if text:
            check_address(text, "address of an endpoint")
            if not isinstance(ip_address(text), kind):
                raise InvalidRequestError(f"invalid address of an endpoint: {text}")
            _check_own_subnet(text, record)
    return spec


def check_mac(text: str) -> None:
    """Refuse what is no MAC of one machine."""
    if not _MAC.fullmatch(text) or int(text[:2], 16) & _MULTICAST_MAC:
        raise InvalidRequestError(f"invalid mac address: {text[:80]!r}")


def _check_own_subnet(text: str, record: NetworkRecord | None) -> None:
    if record is None:
        return
    pool = pool_of(record.spec.pools, ip_address(text).version)
    if pool is None:
        raise InvalidRequestError(
            "invalid endpoint settings: user specified IP address is supported only when "
            "connecting to networks with user configured subnets"
        )
    if ip_address(text) not in ip_network(pool.subnet):
        raise InvalidRequestError(
            f"invalid endpoint settings: no configured subnet contains IP address {text}"
        )


def _check_options(spec: NetworkSpec) -> None:
    mtu_of(spec.options)
    for name in (OPTION_ICC, OPTION_MASQUERADE):
        flag_of(spec.options, name, default=True)
    if spec.options.get(OPTION_NAME):
        LinkName(spec.options[OPTION_NAME])
    if spec.options.get(OPTION_HOST_ADDRESS):
        check_address(spec.options[OPTION_HOST_ADDRESS], OPTION_HOST_ADDRESS)


def _check_pools(spec: NetworkSpec, count: int, versions: set[int]) -> None:
    if count > len(versions):
        raise InvalidRequestError("a network has one subnet of each family at most")
    if 6 in versions and not spec.ipv6:  # noqa: PLR2004 - IPv6
        raise InvalidRequestError("an IPv6 subnet needs IPv6 to be enabled (--ipv6)")
