# SPDX-License-Identifier: Apache-2.0
"""From the engine's texts to what `toolkit.network` takes, and back; decides nothing."""

from __future__ import annotations

import os
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING, Final, TypeVar

from toolkit.engine.model import EndpointId, EndpointRecord, PoolSpec, PublishedPort
from toolkit.engine.network_index import BRIDGE
from toolkit.errors import InvalidRequestError
from toolkit.network.bridge import DEFAULT_MTU, Seat, SeatRequest
from toolkit.network.bridge_plan import BridgePlan
from toolkit.network.firewall import BridgedNetwork, LinkName, RuleOwner
from toolkit.network.firewall import PublishedPort as PortRule
from toolkit.network.ports import HostPort, PortWish, wishes_of
from toolkit.network.subnets import parse_subnet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from toolkit.engine.model import ContainerRecord, EndpointSpec, NetworkRecord
    from toolkit.engine.network_settings import NetworkSettings
    from toolkit.network import ports
    from toolkit.network.bridge import Bridge
    from toolkit.network.link_names import LinkOwner

OPTION_NAME: Final = "com.docker.network.bridge.name"
OPTION_ICC: Final = "com.docker.network.bridge.enable_icc"
OPTION_MASQUERADE: Final = "com.docker.network.bridge.enable_ip_masquerade"
OPTION_HOST_ADDRESS: Final = "com.docker.network.bridge.host_binding_ipv4"
OPTION_DEFAULT: Final = "com.docker.network.bridge.default_bridge"
OPTION_MTU: Final = "com.docker.network.driver.mtu"
_ENDPOINT_BYTES: Final = 32
_FALSE: Final = frozenset(("false", "0", "f", "F", "False", "FALSE"))
_TRUE: Final = frozenset(("true", "1", "t", "T", "True", "TRUE", ""))

_Network = TypeVar("_Network", "IPv4Network", "IPv6Network")


def plan_of(
    record: NetworkRecord,
    settings: NetworkSettings,
    instance_name: str,
    *,
    avoided: Iterable[IPv4Network] = (),
    avoided6: Iterable[IPv6Network] = (),
    taken: Iterable[str] = (),
) -> BridgePlan:
    """Return what a network is to be on the host."""
    spec = record.spec
    interface, interface6 = _interfaces_of(record, settings)
    is_default = spec.name == BRIDGE
    link_name = spec.options.get(OPTION_NAME, "")
    part = _range_of(pool_of(record.subnets, 4), IPv4Network)
    if is_default and settings.fixed_cidr:
        part = IPv4Network(settings.fixed_cidr)
    held = [*taken, *(a for pool in record.subnets for a in pool.auxiliary.values())]
    return BridgePlan(
        network_id=record.id,
        interface=interface,
        interface6=interface6,
        wants_ipv6=spec.ipv6,
        link_name=f"{instance_name}0" if is_default else link_name,
        mtu=mtu_of(spec.options, settings.mtu),
        has_gateway=not spec.internal,
        is_default=is_default,
        avoided=tuple(avoided),
        avoided6=tuple(avoided6),
        allocatable=part,
        allocatable6=_range_of(pool_of(record.subnets, 6), IPv6Network),
        taken=tuple(ip_address(text) for text in held if text),
        last=_last_of(record, taken),
    )


def _interfaces_of(
    record: NetworkRecord, settings: NetworkSettings
) -> tuple[IPv4Interface | None, IPv6Interface | None]:
    """Return the gateways of a network with their subnets; None: not chosen yet, or none."""
    pool4, pool6 = pool_of(record.subnets, 4), pool_of(record.subnets, 6)
    four = None if pool4 is None else _interface_text(pool4)
    six = None if pool6 is None else _interface_text(pool6)
    if record.name == BRIDGE:
        four = settings.bridge_address or four
        if settings.fixed_cidr_v6:
            six = _interface_text(filled_pool(PoolSpec(subnet=settings.fixed_cidr_v6)))
    return IPv4Interface(four) if four else None, IPv6Interface(six) if six else None


def _last_of(record: NetworkRecord, taken: Iterable[str]) -> IPv4Address | None:
    """Return the address behind which to go on: the stored one, after a crash the highest."""
    addresses = [ip_address(text) for text in taken if text]
    highest = max((each for each in addresses if each.version == 4), default=None)  # noqa: PLR2004
    stored = IPv4Address(record.last_ipv4) if record.last_ipv4 else None
    return max((each for each in (stored, highest) if each is not None), default=None)


