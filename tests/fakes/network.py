# SPDX-License-Identifier: Apache-2.0
"""A host's network in memory: the real `HostNetworks` on fake links, rules and proxies."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from tests.fakes.firewall import FakeFirewall
from tests.fakes.links import FakeGuard, FakeNetworkStack
from tests.fakes.names import FakeNames
from toolkit.errors import LinkError, ProxyError
from toolkit.network.endpoint import Endpoint
from toolkit.network.forwarding import Forwarding
from toolkit.network.host import HostKit, HostNetworks
from toolkit.network.interfaces import VethPair

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path

    from toolkit.network.bridge import Bridge, Seat
    from toolkit.network.rtnetlink import NetworkStack


class RoutedFakeStack(FakeNetworkStack):
    """A stack that a bridge may choose its subnet against.

    Attributes:
        routes: What the host has routes for; *routes6* for IPv6.
    """

    def __init__(self) -> None:
        super().__init__()
        self.routes: list[IPv4Network] = []
        self.routes6: list[IPv6Network] = []

    def routed_networks(self) -> list[IPv4Network]:
        return list(self.routes)

    def routed_networks6(self) -> list[IPv6Network]:
        return list(self.routes6)

    def close(self) -> None:
        """Do nothing: the links stay."""


class FakeProxies:
    """Proxies that remember where they lead.

    Attributes:
        leading: Backends by container.
        refuses: Raise ProxyError at the next start.
    """

    def __init__(self) -> None:
        self.leading: dict[str, list[tuple[str, int]]] = {}
        self.refuses = False

    def open(self) -> None:
        """Do nothing: there is no process."""

    def close(self) -> None:
        """Do nothing: what leads goes on."""

    def start(self, name: str, ports: Sequence[tuple[socket.socket, tuple[str, int]]]) -> int:
        for bound, _ in ports:
            bound.close()
        if self.refuses:
            raise ProxyError("cannot start the proxy")
        self.leading[name] = [backend for _, backend in ports]
        return 1

    def stop(self, name: str) -> bool:
        return self.leading.pop(name, None) is not None

    def running(self) -> dict[str, int]:
        return dict.fromkeys(self.leading, 1)

    def sweep(self, known: set[str]) -> list[str]:
        unknown = [name for name in self.leading if name not in known]
        for name in unknown:
            self.stop(name)
        return unknown


@dataclass
class FakeHost:
    """What engines of one instance find of the network.

    Attributes:
        connected: The default route of each (network, container), by who was connected.
        fails: Raised by the next connect.
        meanwhile: Called by a connect that has made its link.
        opened: How often an engine has opened the host's network.
    """

    dir: Path
    stack: RoutedFakeStack = field(default_factory=RoutedFakeStack)
    firewall: FakeFirewall = field(default_factory=FakeFirewall)
    guard: FakeGuard = field(default_factory=FakeGuard)
    proxies: FakeProxies = field(default_factory=FakeProxies)
    names: FakeNames = field(default_factory=FakeNames)
    connected: dict[tuple[str, str], bool] = field(default_factory=dict)
    routed_again: list[str] = field(default_factory=list)
    fails: LinkError | None = None
    meanwhile: Callable[[], None] = lambda: None
    opened: int = 0

    def networks(self, instance: str) -> HostNetworks:
        return HostNetworks(instance, self._kit)

    def veths(self) -> list[str]:
        """The containers whose links are there."""
        return [link.alias.split(":")[-1] for link in self.stack.links() if link.kind == "veth"]

    def bridges(self) -> list[str]:
        return [link.name for link in self.stack.links() if link.kind == "bridge"]

    def _kit(self) -> HostKit:
        self.opened += 1
        sysctl_dir = self.dir / "sysctl"
        for name in ("ipv4", "bridge", "ipv6/conf/all"):
            (sysctl_dir / name).mkdir(parents=True, exist_ok=True)
        (sysctl_dir / "ipv4/ip_forward").write_text("0")
        return HostKit(
            stack=cast("NetworkStack", self.stack),
            guard=self.guard,
            firewall=cast("Any", self.firewall),
            forwarding=Forwarding(sysctl_dir),
            lock_path=self.dir / "subnets.lock",
            connect=self._connect,
            add_default_route=self._give_route,
            open_namespace=lambda _pid, _ticks: os.open(os.devnull, os.O_RDONLY),
        )

    def _give_route(self, bridge: Bridge, netns_fd: int) -> None:
        del netns_fd
        self.routed_again.append(bridge.spec.owner.network_id)

    def _connect(
        self, bridge: Bridge, seat: Seat, netns_fd: int, *, default_route: bool
    ) -> Endpoint:
        failure, self.fails = self.fails, None
        if failure is not None:
            raise failure
        there = self.stack.link(seat.link_name)
        if there is not None:
            self.stack.delete_link(there.name)
        self.stack.create_veth(
            VethPair(
                name=seat.link_name, bridge_index=bridge.ensure(), alias=seat.owner.alias,
                peer_name=seat.interface_name, peer_mac=seat.mac, peer_netns_fd=netns_fd, mtu=1500,
            )
        )  # fmt: skip
        self.meanwhile()
        self.guard.admit(seat.link_name, seat.mac, seat.addresses)
        self.connected[seat.owner.network_id, seat.owner.container_id] = default_route
        undo = ExitStack()
        undo.callback(self.stack.delete_link, seat.link_name)
        undo.callback(self.guard.dismiss, seat.link_name)
        return Endpoint(seat, seat.link_name, undo)
