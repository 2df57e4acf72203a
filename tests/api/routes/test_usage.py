# SPDX-License-Identifier: Apache-2.0
"""What everything takes on disk."""

from __future__ import annotations

from typing import Any

import pytest

BASE, OWN, OTHER = ("sha256:" + each * 32 for each in ("01", "02", "03"))


@pytest.fixture
def images(engine: Any, image: Any) -> None:
    """Put two images on one base, and one between that has no name."""
    layers = {"diff_ids": (BASE, OWN), "layer_bytes": (1000, 50), "size_bytes": 1050}
    between = image(
        id="sha256:" + "dd" * 32, references=(), diff_ids=(BASE,), layer_bytes=(1000,),
        size_bytes=1000,
    )  # fmt: skip
    second = {**layers, "diff_ids": (BASE, OTHER), "layer_bytes": (1000, 7), "size_bytes": 1007}
    engine.images.found = [
        image(id="sha256:" + "bb" * 32, references=("b:1",), parent=between.id, **second),
        image(id="sha256:" + "aa" * 32, references=("a:1",), **layers),
        between,
    ]


@pytest.mark.usefixtures("images")
def test_a_layer_that_images_share_counts_once(api: Any) -> None:
    document = api("GET", "/system/df").json
    assert document["LayersSize"] == 1057
    shown = [(one["RepoTags"], one["Size"], one["SharedSize"]) for one in document["Images"]]
    assert shown == [(["b:1"], 1007, 1000), (["a:1"], 1050, 1000)]


def test_containers_and_volumes_are_measured(api: Any, add_container: Any) -> None:
    add_container()
    api("POST", "/volumes/create", {"Name": "data"})
    document = api("GET", "/system/df").json
    assert (document["LayersSize"], document["Images"][0]["Containers"]) == (1000, 1)
    assert document["Images"][0]["SharedSize"] == 0
    assert document["Containers"][0]["SizeRw"] == 24
    assert document["Volumes"][0]["UsageData"] == {"Size": 0, "RefCount": 0}


def test_only_the_types_that_are_asked_for(api: Any, add_container: Any) -> None:
    add_container()
    document = api("GET", "/system/df?type=container&type=volume").json
    assert (document["Images"], len(document["Containers"])) == ([], 1)
    answer = api("GET", "/system/df?type=odd")
    assert (answer.status, answer.json) == (400, {"message": "unknown object type: odd"})
