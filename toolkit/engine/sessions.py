# SPDX-License-Identifier: Apache-2.0
"""Sessions and leases: who holds what, by connection.

A **session** is a connection. When it closes, for whatever reason, everything
that carries its label is removed: containers, networks, volumes, images. A
**lease** is something made once and held by several connections: the first asker
makes it, the others get what the first one told, and with the last one everything
that carries the lease's label goes. A holder that dies lets go like any other.

What is said on the connections, a JSON document a line:

| engine | client | meaning |
|---|---|---|
| ``{"Session": id}`` | | the session stands |
| ``{"Make": true}`` | ``{"Value": ...}`` or ``{"Error": text}`` | make it, and tell the others |
| ``{"Value": ...}`` or ``{"Error": text}`` | | what another holder made |
| ``{"Kept": id}`` | ``{"Keep": id}`` | spare this container |
| ``{"Removed": {...}}`` | ``{"End": true}`` | let go, and wait until all is gone |
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from toolkit.engine.lines import Document, LineConnection
from toolkit.engine.ownership import LEASE_LABEL, REUSE_LABEL, SESSION_LABEL, Ownership, Removed
from toolkit.errors import ConflictError, InvalidRequestError, ToolkitError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

RECONNECT_SECONDS: Final = 10.0
_LONGEST_NAME: Final = 128

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Lease:
    """Something made once, and who holds it.

    Attributes:
        lock: Held by who makes it, and by who takes it away.
        outcome: What the maker told; None while there is nothing.
    """

    holders: set[LineConnection] = field(default_factory=set)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    outcome: Document | None = None


class Sessions:
    """The sessions and leases of an engine."""

    def __init__(self, ownership: Ownership) -> None:
        self._ownership = ownership
        self._open: set[str] = set()
        self._leases: dict[str, _Lease] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    @property
    def count(self) -> int:
        """How many sessions and leases are held."""
        return len(self._open) + len(self._leases)

    def check_name(self, name: str) -> str:
        """Return the name of a session or a lease.

        Raises:
            InvalidRequestError: It is none.
        """
        if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
            raise InvalidRequestError(f"a session's name has 1 to {_LONGEST_NAME} characters")
        return name

    def check_free(self, name: str) -> str:
        """Return the name of a session that nobody has open.

        Raises:
            ConflictError: Somebody has.
        """
        if self.check_name(name) in self._open:
            raise ConflictError(f"session {name} is open already")
        return name

    def hold_session(self, name: str, fd: int, pending: bytes) -> None:
        """Hold a session for as long as the connection stands; the descriptor is the engine's."""
        self._open.add(name)
        self._spawn(self._serve_session(name, fd, pending))

    def hold_lease(self, name: str, fd: int, pending: bytes) -> None:
        """Hold a lease for as long as the connection stands; the descriptor is the engine's."""
        self._spawn(self._serve_lease(name, fd, pending))

    async def prune(self) -> Removed:
        """Remove what is left of sessions and leases that nobody holds, and what was kept."""
        self._ownership.forget_kept()
        held = {(SESSION_LABEL, name) for name in self._open}
        held |= {(LEASE_LABEL, name) for name in self._leases}

        def is_left(labels: Any) -> bool:
            own = {(key, labels[key]) for key in (SESSION_LABEL, LEASE_LABEL) if key in labels}
            return bool(own - held) or REUSE_LABEL in labels

        return await self._ownership.remove_all(is_left)

    def expect_back(self, owners: set[tuple[str, str]], seconds: float = RECONNECT_SECONDS) -> None:
        """Remove what earlier engines' sessions left, unless they come back in time."""
        if owners:
            self._spawn(self._remove_unless_back(owners, seconds))

    async def unused(self, seconds: float) -> None:
        """Return when nobody has held anything for a while."""
        while True:
            self._changed.clear()
            if self.count:
                await self._changed.wait()
                continue
            try:
                await asyncio.wait_for(self._changed.wait(), seconds)
            except TimeoutError:
                return

    async def close(self) -> None:
        """Let go of every connection and remove nothing; a second call does nothing."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def end_all(self) -> None:
        """Remove all that sessions and leases hold, as if every connection had closed."""
        held = [(SESSION_LABEL, name) for name in self._open]
        held += [(LEASE_LABEL, name) for name in self._leases]
        await self.close()
        for key, name in held:
            await self._ownership.remove(key, name)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._changed.set()

    async def _remove_unless_back(self, owners: set[tuple[str, str]], seconds: float) -> None:
        await asyncio.sleep(seconds)
        for key, name in owners:
            if name not in (self._open if key == SESSION_LABEL else self._leases):
                _log.info("%s %s did not come back: removing what it had", key, name)
                await self._ownership.remove(key, name)

    async def _serve_session(self, name: str, fd: int, pending: bytes) -> None:
        connection = await LineConnection.over(fd, pending)
        ended = False
        try:
            await connection.write({"Session": name})
            ended = await self._listen(connection)
            removed = await self._ownership.remove(SESSION_LABEL, name)
            if ended:
                await connection.write({"Removed": asdict(removed)})
        finally:
            self._open.discard(name)
            self._changed.set()
            connection.close()

    async def _listen(self, connection: LineConnection) -> bool:
        """Do what a holder says until it lets go; say whether it did so in words."""
        while (document := await connection.read()) is not None:
            if document.get("End"):
                return True
            if isinstance(reference := document.get("Keep"), str):
                await connection.write(self._keep(reference))
        return False

    def _keep(self, reference: str) -> Document:
        try:
            return {"Kept": self._ownership.keep(reference)}
        except (ToolkitError, OSError) as error:
            return {"Error": str(error)}

    async def _serve_lease(self, name: str, fd: int, pending: bytes) -> None:
        connection = await LineConnection.over(fd, pending)
        try:
            with self._held(name, connection) as lease:
                ended = await self._give(name, lease, connection) and await self._listen(connection)
            removed = await self._take_away(name, lease)
            if ended:
                await connection.write({"Removed": asdict(removed)})
        finally:
            self._changed.set()
            connection.close()

    @contextmanager
    def _held(self, name: str, connection: LineConnection) -> Iterator[_Lease]:
        lease = self._leases.setdefault(name, _Lease())
        lease.holders.add(connection)
        try:
            yield lease
        finally:
            lease.holders.discard(connection)

    async def _give(self, name: str, lease: _Lease, connection: LineConnection) -> bool:
        """Give a holder what there is, or have it made; say whether it still holds on."""
        async with lease.lock:
            if lease.outcome is None:
                return await self._have_made(name, lease, connection)
            await connection.write(lease.outcome)
        return True

    async def _have_made(self, name: str, lease: _Lease, connection: LineConnection) -> bool:
        await connection.write({"Make": True})
        document = await connection.read()
        while document is not None and isinstance(reference := document.get("Keep"), str):
            await connection.write(self._keep(reference))
            document = await connection.read()
        if document is None or not ({"Value", "Error"} & document.keys()):
            # It died while it was at it: what there is of it is of no use to the next one.
            await self._ownership.remove(LEASE_LABEL, name)
            return False
        lease.outcome = document
        return True

    async def _take_away(self, name: str, lease: _Lease) -> Removed:
        """Remove what a lease holds, if nobody holds it any more."""
        async with lease.lock:
            if lease.holders or self._leases.get(name) is not lease:
                return Removed()
            removed = await self._ownership.remove(LEASE_LABEL, name)
            lease.outcome = None
            if not lease.holders:  # nobody came while it was being removed
                with contextlib.suppress(KeyError):
                    del self._leases[name]
        return removed
