# SPDX-License-Identifier: Apache-2.0
"""A container's networks while it lives: put on one, taken off one, running or not.

What it is to be on stands in its request and is on the disk first; what it has
while it runs is `toolkit.engine.attachment`'s.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from toolkit.engine.attachment import Attachment
from toolkit.engine.networked import has_no_seats
from toolkit.engine.program import ContainerProgram
from toolkit.errors import (
    ConflictError,
    EndpointExistsError,
    InvalidRequestError,
    NamespaceError,
    NotFoundError,
    NotRunningError,
    ToolkitError,
)

if TYPE_CHECKING:
    from toolkit.engine.attachment import Seating
    from toolkit.engine.model import ContainerRecord, EndpointSpec, NetworkRecord
    from toolkit.engine.ports import RunningProgram


_log = logging.getLogger(__name__)


class ConnectedContainer(ContainerProgram):
    """A container that can be put on networks and taken off them."""

    async def connect(self, network: NetworkRecord, wish: EndpointSpec) -> None:
        """Put it on a network, at once when it runs, and at each start from now on.

        Raises:
            EndpointExistsError: It is on it.
            InvalidRequestError: The network takes nobody.
            ConflictError: It has no network of its own.
            AddressInUseError: The wanted address is another's.
        """
        await self._context.whole(self._connect(network, wish))

    async def disconnect(self, network: NetworkRecord, *, force: bool = False) -> None:
        """Take it off a network.

        Args:
            network: Which.
            force: One that it is not on is passed over.

        Raises:
            ConflictError: It is not on it.
        """
        await self._context.whole(self._disconnect(network, force=force))

    async def mend_links(self) -> list[str]:
        """Make links again that somebody has deleted; return a line for each.

        Raises:
            LinkError: The kernel refuses.
        """
        async with self._lock:
            attachment = self._context.attachments.held(self.record.id)
            if self.program is None or attachment is None:
                return []
            return await self._mend(self.program, attachment)

    async def _mend(self, program: RunningProgram, attachment: Attachment) -> list[str]:
        attachments, mended = self._context.attachments, []
        on_host = self._context.on_host
        for name, seating in attachment.seats.items():
            network_id = seating.network.id
            if await on_host(attachments.host.is_connected, network_id, self.record.id):
                continue
            await on_host(attachments.host.disconnect, network_id, self.record.id)
            netns_fd = await on_host(self._open_network, program)
            try:
                await attachments.connect_seat(seating, netns_fd)
            finally:
                os.close(netns_fd)
            mended.append(f"the link of container {self.record.name} to {name} was gone")
        return mended

    @property
    def names(self) -> list[str]:
        """Every path that leads to it, its own name first (rule 10.29)."""
        return self._context.index.names_of(self.record)

    @property
    def links(self) -> list[str]:
        """Its links on the default bridge as docker's inspect has them: ``/db:/web/store``."""
        record = self.record
        return [
            f"/{child.record.name}:/{record.name}/{alias}"
            for alias, child in self._context.index.children(record).items()
        ]

    async def unlink(self, alias: str) -> None:
        """Remove one of its links; a running program keeps the variables that it was given.

        Raises:
            NotFoundError: It has no link of that alias.
        """
        await self._context.whole(self._unlink(alias))

    async def _unlink(self, alias: str) -> None:
        async with self._lock:
            self._check_listed()
            record, index = self.record, self._context.index
            child = index.children(record).get(alias)
            if child is None:
                raise NotFoundError(f"No such link: /{record.name}/{alias}")
            kept = {each: to for each, to in record.links.items() if each != alias}
            await self._commit(replace(record, links=kept))
            index.drop_link(record, alias)
            await self._context.links.dropped(self.record, alias, child.record)

    async def _connect(self, network: NetworkRecord, wish: EndpointSpec) -> None:
        async with self._lock:
            self._check_listed()
            self._check_seats(network)
            before, name = self.record, network.name
            if self._is_on(name):
                raise EndpointExistsError(before.name, name)
            wishes = {each: before.spec.endpoints[each] for each in before.spec.endpoints}
            spec = replace(before.spec, endpoints={**wishes, name: wish})
            await self._commit(replace(before, spec=spec))
            if self.program is None:
                return
            try:
                await self._take_seat(self.program, name)
                await self._renew_etc(before)
            except BaseException:
                await self._commit(replace(self.record, spec=before.spec))
                raise

    async def _take_seat(self, program: RunningProgram, name: str) -> None:
        attachments = self._context.attachments
        attachment = attachments.held(self.record.id) or Attachment(container_id=self.record.id)
        has_way = any(each.endpoint.has_default_route for each in attachment.seats.values())
        seating = await attachments.reserve_seat(
            self.record, name, interface=_free_interface(attachment), is_first_way=not has_way
        )
        try:
            await self._save_endpoints({**attachment.seats, name: seating})
            netns_fd = await self._context.on_host(self._open_network, program)
            try:
                await attachments.connect_seat(seating, netns_fd)
                await attachments.tell_attached(self.record, [seating], netns_fd)
            finally:
                os.close(netns_fd)
        except BaseException:
            await attachments.disconnect_seat(self.record.id, seating)
            await self._save_endpoints(attachment.seats)
            raise
        attachment.seats[name] = seating
        attachments.hold(attachment)

    async def _disconnect(self, network: NetworkRecord, *, force: bool) -> None:
        async with self._lock:
            self._check_listed()
            self._check_seats(network)
            record, name = self.record, network.name
            if not self._is_on(name):
                if force:
                    return
                raise ConflictError(f"container {record.id} is not connected to network {name}")
            wishes = {each: wish for each, wish in record.spec.endpoints.items() if each != name}
            await self._commit(replace(record, spec=replace(record.spec, endpoints=wishes)))
            if self.program is not None:
                await self._leave_seat(self.program, name)
                await self._renew_etc(record)

    async def _renew_etc(self, before: ContainerRecord) -> None:
        """Let its program see its networks in /etc; one that spoilt its files sees it later."""
        files = self._context.files(self.record.id)
        try:
            await self._context.on_host(files.renew_etc, before, self.record)
        except ToolkitError as error:
            _log.warning("container %s: %s", self.record.id, error)

    async def _leave_seat(self, program: RunningProgram, name: str) -> None:
        attachments = self._context.attachments
        attachment = attachments.held(self.record.id)
        seating = attachment.seats.pop(name, None) if attachment else None
        if attachment is None or seating is None:
            return
        heir = _heir(attachment) if seating.endpoint.has_default_route else None
        if heir is not None:
            attachment.seats[heir] = _with_route(attachment.seats[heir])
        await attachments.published.move(attachment)
        await attachments.disconnect_seat(self.record.id, seating)
        if heir is not None:
            await self._context.on_host(
                self._give_route, program, attachment.seats[heir].network.id
            )
        await self._save_endpoints(attachment.seats)

    def _give_route(self, program: RunningProgram, network_id: str) -> None:
        netns_fd = self._open_network(program)
        try:
            self._context.attachments.host.add_default_route(network_id, netns_fd)
        finally:
            os.close(netns_fd)

    def _open_network(self, program: RunningProgram) -> int:
        try:
            return self._context.attachments.host.kit.open_namespace(
                program.pid, program.start_time_ticks
            )
        except NamespaceError as error:
            raise NotRunningError(self.record.id) from error

    async def _save_endpoints(self, seats: dict[str, Seating]) -> None:
        endpoints = {name: seating.endpoint for name, seating in seats.items()}
        self.record = replace(self.record, endpoints=endpoints)
        await self._write_state(self.record)

    def _is_on(self, name: str) -> bool:
        """Say whether it has a seat on a network, or is to have one at its next start.

        One that was taken off all of them is on none until then, whatever its mode says.
        """
        return name in self.record.spec.endpoints or name in self.record.endpoints

    def _check_seats(self, network: NetworkRecord) -> None:
        mode = self.record.spec.host.network_mode
        if network.spec.driver != "bridge":
            raise InvalidRequestError(
                f"container cannot be connected to or disconnected from {network.name} network"
            )
        if has_no_seats(mode) and mode != "none":
            raise ConflictError(
                "container sharing network namespace with another container or host "
                "cannot be connected to any other network"
            )


def _free_interface(attachment: Attachment) -> str:
    taken = {seating.seat.interface_name for seating in attachment.seats.values()}
    return next(name for n in range(len(taken) + 1) if (name := f"eth{n}") not in taken)


def _heir(attachment: Attachment) -> str | None:
    """Return the network that leads out next."""
    return next((name for name, each in attachment.seats.items() if each.endpoint.gateway), None)


def _with_route(seating: Seating) -> Seating:
    return replace(seating, endpoint=replace(seating.endpoint, has_default_route=True))
