# SPDX-License-Identifier: Apache-2.0
"""A container as the engine holds it: its record, kept in step with the store, and its news.

The lowest part of a container: it knows neither programs nor verbs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from toolkit.engine.copies import COPY_DELAY_SECONDS, write_copy
from toolkit.engine.waiters import Waiters, WaitResult
from toolkit.errors import ContainerNotFoundError, StorageError
from toolkit.runtime.lifecycle import after

if TYPE_CHECKING:
    from toolkit.engine.context import EngineContext
    from toolkit.engine.model import ContainerRecord
    from toolkit.runtime.protocol import AttachClient

_log = logging.getLogger(__name__)


class RecordedContainer:
    """A container's record, who waits for it, and who waits to be attached to it.

    Attributes:
        record: What the store has.
        is_listed: False once the container was removed.
    """

    def __init__(self, context: EngineContext, record: ContainerRecord) -> None:
        self._context = context
        self._lock = asyncio.Lock()
        self._clients: list[int] = []
        self._copy_timer: asyncio.TimerHandle | None = None
        self.record = record
        self.is_listed = True
        self.waiters = Waiters()

    def copy_soon(self) -> None:
        """Write the directory's copy of the record in a moment, if the container is still there."""
        loop = asyncio.get_running_loop()
        self._copy_timer = loop.call_later(COPY_DELAY_SECONDS, self._begin_copy)

    async def copy_now(self) -> None:
        """Write the copy that is due; called when the engine closes."""
        if self._copy_timer is not None:
            self._cancel_copy()
            await self._write_copy()

    def keep_client(self, client: AttachClient) -> None:
        """Keep a client until the program starts."""
        self._context.waiting_clients.add(client)
        self._clients.append(client.fd)

    async def _move(self, move: str, **changes: object) -> None:
        """Make a move of the life cycle and write it down."""
        await self._save(status=after(self.record.state.status, move), **changes)

    async def _save(self, **changes: object) -> None:
        """Change the state, here and in the store.

        A full disk does not stop a container from being stopped: the state here
        is right, the next write carries it along, and recovery asks the world.
        """
        self._change(**changes)
        await self._write_state(self.record)

    def _move_soon(self, move: str, **changes: object) -> asyncio.Task[None]:
        """Make a move here and begin to write it down; return the task that does.

        Waited for where a crash must find it. A program's start and end are
        told by its shim or its exit file, too: for them the store may lag.
        It takes its writes in order.
        """
        self._change(status=after(self.record.state.status, move), **changes)
        return self._write_soon()

    def _write_soon(self) -> asyncio.Task[None]:
        """Begin to write the record down as it is."""
        return self._context.spawn(self._write_state(self.record))

    def _change(self, **changes: object) -> None:
        state = replace(self.record.state, **changes)  # type: ignore[arg-type]  # fields of the state, by name
        self.record = replace(self.record, state=state)

    async def _write_state(self, record: ContainerRecord) -> None:
        try:
            await self._context.store.save(record, durable=False)
        except StorageError as error:
            _log.warning("container %s is %s, unsaved: %s", record.id, record.state.status, error)

    async def _commit(self, record: ContainerRecord) -> None:
        """Change more than the state: on the disk first, or not at all."""
        await self._context.store.save(record)
        self.record = record

    def _check_listed(self) -> None:
        if not self.is_listed:
            raise ContainerNotFoundError(self.record.id)

    def _result(self) -> WaitResult:
        return WaitResult(exit_code=self.record.state.exit_code)

    def _take_clients(self) -> list[AttachClient]:
        fds, self._clients = self._clients, []
        taken = [self._context.waiting_clients.take(fd) for fd in fds]
        return [client for client in taken if client is not None]

    def tell(self, action: str, **attributes: str) -> None:
        """Publish what happened to this container."""
        record = self.record
        own = {**record.spec.labels, "image": record.spec.image, "name": record.name}
        self._context.events.publish("container", action, record.id, {**own, **attributes})

    def _cancel_copy(self) -> None:
        if self._copy_timer is not None:
            self._copy_timer.cancel()
            self._copy_timer = None

    def _begin_copy(self) -> None:
        self._context.spawn(self._write_copy())

    async def _write_copy(self) -> None:
        self._copy_timer = None
        async with self._lock:
            if self.is_listed:
                container_dir = self._context.files(self.record.id).dir
                with contextlib.suppress(OSError):  # the store has it: the copy is spare
                    await self._context.on_host(write_copy, container_dir, self.record)

    def _close_clients(self) -> None:
        for client in self._take_clients():
            os.close(client.fd)
