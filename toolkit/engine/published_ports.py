# SPDX-License-Identifier: Apache-2.0
"""The published ports of running containers: numbers, rules, and the proxies behind them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from toolkit.engine.network_plan import address_for, port_rules, port_wishes, published
from toolkit.engine.port_choice import has_ipv6, publish_as_before, publish_beside
from toolkit.network.ports import PortAllocator

if TYPE_CHECKING:
    from toolkit.engine.attachment import Attachment
    from toolkit.engine.context import EngineContext
    from toolkit.engine.firewall_desk import FirewallDesk
    from toolkit.engine.model import ContainerRecord, PublishedPort
    from toolkit.engine.network_settings import NetworkSettings
    from toolkit.engine.port_choice import Given
    from toolkit.engine.ports import ProxyHost
    from toolkit.network.firewall import FirewallState
    from toolkit.network.firewall import PublishedPort as PortRule
    from toolkit.network.ports import PortWish

PROXIES_DIR: Final = "proxies"


class PublishedPorts:
    """Which ports of the host lead to which container.

    Attributes:
        numbers: Which are given to whom.
    """

    def __init__(
        self,
        context: EngineContext,
        proxies: ProxyHost,
        settings: NetworkSettings,
        desk: FirewallDesk,
    ) -> None:
        self._context = context
        self._desk = desk
        self._opening = asyncio.Lock()
        self._proxies_dir = context.instance.run_dir / PROXIES_DIR
        self._are_proxies_open = False
        self.proxies = proxies
        self.settings = settings
        self.numbers = PortAllocator()

    def reserve(self, attachment: Attachment, record: ContainerRecord) -> None:
        """Reserve and bind all that a container wishes to have published, or nothing.

        Raises:
            PortInUseError: A container, or a process, holds a port that was asked for.
            AllPortsTakenError: None is left of those that would do.
            InvalidPortError: The kernel does not let us use it.
        """
        wishes = port_wishes(record, self.settings.publish_address)
        if not wishes:
            return
        given = publish_as_before(self.numbers, wishes, record)
        both = given + self._beside(wishes, given, record)
        attachment.ports = tuple(published(port) for port, _ in both)
        attachment.sockets = [(bound, published(port)) for port, bound in both]
        attachment.chosen_ports = tuple(
            published(port) for wish, (port, _) in zip(wishes, given, strict=True) if not wish.first
        )

    @cached_property
    def _has_ipv6(self) -> bool:
        """As it was when the engine published its first port."""
        return has_ipv6()

    def _beside(self, wishes: list[PortWish], given: Given, record: ContainerRecord) -> Given:
        """Return the same ports of IPv6, where proxies serve them: no rule leads there."""
        if not (self.settings.has_proxies and self._has_ipv6):
            return []
        return publish_beside(self.numbers, wishes, given, record.id)

    async def open(self, attachment: Attachment, *, has_links: bool) -> None:
        """Make the rules for a container's ports, and for those that it has links to.

        Raises:
            FirewallError: They were refused.
        """
        if not (attachment.ports or has_links):
            return
        rules, owner = self._rules_of(attachment), attachment.container_id

        def alter(state: FirewallState) -> FirewallState:
            state = replace(state, ports=state.ports | rules)
            return self._context.links.with_rules_of(state, owner) if has_links else state

        await self._desk.change(alter)

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

    async def move(self, attachment: Attachment) -> None:
        """Let published ports lead to the address that a container has now."""
        if not attachment.ports:
            return
        rules = self._rules_of(attachment)
        short = attachment.container_id
        await self._desk.change(
            lambda state: replace(state, ports=_without_owner(state, short).ports | rules)
        )

    async def close_way(self, attachment: Attachment) -> None:
        """Take away rules, then the proxy, then the numbers.

        Raises:
            FirewallError: The rules stay: nothing that they lead to may be given on.
            ProxyError: The proxy does not end.
        """
        owner = attachment.container_id
        state = self._desk.state
        if attachment.ports or _without_owner(state, owner) != state:
            await self._desk.change(lambda state: _without_owner(state, owner))
        for bound, _ in attachment.sockets:
            bound.close()
        if attachment.ports and self._are_proxies_open:
            await self._context.on_host(self.proxies.stop, owner)
        self.numbers.release_all(owner)

    def give_back(self, attachment: Attachment) -> None:
        """Undo a reservation of which no rule and no proxy knows."""
        for bound, _ in attachment.sockets:
            bound.close()
        self.numbers.release_all(attachment.container_id)

    async def close(self) -> None:
        """Let go of the proxies, which go on."""
        if self._are_proxies_open:
            await self._context.on_host(self.proxies.close)

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


def bound_version(port: PublishedPort) -> int:
    """Return the family of a port of the host."""
    return 6 if ":" in port.host_ip else 4


def _without_owner(state: FirewallState, container_id: str) -> FirewallState:
    return replace(
        state,
        ports=frozenset(p for p in state.ports if p.owner.container_id != container_id),
        links=frozenset(p for p in state.links if p.owner.container_id != container_id),
    )
