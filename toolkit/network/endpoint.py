# SPDX-License-Identifier: Apache-2.0
"""A container's end of a network: a veth from the bridge into its namespace.

Owns one link, what stands on it inside, and what the guard knows of it. The
addresses are the seat's, and stay held until `Bridge.release_seat`: the engine
writes its intent between the two. A failure half-way leaves nothing.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from toolkit.errors import LinkError
from toolkit.network.address_news import AddressNews
from toolkit.network.bridge import write_sysctl
from toolkit.network.interfaces import VethPair
from toolkit.network.link_names import LinkOwner
from toolkit.network.netlink import in_network_namespace, index_of
from toolkit.network.rtnetlink import NetworkStack

if TYPE_CHECKING:
    from toolkit.network.bridge import Bridge, Seat
    from toolkit.network.spoof_guard import SpoofGuard

_ATTEMPTS: Final = 4


@dataclass(frozen=True)
class Endpoint:
    """A seat that is connected.

    Attributes:
        link: Name of our end, plugged into the bridge.
    """

    seat: Seat
    link: str
    _undo: ExitStack = field(repr=False, compare=False)

    @classmethod
    def connect(
        cls, bridge: Bridge, seat: Seat, netns_fd: int, *, default_route: bool = True
    ) -> Self:
        """Connect a network namespace, or leave no trace of having tried.

        With *default_route* what leaves the container goes through this network,
        unless the network is internal; one network of a container has it.

        Raises:
            LinkError: With the step that failed; EEXIST where the interface is there already.
        """
        with ExitStack() as undo:
            index = bridge.ensure()
            link = _create_veth(bridge, seat, index, netns_fd)
            undo.callback(bridge.stack.delete_link, link)
            bridge.guard.admit(link, seat.mac, seat.addresses)
            undo.callback(bridge.guard.dismiss, link)
            routed = default_route and bridge.spec.has_gateway
            in_network_namespace(netns_fd, lambda: _configure(bridge, seat, with_routes=routed))
            bridge.stack.settle(link)
            bridge.stack.settle(bridge.spec.link_name)  # its first port gives it a carrier
            return cls(seat, link, undo.pop_all())

    @classmethod
    def find(cls, bridge: Bridge, seat: Seat) -> Self | None:
        """Return the endpoint that an earlier engine connected, if its link is still there."""
        link = bridge.ports().get(seat.owner.container_id)
        if link is None:
            return None
        with ExitStack() as undo:
            undo.callback(bridge.stack.delete_link, link.name)
            bridge.guard.admit(link.name, seat.mac, seat.addresses)
            undo.callback(bridge.guard.dismiss, link.name)
            return cls(seat, link.name, undo.pop_all())

    def disconnect(self) -> None:
        """Remove the link, and what the guard knew; a second call does nothing.

        Takes 20-40 ms where the namespace still lives: do it after the answer.
        """
        self._undo.close()

    def let_go(self, guard: SpoofGuard) -> None:
        """Forget the link, which goes with its namespace: nothing is deleted."""
        self._undo.pop_all()
        guard.dismiss(self.link)


def add_default_route(bridge: Bridge, netns_fd: int) -> None:
    """Let a container that is connected already leave through this network.

    For when the network that had the default route was disconnected.
    """

    def add_routes() -> None:
        with NetworkStack() as stack:
            _add_routes(bridge, stack)

    in_network_namespace(netns_fd, add_routes)


def _create_veth(bridge: Bridge, seat: Seat, bridge_index: int, netns_fd: int) -> str:
    """Make the veth; a link of this name that a crash left is removed first."""
    name = seat.link_name
    for attempt in range(1, _ATTEMPTS + 1):
        pair = VethPair(
            name=name,
            bridge_index=bridge_index,
            alias=seat.owner.alias,
            peer_name=seat.interface_name,
            peer_mac=seat.mac,
            peer_netns_fd=netns_fd,
            mtu=bridge.spec.mtu,
        )
        try:
            bridge.stack.create_veth(pair)
        except LinkError as error:
            if error.errno != errno.EEXIST or attempt == _ATTEMPTS:
                raise
            there = bridge.stack.link(name)
            if there is None:  # it went with its namespace between the two calls
                continue
            if LinkOwner.of(there.alias) in {None, seat.owner}:
                bridge.stack.delete_link(name)
            else:
                name = seat.owner.link_name(attempt)
        else:
            return name
    raise AssertionError  # unreachable: the last attempt returns or raises


def _configure(bridge: Bridge, seat: Seat, *, with_routes: bool) -> None:
    """Address the container's end and bring it up; runs in the container's namespace."""
    index = index_of(seat.interface_name)
    if not index:
        raise LinkError("look up link", seat.interface_name, errno.ENODEV)
    if seat.address6 is None:
        write_sysctl(f"ipv6/conf/{seat.interface_name}/disable_ipv6", "1")
    with NetworkStack() as stack, ExitStack() as undo:
        news = undo.enter_context(AddressNews()) if seat.address6 is not None else None
        for interface in seat.interfaces:
            stack.add_address(index, interface)
        stack.set_up(index)
        if news is not None and seat.address6 is not None:
            news.await_usable(seat.address6.ip)
        if with_routes:
            _add_routes(bridge, stack)


def _add_routes(bridge: Bridge, stack: NetworkStack) -> None:
    for interface in bridge.spec.interfaces:
        stack.add_default_route(interface.ip)


def open_network_namespace(pid: int) -> int:
    """Open the network namespace of a process."""
    return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
