# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import select
from typing import TYPE_CHECKING

import pytest

from tests.fakes.stub_engine import Exchange, StubEngine, says
from toolkit.client import Client, ConnectionLostError, StreamError
from toolkit.client.extensions import Heard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stub() -> StubEngine:
    return StubEngine()


@pytest.fixture
def client(stub: StubEngine, tmp_path: Path) -> Iterator[Client]:
    with stub.serving(tmp_path / "s") as url, Client(url) as made:
        yield made


def talks(*answers: object) -> object:
    """Return an act that upgrades, and answers each line that comes with the next document."""

    def act(exchange: Exchange) -> None:
        first, *others = [json.dumps(answer).encode() + b"\n" for answer in answers]
        exchange.upgrade(first)
        lines = exchange.connection.makefile("rb")
        for answer in others:
            if not lines.readline():
                return
            exchange.send(answer)

    return act


def test_docker_has_no_extensions(client: Client, stub: StubEngine) -> None:
    stub.on("GET /toolkit", says(404, {"message": "page not found"}))
    assert client.extensions.features() == frozenset()


def test_the_engine_says_its_features(client: Client, stub: StubEngine) -> None:
    stub.on("GET /toolkit", says(200, {"Features": ["sessions", "leases"]}))
    assert client.extensions.features() == {"sessions", "leases"}


def test_a_session_is_ended_in_words(client: Client, stub: StubEngine) -> None:
    removed = {"Removed": {"containers": ["c"]}}
    stub.on("POST /toolkit/sessions", talks({"Session": "a b"}, {"Kept": "k"}, removed))  # type: ignore[arg-type]  # an act
    session = client.extensions.open_session("a b")
    session.keep("k")
    assert session.end() == {"containers": ["c"]}
    assert stub.lines == ["POST /toolkit/sessions?name=a%20b"]


def test_what_cannot_be_kept_is_said(client: Client, stub: StubEngine) -> None:
    stub.on("POST /toolkit/sessions", talks({"Session": "s"}, {"Error": "gone"}))  # type: ignore[arg-type]  # an act
    with client.extensions.open_session("s") as session, pytest.raises(StreamError, match="gone"):
        session.keep("k")


def test_a_lease_says_first_what_there_is(client: Client, stub: StubEngine) -> None:
    stub.on("POST /toolkit/leases", talks({"Value": [1]}))  # type: ignore[arg-type]  # an act
    lines, said = client.extensions.open_lease("l")
    lines.close()
    assert said == {"Value": [1]}


def test_an_engine_that_goes_away_is_an_error(client: Client, stub: StubEngine) -> None:
    stub.on("POST /toolkit/leases", lambda exchange: exchange.upgrade())
    with pytest.raises(ConnectionLostError):
        client.extensions.open_lease("l")


@pytest.mark.parametrize("line", [b"no json\n", b"[1]\n"])
def test_nonsense_is_an_error(client: Client, stub: StubEngine, line: bytes) -> None:
    stub.on("POST /toolkit/leases", lambda exchange: exchange.upgrade(line))
    with pytest.raises(StreamError, match="no document"):
        client.extensions.open_lease("l")


def test_a_wait_for_a_listener_is_readable_when_it_is_answered(
    client: Client, stub: StubEngine
) -> None:
    def act(exchange: Exchange) -> None:
        exchange.begin_chunks()
        exchange.chunk(b'{"Listening": false, "Seconds": 1.5, "Reason": "nobody"}\n')
        exchange.end_chunks()

    stub.on("GET /containers/web/listening", act)
    pending = client.extensions.begin_listening("web", 80, protocol="udp", timeout_seconds=2)
    if not pending.has_data:
        assert select.select([pending], [], [], 5)[0]
    assert pending.result() == Heard(is_listening=False, waited_seconds=1.5, reason="nobody")
    query = "port=80&protocol=udp&milliseconds=2000"
    assert stub.lines == [f"GET /containers/web/listening?{query}"]
