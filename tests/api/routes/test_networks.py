# SPDX-License-Identifier: Apache-2.0
"""The routes of networks."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from toolkit.engine.model import AttachedContainer, EndpointId, EndpointSpec


def filters(**terms: list[str]) -> str:
    return "filters=" + quote(json.dumps(terms))


def names(answer: Any) -> set[str]:
    return {network["Name"] for network in answer.json}


@pytest.fixture
def lan(api: Any, engine: Any) -> str:
    """Make a network with a container on it, and one with nobody."""
    config = [{"Subnet": "10.1.0.0/24", "Gateway": "10.1.0.1"}]
    body = {"Name": "lan", "IPAM": {"Config": config}, "Labels": {"k": "v"}, "Internal": True}
    network_id: str = api("POST", "/networks/create", body).json["Id"]
    api("POST", "/networks/create", {"Name": "idle"})
    engine.networks.attached["lan"] = (
        AttachedContainer(
            container_id="1" * 64,
            container_name="web",
            endpoint_id=EndpointId("2" * 64),
            mac="02:42:0a:01:00:02",
            ipv4="10.1.0.2/24",
        ),
    )
    return network_id


def test_the_predefined_networks_are_there(api: Any) -> None:
    networks = {network["Name"]: network for network in api("GET", "/networks").json}
    assert {name: network["Driver"] for name, network in networks.items()} == {
        "bridge": "bridge",
        "host": "host",
        "none": "null",
    }
    found = networks["none"]
    assert found["Created"] == "0001-01-01T00:00:00Z"
    for name in ("none", found["Id"], found["Id"][:12]):
        assert api("GET", f"/networks/{name}").json["Name"] == "none"


def test_a_network_is_made_shown_and_removed(api: Any, engine: Any, lan: str) -> None:
    answer = api("POST", "/networks/create", {"Name": "wan"})
    assert (answer.status, answer.json["Warning"]) == (201, "")
    shown = api("GET", f"/networks/{lan[:12]}").json
    assert (shown["Name"], shown["Id"], shown["Scope"], shown["Driver"]) == (
        "lan",
        lan,
        "local",
        "bridge",
    )
    assert (shown["Internal"], shown["Labels"]) == (True, {"k": "v"})
    assert shown["IPAM"]["Config"] == [{"Subnet": "10.1.0.0/24", "Gateway": "10.1.0.1"}]
    assert api("DELETE", "/networks/lan").status == 403
    engine.networks.attached.clear()
    assert api("DELETE", "/networks/lan").status == 204
    assert api("GET", "/networks/lan").status == 404


def test_containers_are_shown_of_one_network_alone(api: Any, lan: str) -> None:
    assert api("GET", f"/networks/{lan}").json["Containers"] == {
        "1" * 64: {
            "Name": "web",
            "EndpointID": "2" * 64,
            "MacAddress": "02:42:0a:01:00:02",
            "IPv4Address": "10.1.0.2/24",
            "IPv6Address": "",
        }
    }
    assert [one["Containers"] for one in api("GET", "/networks").json] == [{}] * 5


@pytest.mark.usefixtures("lan")
@pytest.mark.parametrize(
    ("terms", "found"),
    [
        ({"name": ["la"]}, {"lan"}),
        ({"name": ["^lan$", "idle"]}, {"lan", "idle"}),
        ({"driver": ["host"]}, {"host"}),
        ({"driver": ["bridge"], "type": ["builtin"]}, {"bridge"}),
        ({"type": ["custom"]}, {"lan", "idle"}),
        ({"label": ["k=v"]}, {"lan"}),
        ({"label": ["k=other"]}, set()),
        ({"scope": ["swarm"]}, set()),
        ({"dangling": ["true"]}, {"idle"}),
        ({"dangling": ["0"]}, {"lan", "bridge", "host", "none"}),
        ({"id": ["zz"]}, set()),
    ],
)
def test_networks_are_filtered(api: Any, terms: dict[str, list[str]], found: set[str]) -> None:
    assert names(api("GET", "/networks?" + filters(**terms))) == found


def test_a_network_is_filtered_by_its_id(api: Any, lan: str) -> None:
    assert names(api("GET", "/networks?" + filters(id=[lan[:12]]))) == {"lan"}


@pytest.mark.parametrize(
    "terms", [{"odd": ["x"]}, {"type": ["odd"]}, {"dangling": ["maybe"]}, {"name": ["["]}]
)
def test_a_bad_filter_is_refused(api: Any, terms: dict[str, list[str]]) -> None:
    answer = api("GET", "/networks?" + filters(**terms))
    assert answer.status == 400
    assert "invalid filter" in answer.json["message"]


def test_containers_are_connected_and_disconnected(api: Any, engine: Any, lan: str) -> None:
    config = {"Aliases": ["www"], "IPAMConfig": {"IPv4Address": "10.1.0.7"}}
    body = {"Container": "web", "EndpointConfig": config}
    assert api("POST", "/networks/lan/connect", body).status == 200
    assert api("POST", f"/networks/{lan}/connect", {"Container": "web"}).status == 200
    forced = {"Container": "web", "Force": True}
    assert api("POST", "/networks/lan/disconnect", forced).status == 200
    wish = EndpointSpec(aliases=("www",), ipv4="10.1.0.7")
    assert engine.networks.calls == [
        ("connect", "lan", "web", wish),
        ("connect", "lan", "web", EndpointSpec()),
        ("disconnect", "lan", "web", True),
    ]


@pytest.mark.usefixtures("lan")
@pytest.mark.parametrize(
    ("target", "body", "status", "message"),
    [
        ("/networks/create", {"Name": "lan"}, 409, "network with name lan already exists"),
        ("/networks/nosuch/connect", {"Container": "x"}, 404, "network nosuch not found"),
        ("/networks/lan/connect", {}, 400, "no container is named"),
        ("/networks/lan/disconnect", {"Container": 1}, 400, "invalid JSON"),
        (
            "/networks/lan/connect",
            {"Container": "x", "EndpointConfig": {"IPAMConfig": {"LinkLocalIPs": ["$(id)"]}}},
            400,
            "link-local",
        ),
    ],
)
def test_errors_are_one_line(
    api: Any, target: str, body: dict[str, Any], status: int, message: str
) -> None:
    answer = api("POST", target, body)
    assert answer.status == status
    assert message in answer.json["message"]
    assert "\n" not in answer.json["message"]


def test_an_unknown_network_is_404(api: Any) -> None:
    for method in ("GET", "DELETE"):
        answer = api(method, "/networks/nosuch")
        assert (answer.status, answer.json) == (404, {"message": "network nosuch not found"})


@pytest.mark.usefixtures("lan")
def test_prune_takes_what_the_filters_choose(api: Any) -> None:
    answer = api("POST", "/networks/prune?" + filters(**{"label!": ["k"]}))
    assert (answer.status, answer.json) == (200, {"NetworksDeleted": ["idle"]})
    assert api("POST", "/networks/prune?" + filters(until=["2000-01-01T00:00:00Z"])).json == {
        "NetworksDeleted": []
    }
    assert api("POST", "/networks/prune?" + filters(odd=["x"])).status == 400
