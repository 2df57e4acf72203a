# SPDX-License-Identifier: Apache-2.0
"""Networks, and what a container shows of them."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from toolkit.api.times import rfc3339_nano
from toolkit.engine.model import EndpointSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toolkit.config import Instance
    from toolkit.engine.model import (
        AttachedContainer,
        ContainerRecord,
        EndpointRecord,
        Network,
        PoolSpec,
    )

BRIDGE: Final = "bridge"
PREDEFINED: Final = frozenset({BRIDGE, "host", "none"})
_CONTAINER: Final = "container:"
_NO_PORTS: Final = frozenset({"host", "none"})
_SHORT_ID: Final = 12
_COPIED: Final = (
    "EndpointID",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "MacAddress",
)


def network_object(network: Network, *, with_containers: bool) -> dict[str, Any]:
    """Return a network as docker shows it; lists say nothing about containers."""
    attached = network.endpoints if with_containers else ()
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339_nano(network.created),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": True,
        "EnableIPv6": network.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": None,
            "Config": [_pool(pool) for pool in network.subnets],
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {each.container_id: _attached(each) for each in attached},
        "Options": network.options,
        "Labels": network.labels,
    }


def _pool(pool: PoolSpec) -> dict[str, Any]:
    """Return one of ``IPAM.Config``; what is empty is left out."""
    document = {
        "Subnet": pool.subnet,
        "IPRange": pool.ip_range,
        "Gateway": pool.gateway,
        "AuxiliaryAddresses": pool.auxiliary,
    }
    return {name: value for name, value in document.items() if value}


def _attached(container: AttachedContainer) -> dict[str, str]:
    """Return one of a network's ``Containers``."""
    return {
        "Name": container.container_name,
        "EndpointID": container.endpoint_id,
        "MacAddress": container.mac,
        "IPv4Address": container.ipv4,
        "IPv6Address": container.ipv6,
    }


def network_names(record: ContainerRecord) -> list[str]:
    """Return the networks that a container is on, or is to be on when it runs, by name.

    One that was taken off all of them shows none while it runs.
    """
    mode = record.spec.host.network_mode
    names = {*record.spec.endpoints, *record.endpoints}
    is_implied = mode in _NO_PORTS or not (names or record.state.pid)
    if is_implied and not mode.startswith(_CONTAINER):
        names.add(mode)
    return sorted(names)


def endpoints(record: ContainerRecord, network_ids: Mapping[str, str]) -> dict[str, Any]:
    """Return ``Networks``: the container's seat on each of its networks.

    Args:
        record: The container.
        network_ids: Of the networks that there are, by name.
    """
    return {
        name: _endpoint(record, name, network_ids.get(name, "")) for name in network_names(record)
    }


def _endpoint(record: ContainerRecord, name: str, network_id: str) -> dict[str, Any]:
    """Return the seat on one network: what was asked for, and what it has while it runs."""
    wish = record.spec.endpoints.get(name, EndpointSpec())
    if not wish.mac and name == record.spec.host.network_mode:
        wish = replace(wish, mac=record.spec.mac_address)
    return {
        "IPAMConfig": _wished_addresses(wish),
        "Links": list(wish.links) or None,
        "Aliases": _aliases(record, name, wish),
        "DriverOpts": wish.driver_options or None,
        "NetworkID": network_id,
        **_seat(record.endpoints.get(name), wish),
        "DNSNames": _dns_names(record, name, wish),
    }


def _seat(seat: EndpointRecord | None, wish: EndpointSpec) -> dict[str, Any]:
    """Return the addresses of a seat; none for a container that does not run."""
    return {
        "MacAddress": seat.mac if seat else wish.mac,
        "EndpointID": seat.id if seat else "",
        "Gateway": seat.gateway if seat else "",
        "IPAddress": seat.ipv4 if seat else "",
        "IPPrefixLen": seat.prefix_length if seat else 0,
        "IPv6Gateway": seat.ipv6_gateway if seat else "",
        "GlobalIPv6Address": seat.ipv6 if seat else "",
        "GlobalIPv6PrefixLen": seat.ipv6_prefix_length if seat else 0,
    }


def _wished_addresses(wish: EndpointSpec) -> dict[str, str] | None:
    """Return ``IPAMConfig``."""
    addresses = {"IPv4Address": wish.ipv4, "IPv6Address": wish.ipv6}
    return {name: value for name, value in addresses.items() if value} or None


def _aliases(record: ContainerRecord, name: str, wish: EndpointSpec) -> list[str] | None:
    """Return ``Aliases``: before API 1.45 the short id is one on a user network."""
    if name in PREDEFINED:
        return list(wish.aliases) or None
    return _unique(*wish.aliases, record.id[:_SHORT_ID])


def _dns_names(record: ContainerRecord, name: str, wish: EndpointSpec) -> list[str] | None:
    """Return every name that others on a user network find it by."""
    if name in PREDEFINED:
        return None
    names = (record.name, *wish.aliases, record.id[:_SHORT_ID], record.spec.hostname)
    return _unique(*(each for each in names if each))


def _unique(*names: str) -> list[str]:
    """Return names, each once, in their order."""
    return list(dict.fromkeys(names))


def network_settings(
    record: ContainerRecord, instance: Instance, network_ids: Mapping[str, str]
) -> dict[str, Any]:
    """Return ``NetworkSettings`` of an inspect document."""
    networks = endpoints(record, network_ids)
    empty = _seat(None, EndpointSpec())
    on_bridge = networks.get(BRIDGE, empty) if record.endpoints else empty
    runs = bool(record.state.pid)
    return {
        "Bridge": instance.bridge_name if BRIDGE in record.endpoints else "",
        "SandboxID": _sandbox_id(record) if runs else "",
        "SandboxKey": f"/proc/{record.state.pid}/ns/net" if runs else "",
        "Ports": port_map(record),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **{name: on_bridge[name] for name in _COPIED},
        "Networks": networks,
    }


def _sandbox_id(record: ContainerRecord) -> str:
    """Return an id of the network namespace that a run of a container has."""
    return sha256(f"{record.id}/{record.state.start_time_ticks}".encode()).hexdigest()


def port_map(record: ContainerRecord) -> dict[str, list[dict[str, str]] | None]:
    """Return ``Ports``: what a running container exposes, and where it is published."""
    if not record.state.pid or not _has_ports(record):
        return {}
    ports: dict[str, list[dict[str, str]] | None] = dict.fromkeys(record.spec.exposed_ports)
    for port in record.ports:
        binding = {"HostIp": port.host_ip, "HostPort": str(port.host_port)}
        ports[port.exposed] = [*(ports.get(port.exposed) or ()), binding]
    return dict(sorted(ports.items()))


def _has_ports(record: ContainerRecord) -> bool:
    """Say whether a container has ports of its own: not where it has another's network, or none."""
    mode = record.spec.host.network_mode
    return mode not in _NO_PORTS and not mode.startswith(_CONTAINER)


def ports_of_list(record: ContainerRecord) -> list[dict[str, Any]]:
    """Return ``Ports`` of a list entry."""
    ports: list[dict[str, Any]] = []
    for exposed, bindings in port_map(record).items():
        number, _, protocol = exposed.partition("/")
        private: dict[str, Any] = {"PrivatePort": int(number), "Type": protocol}
        if bindings is None:
            ports.append(private)
        ports += (
            {"IP": each["HostIp"], "PublicPort": int(each["HostPort"]), **private}
            for each in bindings or ()
        )
    return ports
