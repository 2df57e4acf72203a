# SPDX-License-Identifier: Apache-2.0
"""What an engine finds of its networks when it opens, put in order.

Called when each container's state is that of the world. Who runs keeps links,
addresses, rules and ports, made again where they are missing; whatever else
bears the instance's name on links, in the firewall or as a proxy is removed
(docs/architecture.md, "Order of calls"). An instance that has had nothing on the
host's network does nothing here.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from toolkit.engine.attachment import Attachment, Seating
from toolkit.engine.network_index import BRIDGE
from toolkit.engine.network_plan import bridged, host_port, port_rules, seat_of
from toolkit.engine.network_watch import NetworkWatch
from toolkit.errors import ToolkitError
from toolkit.network.port_sockets import open_socket

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toolkit.engine.attachment import Attachments
    from toolkit.engine.container import Container
    from toolkit.engine.context import EngineContext
    from toolkit.engine.model import NetworkRecord
    from toolkit.engine.store import Contents

_log = logging.getLogger(__name__)


async def recover_networks(context: EngineContext, contents: Contents) -> None:
    """List the networks, and make the host agree with them."""
    attachments = context.attachments
    NetworkWatch(context).begin_with_first_use()
    for name in contents.damaged_networks:
        _log.warning("network %s cannot be read any more and is gone", name)
    for record in contents.networks:
        context.networks.put(record)
    running = [each for each in context.index.newest_first() if each.record.endpoints]
    if not (contents.networks or running or attachments.places.has_left_traces()):
        return
    await _Recovery(context, running).run()


class _Recovery:
    """One recovery; the containers are those that run and have seats."""

    def __init__(self, context: EngineContext, running: Iterable[Container]) -> None:
        self._context = context
        self._attachments: Attachments = context.attachments
        self._host = context.attachments.host
        self._running = {each.record.id: each for each in running}

    async def run(self) -> None:
        """Links first, rules last: what a rule leads to is there."""
        on_host = self._context.on_host
        records = [each for each in self._context.networks.all() if each.spec.driver == "bridge"]
        await self._attachments.places.prepare(ipv6=any(each.spec.ipv6 for each in records))
        for record in records:
            if record.name != BRIDGE or record.subnets or self._users(record):
                await self._find_network(record)
        for container in self._running.values():
            await self._find_seats(container)
        held: set[tuple[str, str]] = {
            (seating.network.id, container_id)
            for container_id in self._running
            if (attachment := self._attachments.held(container_id)) is not None
            for seating in attachment.seats.values()
        }
        await on_host(self._host.kit.guard.reset)
        known: set[str] = {each.id for each in records if self._host.has(each.id)}
        for name in await on_host(self._host.remove_leftovers, known, held):
            _log.warning("removed the link %s, which belongs to nobody", name)
        await self._find_proxies()
        await self._rebuild_rules(records)
        await self._context.names.recover()

    def _users(self, record: NetworkRecord) -> list[Container]:
        return [each for each in self._running.values() if record.name in each.record.endpoints]

    async def _find_network(self, record: NetworkRecord) -> None:
        taken = [
            address
            for each in self._users(record)
            for endpoint in (each.record.endpoints[record.name],)
            for address in (endpoint.ipv4, endpoint.ipv6)
        ]
        try:
            made = await self._attachments.places.put_in_place(record, taken)
        except ToolkitError as error:  # one network never keeps the engine from opening
            _log.warning("network %s: %s", record.name, error)
            return
        self._context.networks.put(made)
        if made != record:
            await self._context.store.save_network(made, durable=False)

    async def _find_seats(self, container: Container) -> None:
        record = container.record
        attachment = Attachment(
            container_id=record.id, ports=record.ports, chosen_ports=record.chosen_ports
        )
        program = container.program
        if program is None:
            return
        netns_fd = -1
        try:
            netns_fd = await self._context.on_host(
                self._host.kit.open_namespace, program.pid, program.start_time_ticks
            )
            for name, endpoint in record.endpoints.items():
                network = self._context.networks.named(name)
                if network is None or network.id != endpoint.network_id:
                    continue
                seat = seat_of(endpoint, self._host.owner(network.id, record.id))
                is_there = await self._context.on_host(
                    self._host.find_or_connect,
                    network.id,
                    seat,
                    netns_fd,
                    default_route=endpoint.has_default_route,
                )
                if not is_there:
                    _log.warning("container %s was connected to %s again", record.id, name)
                attachment.seats[name] = Seating(network=network, seat=seat, endpoint=endpoint)
            self._attachments.hold(attachment)
            await self._attachments.tell_listeners(record, attachment.seats.values(), netns_fd)
        except ToolkitError as error:
            self._attachments.hold(attachment)
            _log.warning("container %s: %s", record.id, error)
        finally:
            if netns_fd >= 0:
                os.close(netns_fd)

    async def _find_proxies(self) -> None:
        """Hold the ports of those who run, and start the proxies that are missing."""
        attachments, on_host = self._attachments, self._context.on_host
        with_ports = {key: each for key, each in self._running.items() if each.record.ports}
        attachments.published.numbers.hold(
            {host_port(port): key for key, each in with_ports.items() for port in each.record.ports}
        )
        if not await attachments.published.open_proxies_if_used(bool(with_ports)):
            return
        for name in await on_host(attachments.published.proxies.sweep, set(with_ports)):
            _log.warning("ended the proxy of %s, which does not run", name)
        there = await on_host(attachments.published.proxies.running)
        for key in with_ports.keys() - there.keys():
            attachment = attachments.held(key)
            if attachment is not None and attachments.places.settings.has_proxies:
                try:
                    attachment.sockets = [
                        (open_socket(host_port(port)), port) for port in attachment.ports
                    ]
                    await attachments.published.start_proxy(attachment)
                except ToolkitError as error:
                    _log.warning("container %s: %s", key, error)

    async def _rebuild_rules(self, records: list[NetworkRecord]) -> None:
        attachments = self._attachments
        rules = [
            port_rules(key, attachment.ports, list(attachment.endpoints.values()))
            for key in self._running
            if (attachment := attachments.held(key)) is not None
        ]
        networks = [
            bridged(record, self._host.bridge(record.id), attachments.places.settings)
            for record in records
            if self._host.has(record.id)
        ]
        links = (self._context.links.rules_of(key) for key in self._running)
        state = replace(
            attachments.desk.state,
            networks=tuple(networks),
            ports=frozenset(rule for some in rules for rule in some),
            links=frozenset(rule for some in links for rule in some),
        )
        try:
            await attachments.desk.rebuild(state)
        except ToolkitError as error:
            _log.warning("the firewall could not be written: %s", error)
            return
        for network in networks:
            await attachments.places.allow_loopback(network.bridge)
