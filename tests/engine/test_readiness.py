# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.fakes.engine import World, created, play, started
from tests.waiting import PATIENCE_SECONDS
from toolkit.engine.network_model import EndpointId, EndpointRecord, NetworkId
from toolkit.engine.readiness import Heard, Readiness, probe_of_process
from toolkit.errors import ContainerNotFoundError, InvalidRequestError, NotRunningError
from toolkit.network.sockdiag import Listener

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from toolkit.engine.container import Container
    from toolkit.engine.engine import Engine
    from toolkit.network.listening import ListeningProbe


@dataclass
class FakeProbe:
    """Answers each question with the next list of addresses; the last one stays."""

    answers: list[list[str]]
    asked: int = 0
    closed: int = 0
    opened: list[tuple[int, int]] = field(default_factory=list)
    was_asked: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def open(self, pid: int, ticks: int) -> Iterator[ListeningProbe]:
        self.opened.append((pid, ticks))
        try:
            yield cast("ListeningProbe", self)
        finally:
            self.closed += 1

    def listeners(self, port: int, protocol: str) -> list[Listener]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        self.was_asked.set()
        return [Listener(cast("Any", protocol), ip_address(text), port) for text in answer]


async def wait(
    engine: Engine, probe: FakeProbe, container: Container, seconds: float = PATIENCE_SECONDS
) -> Heard:
    readiness = Readiness(engine._context, probe.open)
    waiting = await readiness.begin_listening(container.record.id, 80, timeout_seconds=seconds)
    return await waiting


def on_network(container: Container, address: str) -> None:
    """Give a container an address, as a network would."""
    end = EndpointRecord(
        network_id=NetworkId("n"),
        id=EndpointId("e"),
        interface="eth0",
        link="",
        ipv4=address,
        prefix_length=24,
        gateway="",
        mac="",
    )
    container.record = replace(container.record, endpoints={"n": end})


def test_it_is_asked_again_until_somebody_listens(tmp_path: Path) -> None:
    async def act(engine: Engine) -> None:
        probe = FakeProbe([[], [], ["0.0.0.0"]])  # noqa: S104 - where it listens
        container = await started(engine)
        heard = await wait(engine, probe, container)
        assert heard.is_listening
        assert (probe.asked, probe.closed) == (3, 1)
        assert probe.opened == [(container.record.state.pid, 7)]

    play(World(tmp_path), act)


def test_loopback_alone_is_enough_without_a_network_only(tmp_path: Path) -> None:
    async def act(engine: Engine) -> None:
        probe = FakeProbe([["127.0.0.1"]])
        container = await started(engine)
        assert (await wait(engine, probe, container)).is_listening
        on_network(container, "10.0.0.2")
        heard = await wait(engine, probe, container, 0.01)
        assert not heard.is_listening
        assert heard.reason == "nobody listens on 80/tcp, only on 127.0.0.1"
        assert heard.waited_seconds >= 0.01

    play(World(tmp_path), act)


def test_its_own_address_and_all_addresses_are_heard(tmp_path: Path) -> None:
    async def act(engine: Engine) -> None:
        container = await started(engine)
        on_network(container, "10.0.0.2")
        for address in ("10.0.0.2", "0.0.0.0", "::"):  # noqa: S104 - where it listens
            assert (await wait(engine, FakeProbe([[address]]), container)).is_listening

    play(World(tmp_path), act)


def test_the_programs_end_ends_the_wait(tmp_path: Path) -> None:
    async def act(engine: Engine) -> None:
        probe = FakeProbe([[]])
        container = await started(engine)
        waiting = asyncio.ensure_future(wait(engine, probe, container))
        assert await asyncio.to_thread(probe.was_asked.wait, PATIENCE_SECONDS)
        await container.kill("KILL")
        heard = await asyncio.wait_for(waiting, PATIENCE_SECONDS)
        assert heard.reason == "the program ended with exit code 137"
        assert probe.closed == 1

    play(World(tmp_path), act)


def test_what_cannot_be_waited_for_is_refused(tmp_path: Path) -> None:
    async def act(engine: Engine) -> None:
        readiness = Readiness(engine._context, FakeProbe([[]]).open)
        container = await created(engine, "still")
        for port in (0, 65536, -1):
            with pytest.raises(InvalidRequestError):
                _ = await readiness.begin_listening("still", port, timeout_seconds=1)
        with pytest.raises(NotRunningError):
            _ = await readiness.begin_listening(container.record.id, 80, timeout_seconds=1)
        with pytest.raises(ContainerNotFoundError):
            _ = await readiness.begin_listening("nobody", 80, timeout_seconds=1)

    play(World(tmp_path), act)


def test_a_process_that_is_gone_is_said() -> None:
    with pytest.raises(NotRunningError), probe_of_process(4_194_999, 1):
        pass
