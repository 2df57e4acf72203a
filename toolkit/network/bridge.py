# SPDX-License-Identifier: Apache-2.0
"""The bridge of one network: made, found again, mended, and its seats.

A seat is a container's place on the bridge: its addresses and MAC, decided
before anything is done, so that the store can hold the intent. `endpoint` turns
a seat into a link. A bridge that somebody deleted, renamed, took down or robbed
of its address is mended at the next `ensure`, and its ports are plugged in again.
"""

from __future__ import annotations

import errno
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_interface
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolkit.errors import LinkError, LinkNameInUseError
from toolkit.network.addresses import AddressPool, mac_of
from toolkit.network.link_names import LinkOwner
from toolkit.network.spoof_guard import NoGuard, SpoofGuard

if TYPE_CHECKING:
    from toolkit.network.conntrack import ConnectionTable
    from toolkit.network.interfaces import Link
    from toolkit.network.rtnetlink import NetworkStack

DEFAULT_MTU: Final = 1500
_SYSCTL: Final = Path("/proc/sys/net")


@dataclass(frozen=True, kw_only=True)
class BridgeSpec:
    """What a bridge is to be.

    Attributes:
        owner: Instance and network.
        name: Of the link; empty for the derived one.
        interface: The bridge's IPv4 address with its subnet: the gateway of the containers.
        interface6: The same in IPv6; None: containers have no IPv6 at all.
        has_gateway: Containers send what is not for them to the bridge; not on an internal network.
    """

    owner: LinkOwner
    interface: IPv4Interface
    interface6: IPv6Interface | None = None
    name: str = ""
    mtu: int = DEFAULT_MTU
    has_gateway: bool = True

    @property
    def link_name(self) -> str:
        """The name of the link."""
        return self.name or self.owner.link_name()

    @property
    def interfaces(self) -> tuple[IPv4Interface | IPv6Interface, ...]:
        """The addresses that the bridge has."""
        return (self.interface, self.interface6) if self.interface6 else (self.interface,)


