# SPDX-License-Identifier: Apache-2.0
"""Puts rules and bridges back when somebody else has taken them away (rows S-82, F-13).

The kernel tells of each change of nftables; a comparison follows a moment later,
when a burst of changes is over. Most of what it tells is our own doing, in the midst
of a start: it is read later, all at once. Legacy iptables tells nothing: there the next
change of ours, and `doctor --repair`, find it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from toolkit.engine.context import EngineContext
    from toolkit.network.firewall_watch import RulesWatch

NEWS_SECONDS: Final = 0.05  # until what the kernel tells is read
SETTLE_SECONDS: Final = 0.1
REST_SECONDS: Final = 1.0  # between two comparisons: others may change rules all the time
_log = logging.getLogger(__name__)


class NetworkWatch:
    """Watches the rules of one engine's network namespace."""

    def __init__(self, context: EngineContext) -> None:
        self._context = context
        self._watch: RulesWatch | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last = -REST_SECONDS

    def begin_with_first_use(self) -> None:
        """Begin when the engine touches the host's network for the first time."""
        self._context.attachments.places.on_first_use = self._begin
        self._context.attachments.on_close = self.close

    def close(self) -> None:
        """Stop watching."""
        for timer in (self._reading, self._timer):
            if timer is not None:
                timer.cancel()
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch.fileno())
            self._watch.close()
            self._watch = None

    def _begin(self) -> None:
        try:
            self._watch = self._context.attachments.host.watch()
        except (OSError, ToolkitError) as error:
            _log.warning("changes of the firewall cannot be watched: %s", error)
            return
        asyncio.get_running_loop().add_reader(self._watch.fileno(), self._on_news)

    def _on_news(self) -> None:
        loop = asyncio.get_running_loop()
        if self._watch is not None:
            loop.remove_reader(self._watch.fileno())
            self._reading = loop.call_later(NEWS_SECONDS, self._read_news, self._watch)

    def _read_news(self, watch: RulesWatch) -> None:
        loop = asyncio.get_running_loop()
        self._reading = None
        loop.add_reader(watch.fileno(), self._on_news)
        if watch.changed_by_others() and self._timer is None:
            soonest = max(loop.time() + SETTLE_SECONDS, self._last + REST_SECONDS)
            self._timer = loop.call_at(soonest, self._begin_repair)

    def _begin_repair(self) -> None:
        self._timer = None
        self._last = asyncio.get_running_loop().time()
        self._context.spawn(self._repair())

    async def _repair(self) -> None:
        try:
            mended = await self._context.attachments.places.repair()
        except ToolkitError as error:
            _log.warning("the firewall could not be repaired: %s", error)
            return
        for line in mended:
            _log.warning("repaired: %s", line)
