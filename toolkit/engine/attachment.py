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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from toolkit.engine.firewall_desk import FirewallDesk
from toolkit.engine.model import EndpointSpec
from toolkit.engine.network_places import NetworkPlaces
from toolkit.engine.network_plan import (
    endpoint_of,
    seat_request,
)
from toolkit.engine.networked import bridge_networks
from toolkit.engine.published_ports import PublishedPorts
from toolkit.errors import ConflictError, NetworkNotFoundError, ToolkitError
from toolkit.network.firewall import FirewallState

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

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
    from toolkit.network.host import HostNetworks

_RELEASE_SECONDS: Final = 15.0
_TURNS_OF_AN_ANSWER: Final = 3  # of the event loop, from an end to the answer of who waits
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
        places: The networks on the host.
        published: Which ports of the host lead to whom.
    """

    def __init__(
        self,
        context: EngineContext,
        host: HostNetworks,
        proxies: ProxyHost,
        settings: NetworkSettings,
    ) -> None:
        self._context = context
        self._held: dict[str, Attachment] = {}
        self._releases: set[asyncio.Task[None]] = set()
        self._left: list[tuple[str, str, str]] = []
        self._sweep_timer: asyncio.TimerHandle | None = None
        self.host = host
        self.listeners: list[AttachmentListener] = []
        self.desk = FirewallDesk(
            lambda: host.kit.firewall,
            context.on_host,
            FirewallState(has_proxies=settings.has_proxies),
        )
        self.places = NetworkPlaces(context, host, settings, self.desk)
        self.places.users_of = self._users_of
        self.published = PublishedPorts(context, proxies, settings, self.desk)
        self.on_close: Callable[[], None] = lambda: None

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

    async def connect(self, attachment: Attachment, record: ContainerRecord, netns_fd: int) -> None:
        """Make the links of all seats of a container, and meanwhile tell the listeners.

        Names are answered inside the namespace, whatever links it has.

        Raises:
            LinkError: The kernel refuses; what was made is undone by `release`.
        """
        seats = list(attachment.seats.values())
        outcomes = await asyncio.gather(
            self._connect_seats(seats, netns_fd),
            self.tell_listeners(record, seats, netns_fd),
            return_exceptions=True,  # neither goes on behind a failure of the other
        )
        for failure in outcomes:
            if failure is not None:
                raise failure
        self._tell_connected(record, seats)

    async def _connect_seats(self, seats: Iterable[Seating], netns_fd: int) -> None:
        for seating in seats:
            await self.connect_seat(seating, netns_fd)

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
        self._tell_connected(record, seats)

    def _tell_connected(self, record: ContainerRecord, seats: Iterable[Seating]) -> None:
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
        network = await self.places.make(network)
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

    def _users_of(self, record: NetworkRecord) -> list[str]:
        return [
            attachment.container_id[:12]
            for attachment in self._held.values()
            if record.name in attachment.seats
        ]

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
                self.published.reserve(attachment, record)
            undo.pop_all()
        if attachment.seats:
            self._held[record.id] = attachment
        return attachment

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
        """Rules first, seats last: no address is given on while a rule leads to it.

        Who waits for the end hears of it before: all of this takes threads and processes.
        """
        for _ in range(_TURNS_OF_AN_ANSWER):
            await asyncio.sleep(0)
        try:
            await self.published.close_way(attachment)
        except ToolkitError as error:  # nothing of it may be given on: the next engine cleans up
            _log.warning("container %s: %s", attachment.container_id, error)
            return
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

    def tell(self, action: str, network: NetworkRecord, container_id: str) -> None:
        """Publish that a container has come or gone."""
        attributes = {"container": container_id, "name": network.name, "type": network.spec.driver}
        self._context.events.publish("network", action, network.id, attributes)

    async def close(self) -> None:
        """Let go of the host; everything stays for the next engine."""
        self.on_close()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        with contextlib.suppress(ToolkitError):  # a full disk: addresses may come again sooner
            await self.places.save_cursors()
        await self.published.close()
        await self.desk.close()
        self.host.close()

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
        self.published.give_back(attachment)
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
