# SPDX-License-Identifier: Apache-2.0
"""Events: in order, once each, and never in the way of who publishes."""

from __future__ import annotations

import asyncio
from itertools import count

from tests.waiting import PATIENCE_SECONDS
from toolkit.engine.events import KEPT_EVENTS, Event, EventHub


async def taken(hub: EventHub, since_ns: int, until_ns: int) -> list[str]:
    return [event.action async for event in hub.subscribe(since_ns, until_ns)]


def hub_with(*actions: str) -> EventHub:
    hub = EventHub(count(1).__next__)
    for action in actions:
        hub.publish("container", action, "id", {})
    return hub


def test_kept_events_are_replayed_from_a_time_to_a_time() -> None:
    """API-003, RT-232, rule 11.5."""
    hub = hub_with("a", "b", "c", "d")
    assert asyncio.run(taken(hub, since_ns=2, until_ns=3)) == ["b", "c"]


def test_a_listener_without_since_gets_live_events_only() -> None:
    async def run() -> list[str]:
        hub = hub_with("old")
        listening = hub.subscribe()
        hub.publish("image", "new", "id", {})
        hub.close()
        return [event.action async for event in listening]

    assert asyncio.run(run()) == ["new"]


def test_replay_and_live_events_come_once_each_and_in_order() -> None:
    """API-087, RT-231."""

    async def run() -> list[str]:
        hub = hub_with("1", "2")
        listening = hub.subscribe(since_ns=0)
        seen = [(await anext(listening)).action]
        hub.publish("container", "3", "id", {})
        seen += [(await anext(listening)).action for _ in range(2)]
        hub.publish("container", "4", "id", {})
        hub.close()
        return [*seen, *[event.action async for event in listening]]

    assert asyncio.run(run()) == ["1", "2", "3", "4"]


def test_only_the_last_events_are_kept() -> None:
    hub = hub_with(*(str(number) for number in range(KEPT_EVENTS + 10)))
    seen = asyncio.run(taken(hub, since_ns=0, until_ns=1))
    assert seen == []
    assert len(hub._kept) == KEPT_EVENTS


def test_a_listener_that_does_not_read_loses_the_oldest_and_is_told() -> None:
    """Row S-107."""

    async def run() -> list[Event]:
        hub = EventHub()
        listening = hub.subscribe()
        for number in range(5000):
            hub.publish("container", str(number), "id", {})
        hub.close()
        return [event async for event in listening]

    first, *rest = asyncio.run(run())
    assert (first.action, first.attributes) == ("events lost", {"lost": "904"})
    assert [event.action for event in rest] == [str(number) for number in range(904, 5000)]


def test_a_predicate_chooses() -> None:
    async def run() -> list[str]:
        hub = hub_with("start", "die", "start")
        listening = hub.subscribe(0, None, lambda event: event.action == "die")
        hub.close()
        return [event.action async for event in listening]

    assert asyncio.run(run()) == ["die"]


def test_a_subscription_ends_when_its_time_is_up() -> None:
    async def run() -> list[str]:
        hub = EventHub()
        until_ns = hub._clock_ns() + 20_000_000
        async with asyncio.timeout(PATIENCE_SECONDS):
            return [event.action async for event in hub.subscribe(None, until_ns)]

    assert asyncio.run(run()) == []


def test_a_listener_that_goes_away_is_forgotten() -> None:
    async def run() -> tuple[int, int]:
        hub = hub_with("a")
        listening = hub.subscribe(since_ns=0)
        before = hub.listener_count
        del listening
        return before, hub.listener_count

    assert asyncio.run(run()) == (1, 0)
