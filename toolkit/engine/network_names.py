# SPDX-License-Identifier: Apache-2.0
"""Names of containers on user networks: published, and answered at 127.0.0.11.

Decides who is called what and whom a container asks; the name server that
carries it out (`toolkit.network.names_server`) is started when the first container joins
such a network, and outlives the engine. What is told follows from the records, so
a server that was lost is told everything again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from toolkit.engine.index import SHORT_ID_LENGTH
from toolkit.engine.link_texts import private_names
from toolkit.engine.network_index import BRIDGE
from toolkit.errors import InvalidNameError, NameServerError, ToolkitError
from toolkit.kernel.process import open_pidfd
from toolkit.network.dns.table import Asking, NameRecord
from toolkit.network.hosts_file import check_host_name
from toolkit.network.resolv_conf import from_host, host_resolv_conf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from toolkit.engine.attachment import Seating
    from toolkit.engine.context import EngineContext
    from toolkit.engine.model import ContainerRecord, EndpointRecord, NetworkId
    from toolkit.engine.ports import NamesHost, RunningProgram

    Address = IPv4Address | IPv6Address

NAMES_DIR: Final = "names"
_PAUSES_SECONDS: Final = (0.0, 0.1, 1.0, 5.0)  # before a lost server is replaced, again and again
_LONG_SECONDS: Final = 60.0  # one that lived so long is replaced at once

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What is known of a container on one network."""

    network_id: NetworkId
    network_name: str
    known: NameRecord


def has_names(network_name: str) -> bool:
    """Say whether containers find each other by name on a network: not on the default bridge."""
    return network_name != BRIDGE


def named_endpoints(record: ContainerRecord) -> dict[str, EndpointRecord]:
    """Return the seats of a container where names are known, by the networks' names."""
    return {name: seat for name, seat in record.endpoints.items() if has_names(name)}


def publications_of(record: ContainerRecord) -> list[Publication]:
    """Return what is to be known of a container that runs."""
    return [
        Publication(
            network_id=seat.network_id,
            network_name=name,
            known=NameRecord(record.id, names_on(record, name), _addresses(seat)),
        )
        for name, seat in named_endpoints(record).items()
    ]


def _addresses(seat: EndpointRecord) -> tuple[Address, ...]:
    return tuple(ip_address(text) for text in (seat.ipv4, seat.ipv6) if text)


def names_on(record: ContainerRecord, network_name: str) -> tuple[str, ...]:
    """Return what a container is called on a network: its name, aliases, short id, host name."""
    wish = record.spec.endpoints.get(network_name)
    aliases = wish.aliases if wish is not None else ()
    names = (record.name, *aliases, record.id[:SHORT_ID_LENGTH], record.spec.hostname)
    return tuple(name for name in dict.fromkeys(names) if _is_host_name(name))


def asking_of(
    record: ContainerRecord, without: Iterable[str] = (), *, dns: tuple[str, ...] = ()
) -> Asking | None:
    """Return whom a container asks; None if it is on no network with names.

    Args:
        record: Who.
        without: Names of networks that it is about to leave.
        dns: The engine's resolvers, for one that names none.
    """
    left = set(without)
    seats = {name: seat for name, seat in record.endpoints.items() if name not in left}
    networks = tuple(seat.network_id for name, seat in seats.items() if has_names(name))
    if not networks:
        return None
    resolvers: tuple[Address, ...] = ()
    if any(seat.gateway or seat.ipv6_gateway for seat in seats.values()):
        asked = tuple(ip_address(text) for text in record.spec.host.dns or dns)
        resolvers = from_host(host_resolv_conf(), asked)
    return Asking(
        networks=networks, resolvers=resolvers, private_names=private_names(record.spec, seats)
    )


