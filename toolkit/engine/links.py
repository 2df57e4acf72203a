# SPDX-License-Identifier: Apache-2.0
"""Links between containers of the default bridge (``--link``), from create to removal.

The parent uses the link, the child is linked to (rule 7.2). Who is linked to whom
stands in the parents' records and, as paths, in the index; the rules in the firewall
follow from the records of those who run, at the moment they are written, so that none
outlives either end (row S-83).
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

from toolkit.engine.link_texts import check_links, link_parts
from toolkit.engine.network_index import BRIDGE
from toolkit.errors import ContainerNotFoundError, InvalidLinkError, InvalidPortError, ToolkitError
from toolkit.network.firewall import FirewallState, LinkedPort, LinkName, RuleOwner
from toolkit.network.hosts_file import EtcFile, HostsEntry
from toolkit.network.links import Link, check_link
from toolkit.network.ports import parse_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from ipaddress import IPv4Address

    from toolkit.engine.attachment import Seating
    from toolkit.engine.context import EngineContext
    from toolkit.engine.index import Index
    from toolkit.engine.model import ContainerId, ContainerRecord, ContainerSpec

_log = logging.getLogger(__name__)


def settled_links(
    spec: ContainerSpec, index: Index
) -> tuple[ContainerSpec, dict[str, ContainerId]]:
    """Return a request without its links on the default bridge, and those by alias.

    A first alias wins (rule 7.6). On another network a link is a private name.

    Raises:
        InvalidRequestError: A link is none, or leads to nobody.
    """
    check_links(spec)
    if spec.host.network_mode != BRIDGE:
        return spec, {}
    links: dict[str, ContainerId] = {}
    for text in spec.host.links:
        name, alias = link_parts(text)
        try:
            links.setdefault(alias, index.find(name).record.id)
        except ContainerNotFoundError:
            raise InvalidLinkError(
                f"could not get container for {name}: No such container: {name}"
            ) from None
    return replace(spec, host=replace(spec.host, links=())), links


class Links:
    """The links of those who run: an `AttachmentListener`."""

    def __init__(self, context: EngineContext) -> None:
        self._context = context

    def begun(self, record: ContainerRecord) -> list[tuple[Link, ContainerRecord]]:
        """Return the links of a container that starts, each with the child.

        Raises:
            InvalidLinkError: A child does not run, or is not on the default bridge (rule 7.3).
        """
        if BRIDGE not in record.endpoints:
            return []
        found = []
        for alias, container in self._context.index.children(record).items():
            child = container.record
            check_link(
                parent_id=record.id,
                child_id=child.id,
                child_name=f"/{child.name}",
                link_name=f"/{record.name}/{alias}",
                child_is_running=container.program is not None,
            )
            link = self._link(record, alias, child)
            if link is None:
                raise InvalidLinkError(
                    f"container {child.id} not attached to default bridge network"
                )
            found.append((link, child))
        return found

    def rules_of(self, container_id: str) -> frozenset[LinkedPort]:
        """Return the rules of a container's links as they are to be now (rules 7.11 and 7.14).

        0.7.2's second rule of each port opened every port of the parent: there is none.
        """
        container = self._context.index.get(container_id)
        if container is None or BRIDGE not in container.record.endpoints:
            return frozenset()
        record = container.record
        return frozenset(
            LinkedPort(
                owner=RuleOwner(record.id),
                bridge=LinkName(link.bridge),
                source=rule.source,
                destination=rule.destination,
                protocol=rule.protocol,
                port=rule.destination_port,
            )
            for alias, child in self._context.index.children(record).items()
            if (link := self._link(record, alias, child.record)) is not None
            for rule in link.rules()
            if rule.destination_port is not None
        )

    def with_rules_of(self, state: FirewallState, container_id: str) -> FirewallState:
        """Return what is wanted of the firewall, with a container's links as they are now."""
        others = (rule for rule in state.links if rule.owner.container_id != container_id)
        return replace(state, links=frozenset(others) | self.rules_of(container_id))

    async def attached(
        self, record: ContainerRecord, seats: Iterable[Seating], netns_fd: int
    ) -> None:
        """Let those who have links to a container find it at the address that it has now."""
        del netns_fd
        address = _address_in(seats)
        parents = list(self._running_parents(record.id))
        if not address or not parents:
            return
        for parent, alias in parents:
            await self._in_hosts(parent, EtcFile.move, alias, address)
        await self._renew_rules(parents)

    async def detached(self, container_id: str, seats: Iterable[Seating]) -> None:
        """Close the ways to and from a container that has left the default bridge."""
        del container_id
        address = _address_in(seats)
        if not address:
            return
        desk = self._context.attachments.desk
        if any(address in {rule.source, rule.destination} for rule in desk.state.links):
            await desk.change(lambda state: _without_ways_of(address, state))

    async def renamed(self, record: ContainerRecord, old_name: str) -> None:
        """Put a child's new name into the hosts files of those who have links to it."""
        seat = record.endpoints.get(BRIDGE)
        if seat is None:
            return
        before = replace(record, name=old_name)
        for parent, alias in self._running_parents(record.id):
            old, new = self._entry(parent, alias, before), self._entry(parent, alias, record)
            if old is not None and new is not None and old != new:
                await self._in_hosts(parent, EtcFile.replace, old, new)

    async def dropped(self, record: ContainerRecord, alias: str, child: ContainerRecord) -> None:
        """Close the way of a link that was removed; the child is found by it no more."""
        if BRIDGE not in record.endpoints:
            return
        entry = self._entry(record, alias, child)
        if entry is not None:
            await self._in_hosts(record, EtcFile.remove, [entry])
        await self._renew_rules([(record, alias)])

    async def _renew_rules(self, parents: Iterable[tuple[ContainerRecord, str]]) -> None:
        desk = self._context.attachments.desk
        if not desk.is_written:
            return  # the engine is opening: it writes all rules when it knows everybody
        ids = {parent.id for parent, _ in parents}

        def alter(state: FirewallState) -> FirewallState:
            for container_id in ids:
                state = self.with_rules_of(state, container_id)
            return state

        await desk.change(alter)

    def _running_parents(self, container_id: str) -> Iterator[tuple[ContainerRecord, str]]:
        for parent, alias in self._context.index.parents(container_id):
            if parent.program is not None and BRIDGE in parent.record.endpoints:
                yield parent.record, alias

    def _link(self, record: ContainerRecord, alias: str, child: ContainerRecord) -> Link | None:
        mine, its = record.endpoints.get(BRIDGE), child.endpoints.get(BRIDGE)
        if mine is None or its is None:
            return None
        bridge = self._context.attachments.host.bridge(mine.network_id)
        return Link(
            parent_address=ip_address(mine.ipv4),
            child_address=ip_address(its.ipv4),
            name=f"/{record.name}/{alias}",
            bridge=bridge.spec.link_name,
            child_environment=child.spec.env,
            ports=_linkable_ports(child.spec.exposed_ports),
        )

    def _entry(
        self, record: ContainerRecord, alias: str, child: ContainerRecord
    ) -> HostsEntry | None:
        link = self._link(record, alias, child)
        return None if link is None else link.hosts_entry(child.spec.hostname, child.name)

    async def _in_hosts(
        self, record: ContainerRecord, act: Callable[..., None], *args: object
    ) -> None:
        """Change a hosts file; a container that spoils its own loses only the change."""
        try:
            file = EtcFile(self._context.files(record.id).hosts)
            await self._context.on_host(act, file, *args)
        except ToolkitError as error:
            _log.warning("container %s: %s", record.id, error)


def environment_of(links: Iterable[tuple[Link, ContainerRecord]]) -> tuple[str, ...]:
    """Return the variables that links give their parent (rule 7.9)."""
    return tuple(variable for link, _ in links for variable in link.environment())


def entries_of(links: Iterable[tuple[Link, ContainerRecord]]) -> tuple[HostsEntry, ...]:
    """Return the lines that links add to their parent's hosts file."""
    return tuple(link.hosts_entry(child.spec.hostname, child.name) for link, child in links)


def _linkable_ports(exposed: Iterable[str]) -> tuple[str, ...]:
    """Return the ports that links know: of tcp and udp."""
    found = []
    for text in exposed:
        with contextlib.suppress(InvalidPortError):
            number, protocol = parse_port(text)
            found.append(f"{number}/{protocol}")
    return tuple(found)


def _without_ways_of(address: IPv4Address, state: FirewallState) -> FirewallState:
    kept = (rule for rule in state.links if address not in {rule.source, rule.destination})
    return replace(state, links=frozenset(kept))


def _address_in(seats: Iterable[Seating]) -> IPv4Address | None:
    """Return the address on the default bridge, if that is among the seats."""
    for seating in seats:
        if seating.network.name == BRIDGE:
            return seating.seat.address.ip
    return None