def pools_of(plan: BridgePlan, asked: Iterable[PoolSpec]) -> tuple[PoolSpec, ...]:
    """Return the subnets of a network as it was made."""
    made = []
    asked = tuple(asked)
    for interface in (plan.interface, plan.interface6):
        if interface is not None:
            known = pool_of(asked, interface.version) or PoolSpec(subnet="")
            made.append(
                PoolSpec(
                    subnet=str(interface.network),
                    ip_range=known.ip_range,
                    gateway=str(interface.ip),
                    auxiliary=known.auxiliary,
                )
            )
    return tuple(made)


def pool_of(pools: Iterable[PoolSpec], version: int) -> PoolSpec | None:
    """Return the pool of a family."""
    return next((pool for pool in pools if ip_network(pool.subnet).version == version), None)


def filled_pool(pool: PoolSpec) -> PoolSpec:
    """Return a pool with its gateway, the first address unless another was asked for.

    Raises:
        InvalidRequestError: Something of it is no address, or outside the subnet.
    """
    subnet = parse_subnet(pool.subnet)
    gateway = _inside(pool.gateway, subnet) if pool.gateway else subnet.network_address + 1
    for address in pool.auxiliary.values():
        _inside(address, subnet)
    if pool.ip_range:
        part = _network(pool.ip_range)
        if part.version != subnet.version or part.network_address not in subnet:
            raise InvalidRequestError(f"invalid ip-range {pool.ip_range}: not in {subnet}")
    return PoolSpec(
        subnet=str(subnet),
        ip_range=pool.ip_range,
        gateway=str(gateway),
        auxiliary=pool.auxiliary,
    )


def bridged(record: NetworkRecord, bridge: Bridge, settings: NetworkSettings) -> BridgedNetwork:
    """Return what the firewall is to know of a network."""
    options = record.spec.options
    icc = settings.icc if record.name == BRIDGE else True
    return BridgedNetwork(
        bridge=LinkName(bridge.spec.link_name),
        interface=bridge.spec.interface,
        interface6=bridge.spec.interface6,
        icc=flag_of(options, OPTION_ICC, default=icc),
        internal=record.spec.internal,
        masquerade=flag_of(options, OPTION_MASQUERADE, default=True),
    )


def default_bridge_options(settings: NetworkSettings, instance_name: str) -> dict[str, str]:
    """Return what the default bridge is, in the words of docker's driver options."""
    return {
        OPTION_DEFAULT: "true",
        OPTION_ICC: "true" if settings.icc else "false",
        OPTION_MASQUERADE: "true",
        OPTION_HOST_ADDRESS: settings.publish_address,
        OPTION_NAME: f"{instance_name}0",
        OPTION_MTU: str(settings.mtu),
    }


def flag_of(options: dict[str, str], name: str, *, default: bool) -> bool:
    """Return an option that is true or false.

    Raises:
        InvalidRequestError: It is neither.
    """
    text = options.get(name)
    if text is None:
        return default
    if text not in _TRUE | _FALSE:
        raise InvalidRequestError(f"invalid value for option {name}: {text[:80]!r}")
    return text in _TRUE


def mtu_of(options: dict[str, str], default: int = DEFAULT_MTU) -> int:
    """Return the MTU that options name, bytes.

    Raises:
        InvalidRequestError: It is none that IPv6 and a veth can have.
    """
    text = options.get(OPTION_MTU, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and 1280 <= int(text[:6]) <= 65535):  # noqa: PLR2004 - RFC 8200, veth
        raise InvalidRequestError(f"invalid MTU {text[:20]!r}: use 1280 to 65535")
    return int(text)


def seat_request(container_id: str, interface: str, spec: EndpointSpec, mac: str) -> SeatRequest:
    """Return what a container asks of a bridge."""
    return SeatRequest(
        container_id=container_id,
        interface_name=interface,
        address=IPv4Address(spec.ipv4) if spec.ipv4 else None,
        address6=IPv6Address(spec.ipv6) if spec.ipv6 else None,
        mac=(spec.mac or mac).lower().replace("-", ":"),
    )


