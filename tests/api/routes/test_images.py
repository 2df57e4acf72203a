# SPDX-License-Identifier: Apache-2.0
"""Images over the API."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest


def test_list_has_dockers_fields(api: Any) -> None:
    """API-004."""
    (entry,) = api("GET", "/images/json").json
    assert entry["Id"] == "sha256:" + "ab" * 32
    assert (entry["RepoTags"], entry["Size"]) == (["busybox:latest"], 1000)
    assert (entry["Created"], entry["Containers"], entry["SharedSize"]) == (1767323045, -1, -1)
    assert entry["Labels"] == {"a": "b"}
    assert "VirtualSize" not in entry


def test_older_clients_see_virtual_size_and_none(api: Any, engine: Any, image: Any) -> None:
    engine.images.found = [image(references=())]
    (entry,) = api("GET", "/v1.42/images/json").json
    assert entry["VirtualSize"] == 1000
    assert entry["RepoTags"] == ["<none>:<none>"]
    (entry,) = api("GET", "/v1.43/images/json").json
    assert entry["RepoTags"] == []


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["utest*/*"], {"utest/docker:tag2", "utest:5000/docker:tag3"}),
        (["utest"], {"utest:tag1"}),
        (["utest*"], {"utest:tag1"}),
        (["*5000*/*"], {"utest:5000/docker:tag3"}),
        (["utest:tag1"], {"utest:tag1"}),
        (["aaaaaaaaaa"], set()),
    ],
)
def test_references_are_shell_patterns_that_stop_at_slashes(
    api: Any, engine: Any, image: Any, patterns: list[str], names: set[str]
) -> None:
    """API-034, API-004, RT-177."""
    tags = ("utest:tag1", "utest/docker:tag2", "utest:5000/docker:tag3")
    engine.images.found = [image(references=tags)]
    target = "/images/json?filters=" + quote(json.dumps({"reference": patterns}))
    found = {name for entry in api("GET", target).json for name in entry["RepoTags"]}
    assert found == names


def test_dangling_and_inner_images(api: Any, engine: Any, image: Any) -> None:
    parent = image(id="sha256:" + "01" * 32, references=())
    child = image(id="sha256:" + "02" * 32, parent=parent.id)
    loose = image(id="sha256:" + "03" * 32, references=())
    engine.images.found = [child, loose, parent]
    ids = [entry["Id"][7:9] for entry in api("GET", "/images/json").json]
    assert ids == ["02", "03"]
    assert len(api("GET", "/images/json?all=1").json) == 3
    target = "/images/json?filters=" + quote('{"dangling":["true"]}')
    assert [entry["Id"][7:9] for entry in api("GET", target).json] == ["03"]


def test_history_and_inspect(api: Any) -> None:
    """API-005, API-006."""
    (entry,) = api("GET", "/images/busybox/history").json
    assert (entry["Size"], entry["Created"]) == (1000, 1767323045)
    assert entry["Comment"] == "Imported from -"


def test_each_step_of_a_history_has_its_layers_size_and_image(
    api: Any, engine: Any, image: Any
) -> None:
    """API-006; 0.7.2 walked from the image to its root (rule 9.10)."""
    steps = ({"created_by": "base"}, {"created_by": "env", "empty_layer": True}, {"comment": "c"})
    parent = image(id="sha256:" + "01" * 32, references=("p:1",), history=steps[:1])
    child = image(
        id="sha256:" + "02" * 32,
        references=("c:1",),
        history=steps,
        layer_bytes=(70, 5),
        parent=parent.id,
    )
    engine.images.found = [child, parent]
    told = api("GET", "/images/c:1/history").json
    assert [(entry["Id"][7:9], entry["Size"]) for entry in told] == [
        ("02", 5),
        ("g>", 0),
        ("01", 70),
    ]
    assert [entry["Tags"] for entry in told] == [["c:1"], None, ["p:1"]]


def test_inspect_of_an_image(api: Any) -> None:
    document = api("GET", "/images/busybox/json").json
    assert document["Id"] == "sha256:" + "ab" * 32
    assert document["Created"] == "2026-01-02T03:04:05.6Z"
    assert document["RootFS"] == {"Type": "layers", "Layers": ["sha256:" + "cd" * 32]}


def test_every_field_of_a_configuration_is_there(api: Any) -> None:
    config = api("GET", "/images/busybox/json").json["Config"]
    assert (config["Cmd"], config["Entrypoint"], config["User"]) == (["sh"], None, "")


def test_an_unknown_image_is_404(api: Any) -> None:
    answer = api("GET", "/images/a/b/c/json")
    assert (answer.status, answer.json) == (404, {"message": "No such image: a/b/c"})


def test_import_reads_the_body(api: Any, engine: Any) -> None:
    target = "/images/create?fromSrc=-&repo=a/b:c&message=m&changes=" + quote('CMD ["sh"]')
    answer = api("POST", target, b"x" * 5000)
    assert answer.json == {"status": "sha256:" + "ab" * 32}
    assert engine.images.imported == [
        {"reference": "a/b:c", "config": {"Cmd": ["sh"]}, "message": "m", "size": 5000}
    ]


def test_import_of_a_url(api: Any, engine: Any) -> None:
    """Rule 3.6."""
    answer = api("POST", "/images/create?fromSrc=http://x/y.tar&repo=a")
    assert answer.json == {"status": "sha256:" + "ab" * 32}
    (asked,) = engine.images.imported
    assert (asked["url"], asked["reference"]) == ("http://x/y.tar", "a")
    assert asked["message"] == "Imported from http://x/y.tar"
    assert api("POST", "/images/create").status == 400


def test_tag_and_remove(api: Any, engine: Any) -> None:
    """API-036."""
    assert api("POST", "/images/busybox/tag?repo=docker.io/a/b&tag=1").status == 201
    assert engine.images.tags == [("sha256:" + "ab" * 32, "docker.io/a/b:1")]
    assert api("POST", "/images/busybox/tag").status == 400
    answer = api("DELETE", "/images/busybox")
    assert answer.json == [{"Untagged": "busybox:latest"}, {"Deleted": "sha256:" + "ab" * 32}]


def test_prune_takes_what_has_no_name(api: Any) -> None:
    assert api("POST", "/images/prune").json == {"ImagesDeleted": [], "SpaceReclaimed": 0}
    target = "/images/prune?filters=" + quote('{"dangling":{"false":true}}')
    assert api("POST", target).json["SpaceReclaimed"] == 1000
