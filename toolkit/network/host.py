# SPDX-License-Identifier: Apache-2.0
"""Everything that one instance has of links on this host: bridges, seats, endpoints.

Synchronous; threads may share it. Nothing is opened before a network is needed:
an engine whose containers have none leaves the host's network as it is. What is
wanted is decided by the engine and stands in its store; what was left behind is
found by names and aliases.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolkit.errors import (
    NamespaceError,
    NetworkNotFoundError,
    NoFreeSubnetError,
)
from toolkit.kernel.namespaces import open_namespace
from toolkit.kernel.process import start_time_ticks
from toolkit.network.addresses import AddressPool
from toolkit.network.bridge import Bridge, BridgeSpec
from toolkit.network.bridge_plan import chosen
from toolkit.network.conntrack import ConnectionTable
from toolkit.network.endpoint import Endpoint, add_default_route
from toolkit.network.firewall_iptables import IptablesFirewall
from toolkit.network.firewall_nft import NftFirewall
from toolkit.network.forwarding import Forwarding
from toolkit.network.iptables import Iptables
from toolkit.network.link_names import LinkOwner, find_leftovers
from toolkit.network.nft import find_nft
from toolkit.network.nft_sets import NftSets
from toolkit.network.rtnetlink import NetworkStack
from toolkit.network.spoof_guard import LockedGuard, NftGuard, NoGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from toolkit.network.bridge import Seat, SeatRequest
    from toolkit.network.bridge_plan import BridgePlan
    from toolkit.network.firewall import Firewall
    from toolkit.network.firewall_watch import RulesWatch
    from toolkit.network.spoof_guard import SpoofGuard

CHOOSING_LOCK: Final = Path("/run/lock/toolkit-subnets.lock")


def open_network_of(pid: int, start_ticks: int) -> int:
    """Open the network namespace of a process, and make sure that it is still the same one.

    Raises:
        NamespaceError: It has ended.
    """
    netns_fd = open_namespace(pid, "network")
    if start_time_ticks(pid) != start_ticks:
        os.close(netns_fd)
        raise NamespaceError("open", f"network namespace of process {pid}", errno.ESRCH)
    return netns_fd


@dataclass(frozen=True, kw_only=True)
class HostKit:
    """What changes the host's network, in the network namespace that it was made in.

    Attributes:
        guards_pids: The processes by which the guard writes.
        sets: What the guard writes elements of sets by, if it does.
    """

    stack: NetworkStack
    guard: SpoofGuard
    firewall: Firewall
    forwarding: Forwarding = field(default_factory=Forwarding)
    flows: ConnectionTable | None = None
    sets: NftSets | None = None
    guards_pids: Callable[[], frozenset[int]] = frozenset
    lock_path: Path = CHOOSING_LOCK
    connect: Callable[..., Endpoint] = Endpoint.connect
    open_namespace: Callable[[int, int], int] = open_network_of
    add_default_route: Callable[[Bridge, int], None] = add_default_route


def real_kit(instance: str, *, with_iptables: bool = True, may_forward: bool = True) -> HostKit:
    """Return what this host has: iptables where there is one, else nftables alone.

    Raises:
        FirewallError: There is neither.
    """
    nft = find_nft()
    iptables = Iptables()
    firewall: Firewall
    if nft is not None and not (with_iptables and iptables.offers(4)):
        firewall = NftFirewall(instance, nft)
    else:
        firewall = IptablesFirewall(instance, iptables)
    sets = NftSets() if nft is not None else None
    return HostKit(
        stack=NetworkStack(),
        guard=NoGuard() if nft is None else LockedGuard(NftGuard(instance, nft, sets)),
        firewall=firewall,
        forwarding=Forwarding(may_enable=may_forward),
        flows=ConnectionTable(),
        sets=sets,
        guards_pids=(lambda: nft.writer_pids) if nft is not None else frozenset,
    )


class HostNetworks:
    """The networks of an instance on this host.

    Args:
        instance: Whose.
        make_kit: Opens what changes the host, when that is first needed.
    """

    def __init__(self, instance: str, make_kit: Callable[[], HostKit] | None = None) -> None:
        self._instance = instance
        self._make_kit = make_kit or (lambda: real_kit(instance))
        self._kit: HostKit | None = None
        self._bridges: dict[str, Bridge] = {}
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self._coming: Counter[tuple[str, str]] = Counter()
        self._lock = threading.RLock()

    @property
    def kit(self) -> HostKit:
        """What changes the host; opened by the first who asks."""
        with self._lock:
            if self._kit is None:
                self._kit = self._make_kit()
            return self._kit

    @property
    def is_open(self) -> bool:
        """Whether anything of the host's network was needed yet."""
        return self._kit is not None

    def close(self) -> None:
        """Let go of the host; everything stays as it is."""
        with self._lock:
            kit, self._kit = self._kit, None
            self._bridges.clear()
            self._endpoints.clear()
        if kit is not None:
            kit.stack.close()
            kit.firewall.close()
            for part in (kit.flows, kit.sets):
                if part is not None:
                    part.close()

    def prepare(self, *, ipv6: bool = False) -> list[str]:
        """Let the host pass packets on; return warnings."""
        forwarding = self.kit.forwarding
        return forwarding.enable(ipv6=ipv6) + forwarding.filter_bridges(ipv6=ipv6)

    def has(self, network_id: str) -> bool:
        """Tell whether a network was made here by this engine, or found."""
        return network_id in self._bridges

    def make(self, plan: BridgePlan) -> BridgePlan:
        """Make the bridge of a network, or find it; return what it has become.

        Raises:
            NoFreeSubnetError: The host was to choose, and nothing is free.
            LinkError: The kernel refuses, or the name is somebody else's.
        """
        with self._choosing():
            plan = chosen(plan, self._instance, self.kit.stack)
            bridge = self._bridge_of(plan)
            if plan.is_default:
                bridge.remove_other_ipv6()
            bridge.ensure()
        with self._lock:
            self._bridges[plan.network_id] = bridge
        return plan

    def remove(self, network_id: str) -> None:
        """Remove a network's bridge; one that is not there is as good."""
        with self._lock:
            bridge = self._bridges.pop(network_id, None)
        if bridge is not None:
            bridge.remove()

    def bridge(self, network_id: str) -> Bridge:
        """Return a network's bridge.

        Raises:
            NetworkNotFoundError: It was not made.
        """
        with self._lock:
            bridge = self._bridges.get(network_id)
        if bridge is None:
            raise NetworkNotFoundError(network_id)
        return bridge

    def reserve_seat(self, network_id: str, request: SeatRequest) -> Seat:
        """Return a place on a network, its addresses held; does not touch the host.

        Raises:
            AddressPoolExhaustedError: There is none.
            AddressInUseError: The wanted address is held.
        """
        return self.bridge(network_id).reserve_seat(request)

    def connect(
        self, network_id: str, seat: Seat, netns_fd: int, *, default_route: bool
    ) -> Endpoint:
        """Connect a namespace to its seat, or leave no trace of having tried."""
        bridge = self.bridge(network_id)
        key = (network_id, seat.owner.container_id)
        with self._lock:
            self._coming[key] += 1
        try:
            endpoint = self.kit.connect(bridge, seat, netns_fd, default_route=default_route)
            with self._lock:
                self._endpoints[key] = endpoint
        finally:
            with self._lock:
                self._coming[key] -= 1
        return endpoint

    def find_or_connect(
        self, network_id: str, seat: Seat, netns_fd: int, *, default_route: bool
    ) -> bool:
        """Take over what an earlier engine connected, or connect; tell which: True is found."""
        endpoint = Endpoint.find(self.bridge(network_id), seat)
        if endpoint is None:
            self.connect(network_id, seat, netns_fd, default_route=default_route)
            return False
        with self._lock:
            self._endpoints[network_id, seat.owner.container_id] = endpoint
        return True

    def is_connected(self, network_id: str, container_id: str) -> bool:
        """Tell whether the link of a container that was connected is still there."""
        with self._lock:
            endpoint = self._endpoints.get((network_id, container_id))
        return endpoint is not None and self.kit.stack.link(endpoint.link) is not None

    def add_default_route(self, network_id: str, netns_fd: int) -> None:
        """Let a container that is connected already leave through this network."""
        self.kit.add_default_route(self.bridge(network_id), netns_fd)

    def disconnect(self, network_id: str, container_id: str) -> None:
        """Remove a container's link; one that has gone with its namespace is as good."""
        with self._lock:
            endpoint = self._endpoints.pop((network_id, container_id), None)
        if endpoint is not None:
            endpoint.disconnect()

    def leave(self, network_id: str, container_id: str) -> str:
        """Forget a link that goes with its namespace; return its name, empty for none."""
        with self._lock:
            endpoint = self._endpoints.pop((network_id, container_id), None)
        if endpoint is None:
            return ""
        endpoint.let_go(self.kit.guard)
        return endpoint.link

    def remove_links(self, left: Iterable[tuple[str, str, str]]) -> None:
        """Delete links that were left, where their namespace lives on and nobody came back.

        Args:
            left: Network, container and name of each.
        """
        stack = self.kit.stack
        for network_id, container_id, name in left:
            link = stack.link(name)
            mine = self.owner(network_id, container_id).alias
            key = (network_id, container_id)
            with self._lock:
                is_back = key in self._endpoints or self._coming[key] > 0
            if link is not None and link.alias == mine and not is_back:
                stack.delete_link(name, index=link.index)

    def release_seat(self, network_id: str, seat: Seat) -> None:
        """Let go of a seat's addresses; its link and its rules must be gone."""
        with self._lock:
            bridge = self._bridges.get(network_id)
        if bridge is not None:
            bridge.release_seat(seat)

    def remove_leftovers(self, networks: set[str], containers: set[tuple[str, str]]) -> list[str]:
        """Delete the instance's links that belong to nobody known; return their names."""
        stack = self.kit.stack
        found = find_leftovers(
            self._instance, stack.links(), networks=networks, containers=containers
        )
        for link in found:
            stack.delete_link(link.name)
        return [link.name for link in found]

    def watch(self) -> RulesWatch:
        """Return what tells that somebody else has changed rules."""
        return self.kit.firewall.watch(self.kit.guards_pids)

    def repair(self) -> list[str]:
        """Mend bridges, loose ports and the guard; return what was wrong, a line each."""
        with self._lock:
            bridges = list(self._bridges.values())
        mended = [
            f"{bridge.spec.link_name}: port of container {container_id[:12]} was loose"
            for bridge in bridges
            for container_id in bridge.repair()
        ]
        guard = self.kit.guard
        if not guard.is_whole():
            guard.reset()
            mended.append("the rules against forged senders were missing")
        return mended

    def owner(self, network_id: str, container_id: str = "") -> LinkOwner:
        """Return who a link of this instance is made for."""
        return LinkOwner(self._instance, network_id, container_id)

    @contextlib.contextmanager
    def _choosing(self) -> Iterator[None]:
        """Keep other instances from choosing a subnet until ours is routed."""
        path = self.kit.lock_path
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _bridge_of(self, plan: BridgePlan) -> Bridge:
        if plan.interface is None:
            raise NoFreeSubnetError(f"network {plan.network_id[:12]} has no subnet")
        four, six = plan.interface, plan.interface6
        held = (*plan.taken, *plan.reserved)
        pool6 = None
        if six is not None:
            pool6 = AddressPool(
                six.network, six.ip, allocatable=plan.allocatable6, taken=_of(held, IPv6Address)
            )
        return Bridge(
            spec=BridgeSpec(
                owner=self.owner(plan.network_id),
                interface=four,
                interface6=six,
                name=plan.link_name,
                mtu=plan.mtu,
                has_gateway=plan.has_gateway,
            ),
            stack=self.kit.stack,
            addresses=AddressPool(
                four.network,
                four.ip,
                allocatable=plan.allocatable,
                taken=_of(held, IPv4Address),
                last=plan.last,
            ),
            addresses6=pool6,
            flows=self.kit.flows,
            guard=self.kit.guard,
        )


def _of(
    addresses: Iterable[IPv4Address | IPv6Address], kind: type[IPv4Address | IPv6Address]
) -> list[IPv4Address | IPv6Address]:
    return [address for address in addresses if isinstance(address, kind)]
