# SPDX-License-Identifier: Apache-2.0
"""The engine itself over the API."""

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


def test_info_says_how_registries_are_reached(api: Any) -> None:
    document = api("GET", "/info").json["RegistryConfig"]
    assert document["InsecureRegistryCIDRs"] == ["10.0.0.0/8", "127.0.0.0/8"]
    assert document["Mirrors"] == document["IndexConfigs"]["docker.io"]["Mirrors"] == ["http://m/"]
    assert document["IndexConfigs"]["lab:5000"]["Secure"] is False


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/containers/x/attach/ws"),
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
