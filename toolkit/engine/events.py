# SPDX-License-Identifier: Apache-2.0
"""What happened, told to whoever listens, and the last 256 events for who comes late.

One event loop owns the hub, and neither publishing nor subscribing awaits
anything: a listener sees each event once, replayed or live, in order. A
listener that does not read loses the oldest events and is told how many.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

KEPT_EVENTS: Final = 256
_QUEUED_EVENTS: Final = 4096

EventType = Literal["container", "image", "network", "volume", "daemon"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened.

    Attributes:
        action: docker's word, e.g. ``start``.
        id: Full id of what it happened to.
        attributes: docker's ``Actor.Attributes``.
        time_ns: Unix time.
    """

    type: EventType
    action: str
    id: str
    attributes: dict[str, str] = field(default_factory=dict)
    time_ns: int = 0


@dataclass(eq=False)
class _Listener:
    predicate: Callable[[Event], bool]
    queue: deque[Event] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    lost: int = 0

    def offer(self, event: Event) -> None:
        if not self.predicate(event):
            return
        if len(self.queue) >= _QUEUED_EVENTS:
            self.queue.popleft()
            self.lost += 1
        self.queue.append(event)
        self.wake.set()


class EventHub:
    """The place where events are published and listened to."""

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._kept: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._listeners: weakref.WeakSet[_Listener] = weakref.WeakSet()
        self._closed = asyncio.Event()

    @property
    def listener_count(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    def publish(
        self, kind: EventType, action: str, subject: str, attributes: dict[str, str]
    ) -> Event:
        """Tell every listener what happened; never blocks."""
        event = Event(
            type=kind, action=action, id=subject, attributes=attributes, time_ns=self._clock_ns()
        )
        self._kept.append(event)
        for listener in self._listeners:
            listener.offer(event)
        return event

    def subscribe(
        self,
        since_ns: int | None = None,
        until_ns: int | None = None,
        predicate: Callable[[Event], bool] = lambda _: True,
    ) -> AsyncIterator[Event]:
        """Return the kept events from *since_ns* on, then the live ones up to *until_ns*.

        Without *since_ns* only live ones. The listener counts from this call
        on, not from the first read.
        """
        listener = _Listener(predicate)
        if since_ns is not None:
            for event in self._kept:
                if event.time_ns >= since_ns:
                    listener.offer(event)
        self._listeners.add(listener)
        return self._follow(listener, until_ns)

    def close(self) -> None:
        """End every subscription, after what it has not read yet."""
        self._closed.set()
        for listener in self._listeners:
            listener.wake.set()

    async def _follow(self, listener: _Listener, until_ns: int | None) -> AsyncIterator[Event]:
        try:
            while True:
                if listener.lost:
                    yield self._lost(listener)
                while listener.queue:
                    event = listener.queue.popleft()
                    if until_ns is not None and event.time_ns > until_ns:
                        return
                    yield event
                if self._closed.is_set() or not await self._wait(listener, until_ns):
                    return
        finally:
            self._listeners.discard(listener)

    def _lost(self, listener: _Listener) -> Event:
        lost, listener.lost = listener.lost, 0
        return Event(
            type="daemon",
            action="events lost",
            id="",
            attributes={"lost": str(lost)},
            time_ns=self._clock_ns(),
        )

    async def _wait(self, listener: _Listener, until_ns: int | None) -> bool:
        """Wait for something to read; false when the time is up."""
        listener.wake.clear()
        if until_ns is None:
            await listener.wake.wait()
            return True
        left_seconds = (until_ns - self._clock_ns()) / 1e9
        if left_seconds <= 0:
            return False
        try:
            await asyncio.wait_for(listener.wake.wait(), left_seconds)
        except TimeoutError:
            return False
        return True
