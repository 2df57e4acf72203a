# SPDX-License-Identifier: Apache-2.0
"""The one place where containers come onto networks and leave them.

Owns what each running container holds of the host's network: its seats, ports,
rules and its proxy, in the order that a crash at any point can be recovered from
(docs/architecture.md, "Order of calls"). Whoever publishes names for containers
listens here (`AttachmentListener`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from toolkit.engine.firewall_desk import FirewallDesk
from toolkit.engine.model import EndpointSpec
from toolkit.engine.network_index import BRIDGE
from toolkit.engine.network_plan import (
    address_for,
    bridged,
    endpoint_of,
    plan_of,
    pools_of,
    port_rules,
    port_wishes,
    published,
    seat_request,
)
from toolkit.engine.networked import bridge_networks
from toolkit.engine.port_choice import publish_as_before
from toolkit.errors import ConflictError, NetworkNotFoundError, ToolkitError
from toolkit.network.firewall import FirewallState, LinkName
from toolkit.network.ports import PortAllocator

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable
    from ipaddress import IPv4Network

    from toolkit.engine.context import EngineContext
    from toolkit.engine.model import (
        ContainerRecord,
        EndpointRecord,
        NetworkRecord,
        PublishedPort,
    )
    from toolkit.engine.network_settings import NetworkSettings
    from toolkit.engine.ports import ProxyHost
    from toolkit.network.bridge import Seat
    from toolkit.network.firewall import PublishedPort as PortRule
    from toolkit.network.host import HostNetworks

PROXIES_DIR: Final = "proxies"
TRACES_NAME: Final = "network-used"  # in the run directory: it goes with a reboot, as rules do
_RELEASE_SECONDS: Final = 15.0
_SWEEP_SECONDS: Final = 1.0  # a namespace that has ended takes its links along in less

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Seating:
    """A container's seat on one network."""

    network: NetworkRecord
    seat: Seat
    endpoint: EndpointRecord


@dataclass(kw_only=True)
class Attachment:
    """What a container holds of the host's network while it runs.

    Attributes:
        seats: By the networks' names, in the order of its interfaces.
        sockets: Bound for its published ports; the proxy's as soon as there is one.
    """

    container_id: str
    seats: dict[str, Seating] = field(default_factory=dict)
    ports: tuple[PublishedPort, ...] = ()
    chosen_ports: tuple[PublishedPort, ...] = ()
    sockets: list[tuple[socket.socket, PublishedPort]] = field(default_factory=list)

    @property
    def endpoints(self) -> dict[str, EndpointRecord]:
        """What the store keeps of the seats."""
        return {name: seating.endpoint for name, seating in self.seats.items()}


class AttachmentListener(Protocol):
    """Is told who is on which network; what it raises undoes the coming, not the going."""

    async def attached(
        self, record: ContainerRecord, seats: Iterable[Seating], netns_fd: int
    ) -> None:
        """Hear that a container has seats; its program does not run yet, or it was connected.

        The descriptor is its network namespace's, and is closed after the call.
        """

    async def detached(self, container_id: str, seats: Iterable[Seating]) -> None:
        """Hear that a container has left; a second word about the same is no error."""


