# SPDX-License-Identifier: Apache-2.0
"""Sessions and leases on a whole engine of fakes, held by real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.engine import World, created, started
from tests.waiting import PATIENCE_SECONDS
from toolkit.engine.ownership import LEASE_LABEL, REUSE_LABEL, SESSION_LABEL
from toolkit.errors import ConflictError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from toolkit.engine.engine import Engine

_opened: list[asyncio.StreamWriter] = []


class Holder:
    """A client's end of a held connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def of(cls, hold: Callable[[str, int, bytes], None], name: str) -> Holder:
        ours, theirs = socket.socketpair()
        hold(name, theirs.detach(), b"")
        reader, writer = await asyncio.open_connection(sock=ours)
        _opened.append(writer)
        return cls(reader, writer)

    async def said(self) -> Any:
        line = await asyncio.wait_for(self._reader.readline(), PATIENCE_SECONDS)
        return json.loads(line)

    def say(self, document: object) -> None:
        self._writer.write(json.dumps(document).encode() + b"\n")

    async def end(self) -> Any:
        self.say({"End": True})
        return (await self.said())["Removed"]

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def an_engine(directory: Path) -> AsyncIterator[Engine]:
    async with World(directory).engine() as engine:
        try:
            yield engine
        finally:
            await close_all()