class NetworkNames:
    """Tells the name server what becomes of containers: an `AttachmentListener`."""

    def __init__(self, context: EngineContext, server: NamesHost) -> None:
        self._context = context
        self._server = server
        self._attached: set[str] = set()
        self._opening = asyncio.Lock()
        self._server_fd = -1
        self._losses = 0
        self._opened_at = 0.0

    async def attached(
        self, record: ContainerRecord, seats: Iterable[Seating], netns_fd: int
    ) -> None:
        """Make a container known on networks, and answer it."""
        if not any(has_names(seating.network.name) for seating in seats):
            return
        await self._open()
        container = self._context.index.get(record.id)
        program = container.program if container is not None else None
        await self._tell(lambda: self._introduce(record, netns_fd, program))

    async def detached(self, container_id: str, seats: Iterable[Seating]) -> None:
        """Make a container unknown on networks; answer it no more when it is on none."""
        left = {each.network.id: each.network.name for each in seats}
        named = [key for key, name in left.items() if has_names(name)]
        if self._server_fd < 0 or not named:
            return
        container = self._context.index.get(container_id)
        asking = self._asking(container.record, left.values()) if container is not None else None
        await self._tell(lambda: self._dismiss(container_id, named, asking))

    async def renamed(self, record: ContainerRecord) -> None:
        """Make a container known by its new name."""
        if self._server_fd >= 0 and named_endpoints(record):
            await self._tell(lambda: self._publish(record))

    def watch_soon(self, record: ContainerRecord, program: RunningProgram) -> None:
        """Have a container forgotten when its program ends, engine or not."""
        if record.id in self._attached:
            self._context.spawn(self._watch(record.id, program))

    async def recover(self) -> None:
        """Take back what an earlier engine has published of those that run no more."""
        if not await self._context.on_host(self._server.is_there):
            return
        await self._open()
        running: set[str] = {
            each.record.id for each in self._context.index.newest_first() if each.program
        }
        await self._tell(lambda: self._forget_all_but(running))

    async def close(self) -> None:
        """Let go of the server, which goes on for those who run."""
        is_open = self._server_fd >= 0
        self._stop_watching()
        if is_open and not self._attached:
            await self._context.on_host(self._server.stop)
        self._server.close()

    def _asking(self, record: ContainerRecord, without: Iterable[str] = ()) -> Asking | None:
        return asking_of(record, without, dns=self._context.parts.network_settings.dns)

    # -- in a thread ---------------------------------------------------------------

    def _introduce(
        self, record: ContainerRecord, netns_fd: int, program: RunningProgram | None
    ) -> None:
        asking = self._asking(record)
        if asking is None:
            return
        self._publish(record)
        if record.id in self._attached:
            self._server.seat(record.id, asking)
        else:
            self._server.attach(record.id, netns_fd, asking)
            self._attached.add(record.id)
        if program is not None:
            self._name_program(record.id, program)

    def _publish(self, record: ContainerRecord) -> None:
        for publication in publications_of(record):
            self._server.publish(
                publication.network_id, publication.network_name, publication.known
            )

    def _dismiss(self, container_id: str, networks: Iterable[str], asking: Asking | None) -> None:
        for network_id in networks:
            self._server.withdraw(network_id, container_id)
        if asking is None:
            self._attached.discard(container_id)
            self._server.detach(container_id)
        elif container_id in self._attached:
            self._server.seat(container_id, asking)

    def _forget_all_but(self, running: set[str]) -> None:
        state = self._server.state()
        for container_id in state.containers - running:
            self._attached.discard(container_id)
            self._server.detach(container_id)
        for network_id, published in state.published.items():
            for container_id in published - running:
                self._server.withdraw(network_id, container_id)

    def _name_program(self, container_id: str, program: RunningProgram) -> None:
        with contextlib.suppress(ToolkitError):  # it has ended: the engine hears of that
            self._server.watch(container_id, program.pid, program.start_time_ticks)

    # -- the server itself ---------------------------------------------------------

    async def _tell(self, act: Callable[[], None]) -> None:
        """Tell the server something; one that was lost meanwhile is replaced first."""
        try:
            await self._context.on_host(act)
        except NameServerError:
            self._stop_watching()
            await self._open()
            await self._context.on_host(act)

    async def _open(self) -> None:
        async with self._opening:
            if self._server_fd >= 0:
                return
            is_new = await self._context.on_host(self._server.open)
            state = await self._context.on_host(self._server.state)
            self._attached = set(state.containers)
            self._opened_at = time.monotonic()
            self._server_fd = await self._context.on_host(open_pidfd, state.pid)
            asyncio.get_running_loop().add_reader(self._server_fd, self._on_loss)
            if is_new:
                await self._introduce_all()

    async def _introduce_all(self) -> None:
        """Tell a new server of everybody who runs."""
        kit = self._context.attachments.host.kit
        for container in self._context.index.newest_first():
            program, record = container.program, container.record
            if program is None or not named_endpoints(record):
                continue
            try:
                netns_fd = await self._context.on_host(
                    kit.open_namespace, program.pid, program.start_time_ticks
                )
            except ToolkitError:  # it is about to end
                continue
            try:
                await self._context.on_host(self._introduce, record, netns_fd, program)
            except ToolkitError as error:  # one container never keeps the others from being found
                _log.warning("container %s has no names: %s", record.id, error)
            finally:
                os.close(netns_fd)

    def _on_loss(self) -> None:
        self._stop_watching()
        if time.monotonic() - self._opened_at > _LONG_SECONDS:
            self._losses = 0
        _log.warning("the name server has ended; another one is started")
        self._context.spawn(self._replace())

    async def _replace(self) -> None:
        """Start another server; one that does not stay up is started more and more rarely."""
        for pause in _PAUSES_SECONDS[min(self._losses, len(_PAUSES_SECONDS) - 1) :]:
            self._losses += 1
            await asyncio.sleep(pause)
            try:
                await self._open()
            except ToolkitError as error:
                _log.warning("names on user networks are not answered: %s", error)
            else:
                return

    def _stop_watching(self) -> None:
        if self._server_fd >= 0:
            asyncio.get_running_loop().remove_reader(self._server_fd)
            os.close(self._server_fd)
            self._server_fd = -1

    async def _watch(self, container_id: str, program: RunningProgram) -> None:
        with contextlib.suppress(ToolkitError):
            await self._context.on_host(self._name_program, container_id, program)


def _is_host_name(name: str) -> bool:
    try:
        check_host_name(name)
    except InvalidNameError:
        return False
    return True
