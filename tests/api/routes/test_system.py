# SPDX-License-Identifier: Apache-2.0
"""The engine itself over the API, networks and volumes."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit import __version__


def test_ping_says_ok_and_what_it_can(api: Any) -> None:
    answer = api("GET", "/_ping")
    assert (answer.status, answer.body) == (200, b"OK")
    assert answer.headers["builder-version"] == "1"
    assert answer.headers["swarm"] == "inactive"
    assert answer.headers["cache-control"] == "no-cache, no-store, must-revalidate"
    answer = api("HEAD", "/_ping")
    assert (answer.status, answer.body) == (200, b"")


def test_version_is_the_programs_own(api: Any) -> None:
    """API-001."""
    document = api("GET", "/version").json
    assert document["Version"] == __version__
    assert (document["ApiVersion"], document["MinAPIVersion"]) == ("1.44", "1.24")
    assert document["Components"][0]["Name"] == "Engine"
    assert all(isinstance(value, str) for value in document["Components"][0]["Details"].values())
    assert document["Experimental"] is False


def test_info_has_real_types(api: Any) -> None:
    """API-002."""
    document = api("GET", "/info").json
    assert (document["Images"], document["Containers"]) == (1, 1)
    assert document["CgroupVersion"] == "2"
    for key in (
        "MemoryLimit",
        "SwapLimit",
        "PidsLimit",
        "OomKillDisable",
        "IPv4Forwarding",
        "BridgeNfIptables",
        "Debug",
        "ExperimentalBuild",
        "LiveRestoreEnabled",
    ):
        assert isinstance(document[key], bool), key
    assert document["Swarm"]["LocalNodeState"] == "inactive"
    assert document["DefaultRuntime"] in document["Runtimes"]


def test_disk_usage_is_counted(api: Any, add_container: Any) -> None:
    add_container()
    document = api("GET", "/system/df").json
    assert document["LayersSize"] == 1000
    assert document["Images"][0]["Containers"] == 1
    assert document["Containers"][0]["SizeRw"] == 24


def test_the_networks_are_those_that_need_nothing(api: Any) -> None:
    networks = {network["Name"]: network for network in api("GET", "/networks").json}
    assert {name: network["Driver"] for name, network in networks.items()} == {
        "host": "host",
        "none": "null",
    }
    found = networks["none"]
    assert found["Created"] == "0001-01-01T00:00:00Z"
    for name in ("none", found["Id"], found["Id"][:12]):
        assert api("GET", f"/networks/{name}").json["Name"] == "none"


@pytest.mark.parametrize(
    ("target", "count"),
    [
        ("/networks?filters=%7B%22name%22%3A%5B%22none%22%5D%7D", 1),
        ("/networks?filters=%7B%22driver%22%3A%7B%22host%22%3Atrue%7D%7D", 1),
        ("/networks?filters=%7B%22type%22%3A%5B%22custom%22%5D%7D", 0),
    ],
)
def test_networks_are_filtered(api: Any, target: str, count: int) -> None:
    assert len(api("GET", target).json) == count


def test_an_unknown_network_is_404(api: Any) -> None:
    answer = api("GET", "/networks/bridge")
    assert (answer.status, answer.json) == (404, {"message": "network bridge not found"})


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/networks/create"),
    ],
)
def test_what_is_not_there_yet_says_so(api: Any, method: str, target: str) -> None:
    answer = api(method, target)
    assert answer.status == 501
    assert "not available yet" in answer.json["message"]


@pytest.mark.parametrize("target", ["/nope", "/v1.44/swarm", "/debug/pprof/", "/images/viz"])
def test_anything_else_is_not_found(api: Any, target: str) -> None:
    """S-98."""
    answer = api("GET", target)
    assert (answer.status, answer.json) == (404, {"message": "page not found"})


def test_a_method_that_nothing_uses_is_405(api: Any) -> None:
    assert api("PATCH", "/_ping").status == 405
