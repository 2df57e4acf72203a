# SPDX-License-Identifier: Apache-2.0
"""What a network is, as values, and what a container has of one.

Frozen data only, as in `toolkit.engine.model`, which gives these names on.
Addresses are texts: they are checked where they come in, and made numbers where
the host is touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - msgspec reads the annotations at run time
from typing import Literal, NewType

NetworkId = NewType("NetworkId", str)
EndpointId = NewType("EndpointId", str)


@dataclass(frozen=True, kw_only=True)
class PoolSpec:
    """Addresses of a network: a subnet in CIDR form, and what is said about it.

    Attributes:
        ip_range: The part that addresses are handed out from; empty for all of it.
        gateway: Empty in a request: the first address.
        auxiliary: Addresses that are somebody else's, by name.
    """

    subnet: str
    ip_range: str = ""
    gateway: str = ""
    auxiliary: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """What was asked for at the making of a network.

    Attributes:
        pools: One for each family at most; empty lets the engine choose.
        options: docker's driver options, e.g. ``com.docker.network.bridge.enable_icc``.
    """

    name: str
    driver: str = "bridge"
    internal: bool = False
    ipv6: bool = False
    attachable: bool = False
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    pools: tuple[PoolSpec, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NetworkRecord:
    """Everything the store keeps of a network.

    Attributes:
        subnets: Those it has, with their gateways; none for ``host`` and ``none``, and for
            the default bridge until a container needs it.
        last_ipv4: The address that was handed out last (rule 6.16).
    """

    id: NetworkId
    created: datetime
    spec: NetworkSpec
    subnets: tuple[PoolSpec, ...] = ()
    last_ipv4: str = ""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.spec.name


@dataclass(frozen=True, kw_only=True)
class EndpointSpec:
    """What a person asked for of a container's seat on a network; empty lets the engine choose.

    Attributes:
        aliases: Further names of the container on this network.
        links: ``name:alias`` texts.
    """

    aliases: tuple[str, ...] = ()
    ipv4: str = ""
    ipv6: str = ""
    mac: str = ""
    links: tuple[str, ...] = ()
    driver_options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EndpointRecord:
    """The seat on a network that a running container has.

    Attributes:
        interface: Of the container's end, e.g. ``eth0``.
        link: Of our end of the veth.
        has_default_route: What leaves the container goes this way.
    """

    network_id: NetworkId
    id: EndpointId
    interface: str
    link: str
    ipv4: str
    prefix_length: int
    gateway: str
    mac: str
    ipv6: str = ""
    ipv6_prefix_length: int = 0
    ipv6_gateway: str = ""
    has_default_route: bool = False


@dataclass(frozen=True, kw_only=True)
class PublishedPort:
    """A port of the host that leads to a port of a running container."""

    container_port: int
    protocol: Literal["tcp", "udp"]
    host_ip: str
    host_port: int

    @property
    def exposed(self) -> str:
        """The container's port as docker writes it: ``80/tcp``."""
        return f"{self.container_port}/{self.protocol}"


@dataclass(frozen=True, kw_only=True)
class AttachedContainer:
    """A running container on a network; addresses in CIDR form, empty for none."""

    container_id: str
    container_name: str
    endpoint_id: EndpointId
    mac: str
    ipv4: str
    ipv6: str = ""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network as it is now.

    Attributes:
        driver: ``bridge``, ``host`` or ``null``.
        endpoints: The running containers on it, by name.
    """

    id: NetworkId
    name: str
    driver: str
    created: datetime
    internal: bool = False
    ipv6: bool = False
    attachable: bool = False
    subnets: tuple[PoolSpec, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    endpoints: tuple[AttachedContainer, ...] = ()