@dataclass(frozen=True, kw_only=True)
class Seat:
    """A container's place on a network.

    Attributes:
        link_name: Of our end of the veth.
        interface_name: Of the container's end.
    """

    owner: LinkOwner
    link_name: str
    address: IPv4Interface
    address6: IPv6Interface | None = None
    mac: str
    interface_name: str = "eth0"

    @property
    def interfaces(self) -> tuple[IPv4Interface | IPv6Interface, ...]:
        """The addresses with their subnets."""
        return (self.address, self.address6) if self.address6 else (self.address,)

    @property
    def addresses(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """The bare addresses."""
        return tuple(interface.ip for interface in self.interfaces)


@dataclass(frozen=True, kw_only=True)
class SeatRequest:
    """What a container asks for; None and empty leave the choice to the bridge."""

    container_id: str
    interface_name: str = "eth0"
    address: IPv4Address | None = None
    address6: IPv6Address | None = None
    mac: str = ""


@dataclass(kw_only=True)
class Bridge:
    """A network's bridge in this network namespace."""

    spec: BridgeSpec
    stack: NetworkStack
    addresses: AddressPool
    addresses6: AddressPool | None = None
    flows: ConnectionTable | None = None
    guard: SpoofGuard = field(default_factory=NoGuard)

    def ensure(self) -> int:
        """Return the index of the bridge, which is up and has its addresses; make or mend it.

        Raises:
            LinkNameInUseError: The name belongs to a link that is not this bridge.
        """
        link = self.stack.link(self.spec.link_name) or self._find_renamed()
        if link is None:
            return self._create()
        if link.kind != "bridge" or link.alias not in {"", self.spec.owner.alias}:
            raise LinkNameInUseError(link.name)
        self._mend(link)
        return link.index

    def repair(self) -> list[str]:
        """Mend the bridge, plug in every port that has come loose, and name those."""
        return self._plug_in_again(self.ensure())

    def remove_other_ipv6(self) -> None:
        """Take away what a bridge that was ours before has of IPv6 and is not to have now.

        For a network whose IPv6 can be set anew; a bridge that somebody else made keeps all.
        """
        link = self.stack.link(self.spec.link_name)
        if link is None or link.alias != self.spec.owner.alias:
            return
        if self.spec.interface6 is None:  # its addresses, the link-local one too, go with it
            write_sysctl(f"ipv6/conf/{link.name}/disable_ipv6", "1")
            return
        for interface in self.stack.addresses(link.index):
            is_other = isinstance(interface, IPv6Interface) and interface != self.spec.interface6
            if is_other and not interface.is_link_local:
                self.stack.delete_address(link.index, interface)

    def remove(self) -> None:
        """Delete the bridge; one that is not there is as good."""
        self.stack.delete_link(self.spec.link_name)

    def ports(self) -> dict[str, Link]:
        """Return our ends of the containers' veths, by container id, plugged in or not."""
        owners = ((LinkOwner.of(link.alias), link) for link in self.stack.links())
        mine = self.spec.owner
        return {
            owner.container_id: link
            for owner, link in owners
            if owner
            and owner.container_id
            and (owner.instance, owner.network_id) == (mine.instance, mine.network_id)
        }

    def reserve_seat(self, request: SeatRequest) -> Seat:
        """Return a place on the bridge, its addresses held.

        Raises:
            AddressPoolExhaustedError: There is none.
            AddressInUseError: The wanted address is held.
        """
        mine = self.spec.owner
        owner = LinkOwner(mine.instance, mine.network_id, request.container_id)
        address = self.addresses.reserve(request.address)
        address6 = None
        if self.addresses6 and self.spec.interface6:
            try:
                six = self.addresses6.reserve(request.address6)
            except Exception:
                self.addresses.release(address)
                raise
            prefix = self.spec.interface6.network.prefixlen
            address6 = IPv6Interface((int(six), prefix))
        four = IPv4Interface((int(address), self.spec.interface.network.prefixlen))
        return Seat(
            owner=owner,
            link_name=owner.link_name(),
            address=four,
            address6=address6,
            mac=request.mac or mac_of(four.ip),
            interface_name=request.interface_name,
        )

    def release_seat(self, seat: Seat) -> None:
        """Let go of a seat's addresses; forget who was told about them."""
        for address in seat.addresses:
            if self.flows:
                self.flows.forget(address)
            index = self.stack.link(self.spec.link_name)
            if index:
                self.stack.forget_neighbour(index.index, address)
        self.addresses.release(seat.address.ip)
        if self.addresses6 and seat.address6:
            self.addresses6.release(seat.address6.ip)

    def _create(self) -> int:
        name = self.spec.link_name
        # An address of its own: else it takes that of a port, and changes it with the ports.
        self.stack.create_bridge(name, mac=_random_mac(), mtu=self.spec.mtu)
        link = self.stack.link(name)
        if link is None:
            raise LinkError("create bridge", name, errno.ENODEV)
        if self.spec.interface6 is None:
            write_sysctl(f"ipv6/conf/{name}/disable_ipv6", "1")
        write_sysctl(f"ipv6/conf/{name}/accept_ra", "0")
        self._mend(link)
        self._plug_in_again(link.index)
        return link.index

    def _find_renamed(self) -> Link | None:
        """Find the bridge under another name, and give it its own again."""
        alias = self.spec.owner.alias
        for link in self.stack.links():
            if link.alias == alias and link.kind == "bridge":
                self.stack.set_down(link.index)
                self.stack.rename(link.index, self.spec.link_name)
                return self.stack.link(self.spec.link_name)
        return None

    def _mend(self, link: Link) -> None:
        if link.alias != self.spec.owner.alias:
            self.stack.set_alias(link.index, self.spec.owner.alias)
        if link.mtu != self.spec.mtu:
            self.stack.set_mtu(link.index, self.spec.mtu)
        if not link.is_up:
            self.stack.set_up(link.index)
        has = self.stack.addresses(link.index)
        for interface in self.spec.interfaces:
            if interface not in has:
                if interface == self.spec.interface6:
                    write_sysctl(f"ipv6/conf/{link.name}/disable_ipv6", "0")
                self.stack.add_address(link.index, interface)

    def _plug_in_again(self, index: int) -> list[str]:
        loose = {owner: link for owner, link in self.ports().items() if link.master != index}
        for link in loose.values():
            self.stack.set_master(link.index, index)
            self.stack.set_up(link.index)
            self.stack.settle(link.name)
        if loose:
            self.stack.settle(self.spec.link_name)
        return list(loose)


def existing_interface(stack: NetworkStack, name: str) -> IPv4Interface | None:
    """Return the first IPv4 address of a link that is there already (rule 6.3)."""
    link = stack.link(name)
    found = stack.addresses(link.index) if link else []
    return next((address for address in found if isinstance(address, IPv4Interface)), None)


def write_sysctl(path: str, value: str) -> bool:
    """Set a parameter of this thread's network namespace; tell whether it is set now."""
    file = _SYSCTL / path
    with suppress(OSError):
        if file.read_text(encoding="ascii").strip() != value:
            file.write_text(value, encoding="ascii")
        return True
    return False


def interface_of(address: str, prefix_length: int) -> IPv4Interface | IPv6Interface:
    """Return an address with its subnet."""
    return ip_interface(f"{address}/{prefix_length}")


def _random_mac() -> str:
    return "02:42:" + secrets.token_bytes(4).hex(":")