class Attachments:
    """Who is on which network of this engine, and the way onto and off them.

    Attributes:
        desk: Where the firewall is changed.
        listeners: Told of each coming and going, in this order.
        ports: Which ports of the host are given to whom.
    """

    def __init__(
        self,
        context: EngineContext,
        host: HostNetworks,
        proxies: ProxyHost,
        settings: NetworkSettings,
    ) -> None:
        self._context = context
        self._making = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._proxies_dir = context.instance.run_dir / PROXIES_DIR
        self._traces = context.instance.run_dir / TRACES_NAME
        self._are_proxies_open = False
        self._held: dict[str, Attachment] = {}
        self._releases: set[asyncio.Task[None]] = set()
        self._left: list[tuple[str, str, str]] = []
        self._sweep_timer: asyncio.TimerHandle | None = None
        self.host = host
        self.proxies = proxies
        self.settings = settings
        self.listeners: list[AttachmentListener] = []
        self.ports = PortAllocator()
        self.desk = FirewallDesk(
            lambda: host.kit.firewall,
            context.on_host,
            FirewallState(has_proxies=settings.has_proxies),
        )
        self.on_first_use: Callable[[], None] = lambda: None
        self.on_close: Callable[[], None] = lambda: None

    # -- networks ------------------------------------------------------------------

    async def make_network(self, record: NetworkRecord) -> NetworkRecord:
        """Make a network on the host, if it is not there; return it with its subnets.

        Raises:
            NoFreeSubnetError: Nothing is free.
            LinkError: The kernel refuses.
        """
        async with self._making:
            if self.host.has(record.id):
                return self._context.networks.get(record.id) or record
            await self.prepare(ipv6=record.spec.ipv6)
            known = self._context.networks.get(record.id) or record
            made = await self.put_in_place(known)
            with ExitStack() as undo:
                undo.callback(self.host.remove, record.id)
                await self._context.store.save_network(made, durable=made.name != BRIDGE)
                await self._let_pass(made)
                undo.pop_all()
            self._context.networks.put(made)
            return made

    async def put_in_place(self, record: NetworkRecord, taken: Iterable[str] = ()) -> NetworkRecord:
        """Make or find a network's bridge; return the network with its subnets."""
        plan = plan_of(
            record,
            self.settings,
            self._context.instance.name,
            avoided=self._subnets_but(record),
            taken=taken,
        )
        made = await self._context.on_host(self.host.make, plan)
        return replace(record, subnets=pools_of(made, record.subnets))

    async def remove_network(self, record: NetworkRecord) -> None:
        """Take a network that nobody is on off the host."""
        async with self._making:
            self._context.networks.drop(record.id)
            if self.host.has(record.id):
                gone = LinkName(self.host.bridge(record.id).spec.link_name)
                await self.desk.change(lambda state: _without_network(state, gone))
                await self._context.on_host(self.host.remove, record.id)
            await self._context.store.delete_network(record.id)

    async def prepare(self, *, ipv6: bool) -> None:
        """Let the host pass packets on; begin to watch it at the first call."""
        is_first = not self.host.is_open
        for warning in await self._context.on_host(self.host.prepare, ipv6=ipv6):
            _log.warning("%s", warning)
        if is_first:
            self._traces.touch(mode=0o600)
            self.on_first_use()

    def has_left_traces(self) -> bool:
        """Say whether an engine of this instance has touched the host's network in this boot."""
        return self._traces.exists()

    async def repair(self) -> list[str]:
        """Mend links and rules; return what was wrong, a line each.

        Raises:
            ToolkitError: Something cannot be mended.
        """
        if not self.host.is_open:
            return []
        mended = await self._context.on_host(self.host.repair)
        return mended + await self.desk.repair()

    async def _let_pass(self, record: NetworkRecord) -> None:
        network = bridged(record, self.host.bridge(record.id), self.settings)
        await self.desk.change(
            lambda state: replace(
                _without_network(state, network.bridge),
                networks=(*_without_network(state, network.bridge).networks, network),
            )
        )
        await self.allow_loopback(network.bridge)

    async def allow_loopback(self, bridge: LinkName) -> None:
        """Let 127.0.0.1 be translated where no proxy serves it; the raw rules are there."""
        if not self.settings.has_proxies:
            await self._context.on_host(self.host.kit.forwarding.allow_loopback_nat, bridge)

    def _subnets_but(self, record: NetworkRecord) -> list[IPv4Network]:
        return [
            self.host.bridge(other.id).spec.interface.network
            for other in self._context.networks.all()
            if other.id != record.id and self.host.has(other.id)
        ]

    # -- coming --------------------------------------------------------------------

    async def reserve(self, record: ContainerRecord) -> Attachment:
        """Hold all that a container's start needs; nothing of the host is changed but bound ports.

        Raises:
            NetworkNotFoundError: A network that it is to be on is not there.
            ConflictError: An address or a port is somebody else's.
        """
        try:
            return await self._reserve(record)
        except ConflictError:
            # What stands in the way may be on its way out.
            if not self._releases:
                raise
            await asyncio.wait(set(self._releases), timeout=_RELEASE_SECONDS)
            return await self._reserve(record)

    async def open_way(self, attachment: Attachment) -> None:
        """Make the rules for a container's ports.

        Raises:
            FirewallError: They were refused.
        """
        if attachment.ports:
            rules = self._rules_of(attachment)
            await self.desk.change(lambda state: replace(state, ports=state.ports | rules))

    async def connect(self, attachment: Attachment, record: ContainerRecord, netns_fd: int) -> None:
        """Make the links of all seats of a container, and tell the listeners.

        Raises:
            LinkError: The kernel refuses; what was made is undone by `release`.
        """
        for seating in attachment.seats.values():
            await self.connect_seat(seating, netns_fd)
        await self.tell_attached(record, attachment.seats.values(), netns_fd)

    async def connect_seat(self, seating: Seating, netns_fd: int) -> None:
        """Make the link of one seat."""
        await self._context.on_host(
            self.host.connect,
            seating.network.id,
            seating.seat,
            netns_fd,
            default_route=seating.endpoint.has_default_route,
        )

    async def tell_attached(
        self, record: ContainerRecord, seats: Iterable[Seating], netns_fd: int
    ) -> None:
        """Tell the listeners, and who listens to events, that a container has come."""
        seats = list(seats)
        await self.tell_listeners(record, seats, netns_fd)
        for seating in seats:
            self.tell("connect", seating.network, record.id)

    async def tell_listeners(
        self, record: ContainerRecord, seats: Iterable[Seating], netns_fd: int
    ) -> None:
        """Tell the listeners alone: an engine has found a container so."""
        for listener in self.listeners:
            await listener.attached(record, list(seats), netns_fd)

    async def reserve_seat(
        self, record: ContainerRecord, name: str, *, interface: str, is_first_way: bool
    ) -> Seating:
        """Hold a seat on a network that is made if it is not there.

        Args:
            record: Who.
            name: The network's.
            interface: What the container's end is called.
            is_first_way: No other network of the container leads out.
        """
        network = self._context.networks.named(name)
        if network is None:
            raise NetworkNotFoundError(name)
        network = await self.make_network(network)
        wish = record.spec.endpoints.get(name, EndpointSpec())
        is_main = name == record.spec.host.network_mode
        mac = record.spec.mac_address if is_main else ""
        seat = self.host.reserve_seat(network.id, seat_request(record.id, interface, wish, mac))
        bridge = self.host.bridge(network.id)
        leads_out = is_first_way and bridge.spec.has_gateway
        endpoint = endpoint_of(network, bridge, seat, has_default_route=leads_out)
        return Seating(network=network, seat=seat, endpoint=endpoint)

    def hold(self, attachment: Attachment) -> None:
        """Know what a container has; an engine has found it so."""
        self._held[attachment.container_id] = attachment

    def held(self, container_id: str) -> Attachment | None:
        """Return what a container has, if it has anything."""
        return self._held.get(container_id)

    async def _reserve(self, record: ContainerRecord) -> Attachment:
        attachment = Attachment(container_id=record.id)
        has_way = False
        with ExitStack() as undo:
            undo.callback(self._give_back, attachment)
            for number, name in enumerate(bridge_networks(record)):
                seating = await self.reserve_seat(
                    record, name, interface=f"eth{number}", is_first_way=not has_way
                )
                has_way = has_way or seating.endpoint.has_default_route
                attachment.seats[name] = seating
            if has_way:
                self._publish(attachment, record)
            undo.pop_all()
        if attachment.seats:
            self._held[record.id] = attachment
        return attachment

    def _publish(self, attachment: Attachment, record: ContainerRecord) -> None:
        wishes = port_wishes(record, self.settings.publish_address)
        if not wishes:
            return
        given = publish_as_before(self.ports, wishes, record)
        attachment.ports = tuple(published(port) for port, _ in given)
        attachment.sockets = [(bound, published(port)) for port, bound in given]
        attachment.chosen_ports = tuple(
            published(port) for wish, (port, _) in zip(wishes, given, strict=True) if not wish.first
        )

    async def start_proxy(self, attachment: Attachment) -> None:
        """Give a container's sockets to its proxy; without proxies they are closed.

        They listen already: whoever connects before is served a moment later.

        Raises:
            ProxyError: The proxy does not start.
        """
        if not attachment.sockets:
            return
        sockets, attachment.sockets = attachment.sockets, []
        if not self.settings.has_proxies:
            for bound, _ in sockets:
                bound.close()
            return
        endpoints = list(attachment.endpoints.values())
        backends = []
        for bound, port in sockets:
            inside = address_for(bound_version(port), endpoints) or address_for(4, endpoints)
            backends.append((bound, (str(inside), port.container_port)))
        await self._open_proxies()
        await self._context.on_host(self.proxies.start, attachment.container_id, backends)

    async def open_proxies_if_used(self, is_wanted: bool) -> bool:  # noqa: FBT001 - the only one
        """Open the proxies if anybody has, or had, one; say whether they are open."""
        if is_wanted or self._proxies_dir.is_dir():
            await self._open_proxies()
        return self._are_proxies_open

    async def _open_proxies(self) -> None:
        async with self._opening:
            if not self._are_proxies_open:
                await self._context.on_host(self.proxies.open)
                self._are_proxies_open = True

    def _rules_of(self, attachment: Attachment) -> frozenset[PortRule]:
        endpoints = list(attachment.endpoints.values())
        return port_rules(attachment.container_id, attachment.ports, endpoints)

    # -- going ---------------------------------------------------------------------

    def release_soon(
        self, container_id: str, released: asyncio.Future[None] | None = None
    ) -> asyncio.Task[None] | None:
        """Begin to give back what a container has; None if it has nothing.

        Args:
            container_id: Whose program has ended, or did not begin.
            released: Done when its namespaces are gone.
        """
        attachment = self._held.pop(container_id, None)
        if attachment is None:
            return None
        task = self._context.spawn(self._release(attachment, released))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)
        return task

    async def _release(self, attachment: Attachment, released: asyncio.Future[None] | None) -> None:
        """Rules first, seats last: no address is given on while a rule leads to it."""
        try:
            await self._close_way(attachment)
        except ToolkitError as error:
            _log.warning("container %s: %s", attachment.container_id, error)
        seats = list(attachment.seats.values())
        await self._tell_detached(attachment.container_id, seats)
        if released is not None:
            await asyncio.wait([released], timeout=_RELEASE_SECONDS)
        for seating in seats:
            await self._context.on_host(self._leave, seating, attachment.container_id)
            self.tell("disconnect", seating.network, attachment.container_id)
        self._sweep_soon()

    async def disconnect_seat(self, container_id: str, seating: Seating) -> None:
        """Take one link away from a container that runs."""
        await self._tell_detached(container_id, [seating])
        network_id = seating.network.id
        await self._context.on_host(self.host.disconnect, network_id, container_id)
        await self._context.on_host(self.host.release_seat, network_id, seating.seat)
        self.tell("disconnect", seating.network, container_id)

    async def change_way(self, attachment: Attachment) -> None:
        """Let published ports lead to the address that a container has now."""
        if not attachment.ports:
            return
        rules = self._rules_of(attachment)
        short = attachment.container_id
        await self.desk.change(
            lambda state: replace(state, ports=_without_owner(state, short).ports | rules)
        )

    def tell(self, action: str, network: NetworkRecord, container_id: str) -> None:
        """Publish that a container has come or gone."""
        attributes = {"container": container_id, "name": network.name, "type": network.spec.driver}
        self._context.events.publish("network", action, network.id, attributes)

    async def close(self) -> None:
        """Let go of the host; everything stays for the next engine."""
        self.on_close()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        if self._are_proxies_open:
            await self._context.on_host(self.proxies.close)
        self.host.close()

    async def _close_way(self, attachment: Attachment) -> None:
        owner = attachment.container_id
        state = self.desk.state
        if attachment.ports or _without_owner(state, owner) != state:
            await self.desk.change(lambda state: _without_owner(state, owner))
        for bound, _ in attachment.sockets:
            bound.close()
        if attachment.ports and self._are_proxies_open:
            await self._context.on_host(self.proxies.stop, owner)
        self.ports.release_all(owner)

    async def _tell_detached(self, container_id: str, seats: list[Seating]) -> None:
        for listener in self.listeners:
            with contextlib.suppress(ToolkitError):
                await listener.detached(container_id, seats)

    def _leave(self, seating: Seating, container_id: str) -> None:
        network_id = seating.network.id
        link = self.host.leave(network_id, container_id)
        self.host.release_seat(network_id, seating.seat)
        if link:
            self._left.append((network_id, container_id, link))

    def _give_back(self, attachment: Attachment) -> None:
        """Undo a reservation of which nothing else knows."""
        for bound, _ in attachment.sockets:
            bound.close()
        self.ports.release_all(attachment.container_id)
        for seating in attachment.seats.values():
            self.host.release_seat(seating.network.id, seating.seat)

    def _sweep_soon(self) -> None:
        if self._sweep_timer is None and self._left:
            loop = asyncio.get_running_loop()
            self._sweep_timer = loop.call_later(_SWEEP_SECONDS, self._begin_sweep)

    def _begin_sweep(self) -> None:
        self._sweep_timer = None
        self._context.spawn(self.sweep_links())

    async def sweep_links(self) -> None:
        """Delete the links of those who have left, where their namespace lives on."""
        left, self._left = self._left, []
        await self._context.on_host(self.host.remove_links, left)


def bound_version(port: PublishedPort) -> int:
    """Return the family of a port of the host."""
    return 6 if ":" in port.host_ip else 4


def _without_network(state: FirewallState, bridge: LinkName) -> FirewallState:
    return replace(state, networks=tuple(n for n in state.networks if n.bridge != bridge))


def _without_owner(state: FirewallState, container_id: str) -> FirewallState:
    return replace(
        state,
        ports=frozenset(p for p in state.ports if p.owner.container_id != container_id),
        links=frozenset(p for p in state.links if p.owner.container_id != container_id),
    )
