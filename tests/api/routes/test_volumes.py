# SPDX-License-Identifier: Apache-2.0
"""The routes of volumes."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest


def filters(**terms: list[str]) -> str:
    return "filters=" + quote(json.dumps(terms))


def create(api: Any, **body: Any) -> Any:
    return api("POST", "/volumes/create", body)


def names(answer: Any) -> list[str]:
    return [volume["Name"] for volume in answer.json["Volumes"]]


def test_a_volume_is_made_shown_and_removed(api: Any) -> None:
    assert api("GET", "/volumes").json == {"Volumes": [], "Warnings": None}
    made = create(api, Name="data", Labels={"a": "b"})
    assert made.status == 201
    shown = api("GET", "/volumes/data").json
    assert (shown["Name"], shown["Driver"], shown["Scope"]) == ("data", "local", "local")
    assert shown["Labels"] == {"a": "b"}
    assert shown["Mountpoint"].endswith("/volumes/data/_data")
    assert api("DELETE", "/volumes/data").status == 204
    assert api("GET", "/volumes/data").status == 404
    assert api("DELETE", "/volumes/data").status == 404


def test_volumes_are_filtered(api: Any, engine: Any) -> None:
    for name in ("one", "two"):
        create(api, Name=name, Labels={"l": name})
    engine.volumes.taken["one"] = ["c" * 64]
    assert names(api("GET", "/volumes?" + filters(name=["w"]))) == ["two"]
    assert names(api("GET", "/volumes?" + filters(dangling=["true"]))) == ["two"]
    assert names(api("GET", "/volumes?" + filters(dangling=["false"]))) == ["one"]
    assert names(api("GET", "/volumes?" + filters(label=["l=one"]))) == ["one"]
    assert names(api("GET", "/volumes?" + filters(driver=["other"]))) == []


@pytest.mark.parametrize(
    ("version", "query", "removed"),
    [("", "", []), ("", filters(all=["true"]), ["named"]), ("/v1.41", "", ["named"])],
)
def test_prune_spares_names_unless_told(
    api: Any, version: str, query: str, removed: list[str]
) -> None:
    create(api, Name="named")
    answer = api("POST", f"{version}/volumes/prune?{query}")
    assert answer.json == {"VolumesDeleted": removed, "SpaceReclaimed": 7}
