# SPDX-License-Identifier: Apache-2.0
"""What the firewall is to let through: desired state as data, and who puts it in place.

The engine builds a `FirewallState` from its store; a `Firewall` makes the kernel
agree with it, in one transaction per change. Nothing here is text that a person
gave: addresses, numbers, names of links and ids of containers, each checked when
it is made, so that no rule can be smuggled into a transaction (row S-85).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Protocol

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

    from toolkit.network.firewall_watch import RulesWatch

TransportProtocol = Literal["tcp", "udp", "sctp"]
Family = Literal[4, 6]
FAMILIES: Final[tuple[Family, Family]] = (4, 6)

_LINK_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_CONTAINER_ID: Final = re.compile(r"[0-9a-f]{12,64}")
_PROTOCOLS: Final = frozenset({"tcp", "udp", "sctp"})
_HIGHEST_PORT: Final = 65535


@dataclass(frozen=True)
class LinkName:
    """The name of a link: no blank, no option, no line end."""

    text: str

    def __post_init__(self) -> None:
        if not _LINK_NAME.fullmatch(self.text):
            raise InvalidRequestError(f"no name of a link: {self.text!r}")


@dataclass(frozen=True)
class RuleOwner:
    """The container that a rule was made for; in a rule stands its short id."""

    container_id: str

    def __post_init__(self) -> None:
        if not _CONTAINER_ID.fullmatch(self.container_id):
            raise InvalidRequestError(f"no id of a container: {self.container_id!r}")

    @property
    def short_id(self) -> str:
        """The first twelve digits."""
        return self.container_id[:12]


@dataclass(frozen=True, kw_only=True)
class BridgedNetwork:
    """A network with a bridge: who may pass it.

    Attributes:
        interface: The bridge's IPv4 address with its subnet.
        icc: Containers of the network may speak to each other.
        internal: Nothing leaves the network and nothing comes in.
        masquerade: What leaves has the host's address.
    """

    bridge: LinkName
    interface: IPv4Interface | None
    interface6: IPv6Interface | None = None
    icc: bool = True
    internal: bool = False
    masquerade: bool = True

    def of_family(self, family: Family) -> IPv4Interface | IPv6Interface | None:
        """Return the address of a family."""
        return self.interface if family == FAMILIES[0] else self.interface6


@dataclass(frozen=True, kw_only=True)
class PublishedPort:
    """A port of the host that leads to a container; an unspecified address means each one."""

    owner: RuleOwner
    protocol: TransportProtocol
    host_address: IPv4Address | IPv6Address
    host_port: int
    container_address: IPv4Address | IPv6Address
    container_port: int

    def __post_init__(self) -> None:
        if self.host_address.version != self.container_address.version:
            raise InvalidRequestError("a port leads from one family of addresses into the other")
        _check_protocol(self.protocol)
        _check_port(self.host_port)
        _check_port(self.container_port)

    @property
    def family(self) -> int:
        """The version of the addresses."""
        return self.host_address.version


@dataclass(frozen=True, kw_only=True)
class LinkedPort:
    """A container that may reach a port of another although the network says no (``--link``).

    Attributes:
        owner: The container that uses the link.
        source: Its address.
        destination: The address of the container that is linked to.
    """

    owner: RuleOwner
    bridge: LinkName
    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address
    protocol: TransportProtocol
    port: int

    def __post_init__(self) -> None:
        if self.source.version != self.destination.version:
            raise InvalidRequestError("a link joins addresses of one family")
        _check_protocol(self.protocol)
        _check_port(self.port)

    @property
    def family(self) -> int:
        """The version of the addresses."""
        return self.source.version


@dataclass(frozen=True, kw_only=True)
class FirewallState:
    """All that an instance wants of the firewall.

    Attributes:
        has_proxies: Userland proxies serve 127.0.0.1 and the containers' own way to
            published ports (0.7.2); else the kernel does, which needs
            `forwarding.allow_loopback_nat` on the bridges.
    """

    networks: tuple[BridgedNetwork, ...] = ()
    ports: frozenset[PublishedPort] = field(default_factory=frozenset)
    links: frozenset[LinkedPort] = field(default_factory=frozenset)
    has_proxies: bool = False

    def networks_of(
        self, family: Family
    ) -> list[tuple[BridgedNetwork, IPv4Interface | IPv6Interface]]:
        """Return the networks that have addresses of a family, with those."""
        found = ((network, network.of_family(family)) for network in self.networks)
        return [(network, interface) for network, interface in found if interface is not None]

    def ports_of(self, family: Family) -> frozenset[PublishedPort]:
        """Return the published ports of a family."""
        return frozenset(port for port in self.ports if port.family == family)

    def links_of(self, family: Family) -> list[LinkedPort]:
        """Return the linked ports of a family, in a fixed order."""
        return sorted((link for link in self.links if link.family == family), key=repr)


class Firewall(Protocol):
    """Makes the kernel agree with a `FirewallState`. One caller at a time."""

    def apply(self, previous: FirewallState | None, state: FirewallState) -> None:
        """Change what differs in one transaction; all of it where *previous* is None.

        Rules that are not as *previous* says are written anew.

        Raises:
            FirewallError: The kernel has what it had before.
        """

    def missing(self, state: FirewallState) -> list[str]:
        """Return what is not as it should be, a line each; empty: all is well."""

    def repair(self, state: FirewallState) -> list[str]:
        """Write everything anew if anything is missing, and return what was."""

    def flush(self) -> None:
        """Remove everything of this instance, and nothing else."""

    def expect(self) -> None:
        """Make ready for a change that may come: it is quicker then."""

    def close(self) -> None:
        """End what was made ready; rules stay, and more changes may come."""

    def watch(self, also_ours: Callable[[], frozenset[int]] = frozenset) -> RulesWatch:
        """Return what tells that somebody else has changed rules.

        *also_ours* returns further processes whose changes are no news.
        """


def _check_port(port: int) -> None:
    if not 0 < port <= _HIGHEST_PORT:
        raise InvalidRequestError(f"no port: {port}")


def _check_protocol(protocol: str) -> None:
    if protocol not in _PROTOCOLS:
        raise InvalidRequestError(f"no protocol with ports: {protocol!r}")