async def close_all() -> None:
    """Close every holder of the test."""
    while _opened:
        writer = _opened.pop()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def run(directory: Path, act: Callable[[Engine], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with an_engine(directory) as engine:
            await act(engine)

    asyncio.run(whole())


async def until_gone(engine: Engine) -> None:
    """Wait for the engine's own word that the last container went."""
    news = engine.events.subscribe(predicate=lambda event: event.action == "destroy")
    while await engine.containers():
        await asyncio.wait_for(anext(aiter(news)), PATIENCE_SECONDS)


def test_a_closed_session_takes_all_that_is_its_own_along(tmp_path: Path) -> None:
    async def act(engine: Engine) -> None:
        holder = await Holder.of(engine.sessions.hold_session, "s")
        assert await holder.said() == {"Session": "s"}
        mine = {SESSION_LABEL: "s"}
        await started(engine, "runs", labels=mine)
        await created(engine, "stands", labels=mine)
        await engine.volumes.create("v", labels=mine)
        other = await started(engine, "other", labels={SESSION_LABEL: "t"})
        removed = await holder.end()
        assert len(removed["containers"]) == 2
        assert removed["volumes"] == ["v"]
        assert await engine.containers() == [other]

    run(tmp_path, act)


def test_a_holder_that_dies_lets_go_like_one_that_says_so(tmp_path: Path) -> None:
    async def act(engine: Engine) -> None:
        holder = await Holder.of(engine.sessions.hold_session, "s")
        await holder.said()
        await started(engine, labels={SESSION_LABEL: "s"})
        holder.close()
        await asyncio.wait_for(engine.sessions.unused(0), PATIENCE_SECONDS)
        assert await engine.containers() == []
        assert engine.sessions.check_free("s") == "s"

    run(tmp_path, act)


def test_what_is_kept_outlives_its_session_and_goes_with_prune(tmp_path: Path) -> None:
    async def act(engine: Engine) -> None:
        holder = await Holder.of(engine.sessions.hold_session, "s")
        await holder.said()
        kept = await started(engine, labels={SESSION_LABEL: "s"})
        holder.say({"Keep": kept.record.name})
        assert await holder.said() == {"Kept": kept.record.id}
        holder.say({"Keep": "nobody"})
        assert "No such container" in (await holder.said())["Error"]
        assert (await holder.end())["containers"] == []
        assert (await engine.sessions.prune()).containers == [kept.record.id]
        assert await engine.containers() == []

    run(tmp_path, act)


def test_prune_spares_what_is_held_and_takes_what_is_to_be_used_again(tmp_path: Path) -> None:
    async def act(engine: Engine) -> None:
        holder = await Holder.of(engine.sessions.hold_session, "s")
        await holder.said()
        held = await created(engine, labels={SESSION_LABEL: "s"})
        plain = await created(engine)
        left = await created(engine, labels={SESSION_LABEL: "gone"})
        again = await created(engine, labels={REUSE_LABEL: "x"})
        removed = await engine.sessions.prune()
        assert sorted(removed.containers) == sorted([left.record.id, again.record.id])
        assert {c.record.id for c in await engine.containers()} == {
            held.record.id,
            plain.record.id,
        }

    run(tmp_path, act)


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb"])
def test_a_session_needs_a_printable_name(tmp_path: Path, name: str) -> None:
    async def act(engine: Engine) -> None:
        with pytest.raises(InvalidRequestError):
            engine.sessions.check_free(name)

    run(tmp_path, act)


def test_a_session_is_open_once(tmp_path: Path) -> None:
    async def act(engine: Engine) -> None:
        await (await Holder.of(engine.sessions.hold_session, "s")).said()
        with pytest.raises(ConflictError):
            engine.sessions.check_free("s")

    run(tmp_path, act)


def test_the_first_makes_and_the_others_are_told(tmp_path: Path) -> None:
    async def act(engine: Engine) -> None:
        hold = engine.sessions.hold_lease
        first = await Holder.of(hold, "l")
        assert await first.said() == {"Make": True}
        second = await Holder.of(hold, "l")
        await started(engine, labels={LEASE_LABEL: "l"})
        first.say({"Value": [1, "two"]})
        assert await second.said() == {"Value": [1, "two"]}
        assert (await first.end())["containers"] == []
        assert len(await engine.containers()) == 1
        assert len((await second.end())["containers"]) == 1
        third = await Holder.of(hold, "l")
        assert await third.said() == {"Make": True}

    run(tmp_path, act)


def test_a_maker_that_dies_leaves_the_making_to_the_next_one(tmp_path: Path) -> None:
    async def act(engine: Engine) -> None:
        hold = engine.sessions.hold_lease
        first = await Holder.of(hold, "l")
        await first.said()
        second = await Holder.of(hold, "l")
        await started(engine, labels={LEASE_LABEL: "l"})
        first.close()
        assert await second.said() == {"Make": True}
        assert await engine.containers() == []

    run(tmp_path, act)


def test_a_failure_is_told_to_those_who_wait_and_tried_again_later(tmp_path: Path) -> None:
    async def act(engine: Engine) -> None:
        hold = engine.sessions.hold_lease
        first, second = await Holder.of(hold, "l"), await Holder.of(hold, "l")
        await first.said()
        first.say({"Error": "no image"})
        assert await second.said() == {"Error": "no image"}
        await first.end()
        await second.end()
        assert await (await Holder.of(hold, "l")).said() == {"Make": True}

    run(tmp_path, act)


def test_holders_that_die_take_the_shared_container_along(tmp_path: Path) -> None:
    async def act(engine: Engine) -> None:
        hold = engine.sessions.hold_lease
        first, second = await Holder.of(hold, "l"), await Holder.of(hold, "l")
        await first.said()
        await started(engine, labels={LEASE_LABEL: "l"})
        first.say({"Value": 1})
        await second.said()
        first.close()
        second.close()
        await until_gone(engine)

    run(tmp_path, act)


def test_a_session_of_an_earlier_engine_is_given_time_to_come_back(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def act() -> None:
        async with world.engine() as engine:
            await started(engine, "back", labels={SESSION_LABEL: "back"})
            await started(engine, "away", labels={SESSION_LABEL: "away"})
        async with world.engine() as engine:
            await (await Holder.of(engine.sessions.hold_session, "back")).said()
            news = engine.events.subscribe(predicate=lambda event: event.action == "destroy")
            engine.sessions.expect_back(
                {(SESSION_LABEL, "back"), (SESSION_LABEL, "away")}, seconds=0.01
            )
            gone = await asyncio.wait_for(anext(aiter(news)), PATIENCE_SECONDS)
            assert gone.attributes["name"] == "away"
            assert [c.record.name for c in await engine.containers()] == ["back"]
            await close_all()

    asyncio.run(act())


def test_an_engine_knows_when_nobody_needs_it(tmp_path: Path) -> None:
    async def act(engine: Engine) -> None:
        holder = await Holder.of(engine.sessions.hold_session, "s")
        await holder.said()
        idle = asyncio.ensure_future(engine.unused(0.01))
        await created(engine, "held", labels={SESSION_LABEL: "s"})
        await asyncio.sleep(0.05)
        assert not idle.done()
        await holder.end()
        await asyncio.wait_for(idle, PATIENCE_SECONDS)

    run(tmp_path, act)


def test_nonsense_on_the_connection_ends_it(tmp_path: Path) -> None:
    async def act(engine: Engine) -> None:
        holder = await Holder.of(engine.sessions.hold_session, "s")
        await holder.said()
        await started(engine, labels={SESSION_LABEL: "s"})
        holder.say([1])
        await until_gone(engine)

    run(tmp_path, act)
