# SPDX-License-Identifier: Apache-2.0
"""The networks of an engine on its host: made when needed, mended, removed.

The first network that is needed is also when the host is touched at all:
forwarding, the watch over the rules, and the trace by which the next engine
knows that there is something to find.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv6Network
from typing import TYPE_CHECKING, Final

from toolkit.engine.network_index import BRIDGE
from toolkit.engine.network_plan import bridged, plan_of, pool_of, pools_of
from toolkit.errors import NetworkInUseError
from toolkit.network.firewall import LinkName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ipaddress import IPv4Network

    from toolkit.engine.context import EngineContext
    from toolkit.engine.firewall_desk import FirewallDesk
    from toolkit.engine.model import NetworkRecord
    from toolkit.engine.network_settings import NetworkSettings
    from toolkit.network.firewall import FirewallState
    from toolkit.network.host import HostNetworks

TRACES_NAME: Final = "network-used"  # in the run directory: it goes with a reboot, as rules do

_log = logging.getLogger(__name__)


class NetworkPlaces:
    """The networks of an engine on its host.

    Attributes:
        users_of: Returns who has a seat on a network.
        on_first_use: Called when the host's network is touched for the first time.
    """

    def __init__(
        self,
        context: EngineContext,
        host: HostNetworks,
        settings: NetworkSettings,
        desk: FirewallDesk,
    ) -> None:
        self._context = context
        self._making = asyncio.Lock()
        self._traces = context.instance.run_dir / TRACES_NAME
        self.host = host
        self.settings = settings
        self.desk = desk
        self.users_of: Callable[[NetworkRecord], list[str]] = lambda _: []
        self.on_first_use: Callable[[], None] = lambda: None

    async def make(self, record: NetworkRecord) -> NetworkRecord:
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
            avoided6=self._subnets6_but(record),
            taken=taken,
        )
        made = await self._context.on_host(self.host.make, plan)
        return replace(record, subnets=pools_of(made, record.subnets))

    async def remove(self, record: NetworkRecord) -> None:
        """Take a network off the host, unless somebody has come onto it by now.

        Raises:
            NetworkInUseError: Somebody has.
        """
        async with self._making:
            users = self.users_of(record)
            if users:
                raise NetworkInUseError(record.name, record.id, users)
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

    async def save_cursors(self) -> None:
        """Note where each network's addresses go on, so that a released one is given last."""
        for record in list(self._context.networks.all()):
            if self.host.has(record.id):
                last = str(self.host.bridge(record.id).addresses.last)
                if last != record.last_ipv4:
                    saved = replace(record, last_ipv4=last)
                    await self._context.store.save_network(saved, durable=False)

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

    async def allow_loopback(self, bridge: LinkName) -> None:
        """Let 127.0.0.1 be translated where no proxy serves it; the raw rules are there."""
        if not self.settings.has_proxies:
            await self._context.on_host(self.host.kit.forwarding.allow_loopback_nat, bridge)

    async def _let_pass(self, record: NetworkRecord) -> None:
        network = bridged(record, self.host.bridge(record.id), self.settings)
        await self.desk.change(
            lambda state: replace(
                _without_network(state, network.bridge),
                networks=(*_without_network(state, network.bridge).networks, network),
            )
        )
        await self.allow_loopback(network.bridge)

    def _subnets_but(self, record: NetworkRecord) -> list[IPv4Network]:
        return [
            self.host.bridge(other.id).spec.interface.network
            for other in self._context.networks.all()
            if other.id != record.id and self.host.has(other.id)
        ]

    def _subnets6_but(self, record: NetworkRecord) -> list[IPv6Network]:
        others = (other for other in self._context.networks.all() if other.id != record.id)
        pools = (pool_of(other.subnets, 6) for other in others)
        found = [IPv6Network(pool.subnet) for pool in pools if pool is not None]
        if self.settings.fixed_cidr_v6 and record.name != BRIDGE:
            found.append(IPv6Network(self.settings.fixed_cidr_v6))
        return found


def _without_network(state: FirewallState, bridge: LinkName) -> FirewallState:
    return replace(state, networks=tuple(n for n in state.networks if n.bridge != bridge))
