# SPDX-License-Identifier: Apache-2.0
"""The end of a run on an engine that does not answer: one wait, and no more."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.fakes.stub_engine import Exchange, StubEngine, says
from toolkit.client import Client, EngineSilentError
from toolkit.testing import ending
from toolkit.testing.engine import ContainerEngine
from toolkit.testing.leases import Lease
from toolkit.testing.resources import Volume
from toolkit.testing.sharing import OwnContainers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 0.2


@pytest.fixture
def stub() -> StubEngine:
    return StubEngine()


@pytest.fixture
def engine(
    stub: StubEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ContainerEngine]:
    monkeypatch.setattr(ending, "END_SECONDS", SECONDS)
    features = frozenset({"sessions", "leases"})
    with stub.serving(tmp_path / "s") as url, Client(url) as client:
        made = ContainerEngine(client, features=features, run_id="run")
        yield made
        made.close()


def hangs(exchange: Exchange) -> None:
    """Answer nothing."""
    exchange.read_to_end()


def holds(first: object) -> object:
    """Return an act that says a first word, and then nothing more."""

    def act(exchange: Exchange) -> None:
        exchange.upgrade(json.dumps(first).encode() + b"\n")
        exchange.read_to_end()

    return act


def test_a_session_is_closed_when_its_end_is_not_answered(
    stub: StubEngine, engine: ContainerEngine
) -> None:
    stub.on("POST /toolkit/sessions", holds({"Session": "s"}))  # type: ignore[arg-type]  # an act
    engine.begin()
    begin = time.monotonic()
    with pytest.warns(UserWarning, match="no answer within 0.2 s"):
        engine.close()
    assert SECONDS <= time.monotonic() - begin < 10 * SECONDS


def test_a_slow_machine_is_given_more_time(stub: StubEngine, engine: ContainerEngine) -> None:
    slow = ending.Ending(engine.client, timeout_factor=2)
    stub.on("DELETE /volumes/v", hangs)
    with pytest.raises(EngineSilentError, match=r"within 0\.4 s"):
        slow.remove(lambda client: client.volumes.remove("v"))
    slow.close()


def test_the_end_of_a_test_waits_once_for_all_that_it_has(
    stub: StubEngine, engine: ContainerEngine
) -> None:
    stub.on("POST /containers/create", says(201, {"Id": "c"}))
    stub.on("POST /containers/c/start", says(204))
    stub.on("POST /volumes/create", says(201, {"Name": "v"}))
    stub.on("DELETE /containers/c", hangs)
    own = OwnContainers(engine, {})
    Volume.create(engine, own.resources)
    for _ in range(3):
        own("img")
    with pytest.raises(EngineSilentError, match="goes with it"):
        own.close()
    assert [line for line in stub.lines if line.startswith("DELETE")] == [
        "DELETE /containers/c?force=1&v=1"
    ]


def test_after_a_silence_sessions_and_leases_are_closed_without_a_word(
    stub: StubEngine, engine: ContainerEngine
) -> None:
    stub.on("POST /toolkit/sessions", holds({"Session": "s"}))  # type: ignore[arg-type]  # an act
    stub.on("POST /toolkit/leases", holds({"Make": True}))  # type: ignore[arg-type]  # same
    stub.on("DELETE /volumes/v", hangs)
    engine.begin()
    lease = Lease.join(engine, "l")
    with pytest.raises(EngineSilentError):
        engine.ending.remove(lambda client: client.volumes.remove("v"))
    begin = time.monotonic()
    lease.close()
    engine.close()
    assert time.monotonic() - begin < SECONDS


def test_one_removal_that_fails_keeps_none_of_the_others(
    stub: StubEngine, engine: ContainerEngine
) -> None:
    stub.on("POST /containers/create", says(201, {"Id": "c"}))
    stub.on("POST /containers/c/start", says(204))
    stub.on("POST /volumes/create", says(201, {"Name": "v"}))
    stub.on("DELETE /containers/c", says(500, {"message": "busy"}))
    stub.on("DELETE /volumes/v", says(204))
    own = OwnContainers(engine, {})
    Volume.create(engine, own.resources)
    own("img")
    with pytest.raises(Exception, match="busy"):
        own.close()
    assert "DELETE /volumes/v?force=1" in stub.lines
