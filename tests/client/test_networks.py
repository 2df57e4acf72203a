# SPDX-License-Identifier: Apache-2.0
"""What the client asks about networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.stub_engine import StubEngine, says
from toolkit.client import ApiError, Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stub() -> StubEngine:
    return StubEngine()


@pytest.fixture
def client(stub: StubEngine, tmp_path: Path) -> Iterator[Client]:
    with stub.serving(tmp_path / "e.sock") as url, Client(url) as client:
        yield client


def test_no_name_becomes_a_query(client: Client, stub: StubEngine) -> None:
    with pytest.raises(ApiError):
        client.networks.inspect("x?a=b&c")
    assert stub.lines == ["GET /networks/x%3Fa%3Db%26c"]


def test_every_verb_asks_its_route(client: Client, stub: StubEngine) -> None:
    stub.on("GET /networks", says(200, []))
    stub.on("POST /networks/create", says(201, {"Id": "1", "Warning": ""}))
    stub.on("DELETE /networks/lan", says(204))
    stub.on("POST /networks/lan/connect", says(200))
    stub.on("POST /networks/lan/disconnect", says(200))
    stub.on("POST /networks/prune", says(200, {"NetworksDeleted": ["lan"]}))
    assert client.networks.list() == []
    assert client.networks.create({"Name": "lan"})["Id"] == "1"
    client.networks.connect("lan", "web", {"Aliases": ["a"]})
    client.networks.disconnect("lan", "web")
    client.networks.remove("lan")
    assert client.networks.prune()["NetworksDeleted"] == ["lan"]
    assert stub.lines == [
        "GET /networks",
        "POST /networks/create",
        "POST /networks/lan/connect",
        "POST /networks/lan/disconnect",
        "DELETE /networks/lan",
        "POST /networks/prune",
    ]
    assert stub.request("POST /networks/lan/connect").document == {
        "Container": "web",
        "EndpointConfig": {"Aliases": ["a"]},
    }
