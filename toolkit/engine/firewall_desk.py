# SPDX-License-Identifier: Apache-2.0
"""The one place where the firewall is changed: one transaction at a time, many changes in one.

A change is a function from the state that is wanted to the next. Whoever comes
while a transaction runs is put into the next one together, so that a hundred
containers that start at once cost a few transactions. In the quiet behind a change all is made
ready for the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from toolkit.errors import FirewallError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from toolkit.network.firewall import Firewall, FirewallState

    Alter = Callable[[FirewallState], FirewallState]
    Change = tuple[Alter, asyncio.Future[None]]
    OnHost = Callable[..., Awaitable[None]]

_log = logging.getLogger(__name__)
QUIET_SECONDS: Final = 0.1  # behind a change, before the next is made ready for
MOST_CHANGES: Final = 500  # in one transaction: a refused one is tried change by change


class FirewallDesk:
    """What is wanted of the firewall, and the way to change it.

    Args:
        firewall: Returns what carries it out; asked for at the first change.
        on_host: Runs something that blocks, beside the event loop.
        state: What is wanted at first, before any change.

    Attributes:
        state: What is in place.
    """

    def __init__(
        self, firewall: Callable[[], Firewall], on_host: OnHost, state: FirewallState
    ) -> None:
        self._firewall = firewall
        self._on_host = on_host
        self._pending: list[Change] = []
        self._lock = asyncio.Lock()
        self._is_written = False
        self._quiet_timer: asyncio.TimerHandle | None = None
        self._expecting: asyncio.Future[None] | None = None
        self.state = state

    @property
    def is_written(self) -> bool:
        """Whether this engine has written anything; before, nothing of it is in place."""
        return self._is_written

    async def change(self, alter: Alter) -> None:
        """Make a change, and return when it is in the kernel.

        Raises:
            FirewallError: It was refused; what is wanted is as it was before.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((alter, done))
        async with self._lock:
            while not done.done():
                await self._write_pending()
        await done

    async def rebuild(self, state: FirewallState) -> None:
        """Write everything anew, whatever is there: an engine has started.

        Raises:
            FirewallError: It was refused.
        """
        async with self._lock:
            await self._apply(None, state)

    async def repair(self) -> list[str]:
        """Compare what is in the kernel with what is wanted, mend it, and return what was wrong.

        Raises:
            FirewallError: It cannot be mended.
        """
        if not self._is_written:
            return []
        async with self._lock:
            missing: list[str] = []
            await self._on_host(lambda: missing.extend(self._firewall().repair(self.state)))
            return missing

    async def close(self) -> None:
        """Let go of the firewall, which stays as it is."""
        if self._quiet_timer is not None:
            self._quiet_timer.cancel()
        if self._expecting is not None:
            await asyncio.wait([self._expecting])

    def _expect_soon(self) -> None:
        loop = asyncio.get_running_loop()
        if self._quiet_timer is not None:
            self._quiet_timer.cancel()
        self._quiet_timer = loop.call_later(QUIET_SECONDS, self._begin_expecting)

    def _begin_expecting(self) -> None:
        self._expecting = asyncio.ensure_future(self._expect())

    async def _expect(self) -> None:
        with contextlib.suppress(FirewallError, OSError):  # the change itself will tell
            await self._on_host(lambda: self._firewall().expect())

    async def _write_pending(self) -> None:
        batch, self._pending = self._pending[:MOST_CHANGES], self._pending[MOST_CHANGES:]
        try:
            await self._write(batch)
        except FirewallError as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            _log.warning("%d changes of the firewall are tried one by one: %s", len(batch), error)
            for change in batch:
                try:
                    await self._write([change])
                except FirewallError as own_error:
                    change[1].set_exception(own_error)
        except BaseException as error:
            for _, done in batch:
                if not done.done():
                    done.set_exception(FirewallError("the firewall was not changed", repr(error)))
            raise

    async def _write(self, batch: list[Change]) -> None:
        wanted = self.state
        for alter, _ in batch:
            wanted = alter(wanted)
        if wanted != self.state or not self._is_written:
            await self._apply(self.state if self._is_written else None, wanted)
        for _, done in batch:
            done.set_result(None)

    async def _apply(self, previous: FirewallState | None, state: FirewallState) -> None:
        await self._on_host(lambda: self._firewall().apply(previous, state))
        self.state, self._is_written = state, True
        self._expect_soon()
