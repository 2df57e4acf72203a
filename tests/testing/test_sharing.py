# SPDX-License-Identifier: Apache-2.0
"""Containers of a test and of a run, on an engine whose answers are written here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.stub_engine import Exchange, StubEngine, says
from toolkit.client import ApiError, Client
from toolkit.testing import NotReadyError
from toolkit.testing.engine import ContainerEngine
from toolkit.testing.images import ContainerImage
from toolkit.testing.leases import LeaseFailedError
from toolkit.testing.resources import Network, Volume
from toolkit.testing.sharing import OwnContainers, SharedContainers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FEATURES = frozenset({"sessions", "leases", "listening"})


@pytest.fixture
def stub() -> StubEngine:
    """An engine that makes containers c1, c2, ... and removes them."""
    made = StubEngine()
    numbers = iter(range(1, 99))

    def create(exchange: Exchange) -> None:
        number = next(numbers)
        made.on(f"POST /containers/c{number}/start", says(204))
        made.on(f"DELETE /containers/c{number}", says(204))
        exchange.answer(201, {"Id": f"c{number}", "Warnings": []})

    made.on("POST /containers/create", create)
    made.on("GET /images/img/json", says(200, {"Id": "sha256:1"}))
    made.on("GET /containers/json", says(200, []))
    return made


@pytest.fixture
def engine(stub: StubEngine, tmp_path: Path) -> Iterator[ContainerEngine]:
    with stub.serving(tmp_path / "s") as url, Client(url) as client:
        made = ContainerEngine(client, features=FEATURES, run_id="run")
        yield made
        made.close()


def lease(stub: StubEngine, first: dict[str, Any]) -> list[Any]:
    """Answer every lease with a first word; return what is said on them."""
    said: list[Any] = []

    def act(exchange: Exchange) -> None:
        exchange.upgrade(json.dumps(first).encode() + b"\n")
        for line in exchange.connection.makefile("rb"):
            said.append(json.loads(line))
            if "End" in said[-1]:
                exchange.send(b'{"Removed": {}}\n')

    stub.on("POST /toolkit/leases", act)
    return said


def removed(stub: StubEngine) -> list[str]:
    return [line.partition("?")[0] for line in stub.lines if line.startswith("DELETE")]


def test_a_test_removes_its_containers_newest_first(
    stub: StubEngine, engine: ContainerEngine
) -> None:
    own = OwnContainers(engine, {"toolkit.test": "t"})
    own("img", network="none")
    own("img", "sleep 1", name="named")
    own.close()
    assert removed(stub) == ["DELETE /containers/c2", "DELETE /containers/c1"]
    body = stub.request("POST /containers/create").document
    assert body["Labels"]["toolkit.test"] == "t"
    assert body["Labels"]["toolkit.session"] == engine.session_name
    assert "name=named" in stub.request("POST /containers/create").target


def test_one_that_cannot_be_started_is_removed(stub: StubEngine, engine: ContainerEngine) -> None:
    stub.on("POST /containers/create", says(201, {"Id": "bad"}))
    stub.on("POST /containers/bad/start", says(400, {"message": "no such program"}))
    stub.on("DELETE /containers/bad", says(204))
    with pytest.raises(ApiError, match="no such program"):
        OwnContainers(engine, {})("img")
    assert removed(stub) == ["DELETE /containers/bad"]


def test_one_that_was_removed_already_is_no_error(
    stub: StubEngine, engine: ContainerEngine
) -> None:
    own = OwnContainers(engine, {})
    own("img")
    stub.on("DELETE /containers/c1", says(404, {"message": "No such container"}))
    own.close()


def test_a_missing_image_is_fetched_and_asked_for_again(
    stub: StubEngine, engine: ContainerEngine
) -> None:
    answers = [says(404, {"message": "No such image: web:1"}), says(201, {"Id": "c1"})]

    def create(exchange: Exchange) -> None:
        answers.pop(0)(exchange)

    stub.on("POST /containers/create", create)
    stub.on("POST /containers/c1/start", says(204))
    stub.on("GET /images/web:1/json", says(404, {"message": "No such image: web:1"}))
    stub.on("POST /images/create", says(200, {"status": "Pulled"}))
    lease(stub, {"Make": True})
    OwnContainers(engine, {})("web:1")
    assert "POST /images/create?fromImage=web&tag=1" in stub.lines


def test_another_404_is_not_taken_for_a_missing_image(
    stub: StubEngine, engine: ContainerEngine
) -> None:
    stub.on("POST /containers/create", says(404, {"message": "network x not found"}))
    with pytest.raises(ApiError, match="network x"):
        OwnContainers(engine, {})("img")


def test_what_is_to_be_used_again_stays(stub: StubEngine, engine: ContainerEngine) -> None:
    own = OwnContainers(engine, {})
    own("img", reuse=True)
    labels = stub.request("POST /containers/create").document["Labels"]
    assert set(labels) == {"toolkit.reuse"}
    running = [{"Id": "old", "Names": ["/old-one"]}]
    stub.on("GET /containers/json", says(200, running))
    again = own("img", reuse=True)
    assert (again.id, again.name) == ("old", "old-one")
    own.close()
    assert removed(stub) == []


def test_the_first_makes_the_shared_one_and_tells(
    stub: StubEngine, engine: ContainerEngine
) -> None:
    said = lease(stub, {"Make": True})
    shared = SharedContainers(engine)
    made = shared("img", name="db")
    assert shared("img", name="db") is made
    assert shared("img", name="other").id == "c2"
    shared.close()
    assert {"Value": ["c1", "db"]} in said
    assert said.count({"End": True}) == 2
    labels = stub.request("POST /containers/create").document["Labels"]
    assert "toolkit.lease" in labels
    assert "toolkit.session" not in labels
    assert removed(stub) == []


def test_the_others_get_what_the_first_made(stub: StubEngine, engine: ContainerEngine) -> None:
    lease(stub, {"Value": ["c7", "db"]})
    shared = SharedContainers(engine)
    found = shared("img")
    shared.close()
    assert (found.id, found.name) == ("c7", "db")
    assert "POST /containers/create" not in stub.lines


def test_what_could_not_be_made_is_told_to_the_others(
    stub: StubEngine, engine: ContainerEngine
) -> None:
    lease(stub, {"Error": "NotReadyError: no"})
    with pytest.raises(LeaseFailedError, match="NotReadyError: no"):
        SharedContainers(engine)("img")
    said = lease(stub, {"Make": True})
    stub.on("GET /containers/c1/json", says(200, {"State": {"Status": "running"}, "Config": {}}))

    def refuse(_: object) -> bool:
        raise NotReadyError("never")

    stub.on("POST /containers/c1/wait", says(200, {"StatusCode": 0}))
    with pytest.raises(NotReadyError):
        SharedContainers(engine)("img", wait=refuse)
    assert {"Error": "NotReadyError: never"} in said


def test_a_snapshot_that_could_not_be_made_is_made_again(
    stub: StubEngine, engine: ContainerEngine
) -> None:
    lease(stub, {"Make": True})
    images = ContainerImage(engine)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            images.snapshot_after(lambda _: 1 / 0, "img")
    assert removed(stub) == ["DELETE /containers/c1", "DELETE /containers/c2"]


def test_docker_has_a_shared_one_for_each_process(
    stub: StubEngine, engine: ContainerEngine
) -> None:
    engine.features = frozenset()
    shared = SharedContainers(engine)
    shared("img")
    labels = stub.request("POST /containers/create").document["Labels"]
    assert "toolkit.owner" in labels
    shared.close()
    assert removed(stub) == ["DELETE /containers/c1"]


def test_networks_and_volumes_are_their_names_and_go_after_the_containers(
    stub: StubEngine, engine: ContainerEngine
) -> None:
    stub.on("POST /networks/create", says(201, {"Id": "n1"}))
    stub.on("POST /networks/n1/disconnect", says(200))
    stub.on("DELETE /networks/n1", says(204))
    stub.on("POST /volumes/create", says(201, {"Name": "v1"}))
    stub.on("DELETE /volumes/v1", says(204))
    own = OwnContainers(engine, {})
    network = Network.create(engine, own.resources, "lan", internal=True)
    volume = Volume.create(engine, own.resources)
    container = own("img", network=network, volumes={volume: "/v"})
    assert (network, volume) == ("lan", "v1")
    body = stub.request("POST /containers/create").document
    assert body["HostConfig"]["NetworkMode"] == "lan"
    assert stub.request("POST /networks/create").document["Internal"] is True
    network.disconnect(container)
    own.close()
    assert removed(stub) == [
        "DELETE /containers/c1",
        "DELETE /volumes/v1",
        "DELETE /networks/n1",
    ]


def test_with_a_kept_container_its_networks_stay(stub: StubEngine, engine: ContainerEngine) -> None:
    stub.on("POST /networks/create", says(201, {"Id": "n1"}))
    own = OwnContainers(engine, {})
    Network.create(engine, own.resources)
    kept = own("img")
    assert own.keep() == [kept]
    own.close()
    assert removed(stub) == []


def test_files_are_put_into_it_before_it_starts(stub: StubEngine, engine: ContainerEngine) -> None:
    stub.on("PUT /containers/c1/archive", says(200, {}))
    OwnContainers(engine, {})("img", files={"/etc/app.conf": "debug=1\n"})
    told = [line.partition("?")[0] for line in stub.lines if "/containers/c1" in line]
    assert told == ["PUT /containers/c1/archive", "POST /containers/c1/start"]
    assert b"debug=1\n" in stub.request("PUT /containers/c1/archive").body


def test_on_a_slow_machine_waits_are_longer(stub: StubEngine, engine: ContainerEngine) -> None:
    engine.timeout_factor = 3
    state = {"State": {"Status": "running", "Running": True}, "Config": {"Tty": False}}
    stub.on("GET /containers/c1/json", says(200, state))
    stub.on("GET /containers/c1/logs", says(200))

    def runs_on(exchange: Exchange) -> None:
        exchange.begin_chunks()
        exchange.read_to_end()

    stub.on("POST /containers/c1/wait", runs_on)
    with pytest.raises(NotReadyError) as caught:
        OwnContainers(engine, {})("img", wait=lambda _: False, timeout_seconds=0.02)
    assert caught.value.waited_seconds >= 0.06