def endpoint_of(
    record: NetworkRecord, bridge: Bridge, seat: Seat, *, has_default_route: bool
) -> EndpointRecord:
    """Return a seat as the store keeps it."""
    spec = bridge.spec
    return EndpointRecord(
        network_id=record.id,
        id=EndpointId(os.urandom(_ENDPOINT_BYTES).hex()),
        interface=seat.interface_name,
        link=seat.link_name,
        ipv4=str(seat.address.ip),
        prefix_length=seat.address.network.prefixlen,
        gateway=str(spec.interface.ip) if spec.has_gateway else "",
        mac=seat.mac,
        ipv6=str(seat.address6.ip) if seat.address6 else "",
        ipv6_prefix_length=seat.address6.network.prefixlen if seat.address6 else 0,
        ipv6_gateway=str(spec.interface6.ip) if spec.interface6 and spec.has_gateway else "",
        has_default_route=has_default_route,
    )


def seat_of(endpoint: EndpointRecord, owner: LinkOwner) -> Seat:
    """Return a stored seat as the host knows it."""
    six = f"{endpoint.ipv6}/{endpoint.ipv6_prefix_length}"
    return Seat(
        owner=owner,
        link_name=endpoint.link,
        address=IPv4Interface(f"{endpoint.ipv4}/{endpoint.prefix_length}"),
        address6=IPv6Interface(six) if endpoint.ipv6 else None,
        mac=endpoint.mac,
        interface_name=endpoint.interface,
    )


def port_wishes(record: ContainerRecord, address: str) -> list[PortWish]:
    """Return what a container wishes to have published (rules 6.33 to 6.35).

    Raises:
        InvalidPortError: A port or an address is none.
    """
    host = record.spec.host
    bindings = {
        port: [(each.host_ip, _port_text(each.host_port, each.last_host_port)) for each in given]
        for port, given in host.published_ports.items()
    }
    return wishes_of(
        record.spec.exposed_ports,
        bindings,
        publish_all=host.publish_all_ports,
        default_address=ip_address(address),
    )


def published(port: ports.PublishedPort) -> PublishedPort:
    """Return a port of the host as the store keeps it."""
    return PublishedPort(
        container_port=port.container_port,
        protocol=port.host.protocol,
        host_ip=str(port.host.address),
        host_port=port.host.port,
    )


def host_port(port: PublishedPort) -> HostPort:
    """Return a stored port as the allocator knows it."""
    return HostPort(port.protocol, ip_address(port.host_ip), port.host_port)


def port_rules(
    container_id: str, published_ports: Iterable[PublishedPort], endpoints: Sequence[EndpointRecord]
) -> frozenset[PortRule]:
    """Return the rules for published ports; from one family into the other goes the proxy."""
    rules = set()
    for port in published_ports:
        host = ip_address(port.host_ip)
        inside = address_for(host.version, endpoints)
        if inside is not None and not (host.version != 4 and host.is_loopback):  # noqa: PLR2004
            rules.add(
                PortRule(
                    owner=RuleOwner(container_id),
                    protocol=port.protocol,
                    host_address=host,
                    host_port=port.host_port,
                    container_address=inside,
                    container_port=port.container_port,
                )
            )
    return frozenset(rules)


def address_for(
    version: int, endpoints: Sequence[EndpointRecord]
) -> IPv4Address | IPv6Address | None:
    """Return the address at which published ports of a family reach a container.

    That of the network with the default route: the answers leave there.
    """
    for endpoint in sorted(endpoints, key=lambda each: not each.has_default_route):
        text = endpoint.ipv4 if version == 4 else endpoint.ipv6  # noqa: PLR2004 - IPv4
        if text:
            return ip_address(text)
    return None


def _port_text(first: int, last: int) -> str:
    if not first:
        return ""
    return f"{first}-{last}" if last > first else str(first)


def _interface_text(pool: PoolSpec) -> str:
    return f"{pool.gateway}/{ip_network(pool.subnet).prefixlen}"


def _range_of(pool: PoolSpec | None, kind: type[_Network]) -> _Network | None:
    return kind(pool.ip_range, strict=False) if pool is not None and pool.ip_range else None


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise InvalidRequestError(f"invalid subnet {text[:80]!r}") from None


def _inside(text: str, subnet: IPv4Network | IPv6Network) -> IPv4Address | IPv6Address:
    try:
        address = ip_address(text)
    except ValueError:
        raise InvalidRequestError(f"invalid address {text[:80]!r}") from None
    if address not in subnet or address in {subnet.network_address, subnet.broadcast_address}:
        raise InvalidRequestError(f"invalid address {text}: no address for a host in {subnet}")
    return address
