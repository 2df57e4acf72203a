# SPDX-License-Identifier: Apache-2.0
"""The flags of `network create` about addresses, as docker's ``IPAM.Config``. Pure."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network
    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    Pools = dict[Subnet, dict[str, Any]]


def parse_pools(
    subnets: Iterable[str],
    ranges: Iterable[str],
    gateways: Iterable[str],
    auxiliary: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Return a pool for each subnet; ranges and addresses go to the subnet that holds them.

    Raises:
        InvalidRequestError: A text is no address, or no subnet is for it.
    """
    subnets, ranges, gateways = _words(subnets), _words(ranges), _words(gateways)
    if len(subnets) < len(ranges) or len(subnets) < len(gateways):
        raise InvalidRequestError("every ip-range or gateway must have a corresponding subnet")
    pools = _pools_of(subnets)
    for text in ranges:
        found = _network(text)
        pool = _pool_for(pools, found.network_address, f"range {text}")
        if "IPRange" in pool:
            raise InvalidRequestError(
                f"cannot configure multiple ranges ({text}, {pool['IPRange']}) on the same "
                f"subnet ({pool['Subnet']})"
            )
        pool["IPRange"] = text
    for text in gateways:
        pool = _pool_for(pools, _address(text), f"gateway {text}")
        if "Gateway" in pool:
            raise InvalidRequestError(
                f"cannot configure multiple gateways ({text}, {pool['Gateway']}) for the same "
                f"subnet ({pool['Subnet']})"
            )
        pool["Gateway"] = text
    for name, text in auxiliary.items():
        pool = _pool_for(pools, _address(text), f"aux-address {text}")
        pool.setdefault("AuxiliaryAddresses", {})[name] = text
    return list(pools.values())


def _words(texts: Iterable[str]) -> list[str]:
    """Return texts that may each be several, between commas."""
    return [word.strip() for text in texts for word in text.split(",")]


def _pools_of(subnets: Iterable[str]) -> Pools:
    pools: Pools = {}
    for text in subnets:
        subnet = _network(text)
        if any(each.version == subnet.version and each.overlaps(subnet) for each in pools):
            raise InvalidRequestError("multiple overlapping subnet configuration is not supported")
        pools[subnet] = {"Subnet": text}
    return pools


def _pool_for(pools: Pools, address: Address, what: str) -> dict[str, Any]:
    for subnet, pool in pools.items():
        if address in subnet:
            return pool
    raise InvalidRequestError(f"no matching subnet for {what}")


def _network(text: str) -> Subnet:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InvalidRequestError(f"invalid subnet {text!r}: use 10.1.0.0/16") from None


def _address(text: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise InvalidRequestError(f"invalid address {text!r}") from None
