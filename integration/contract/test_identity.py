# SPDX-License-Identifier: Apache-2.0
"""Topic 1: identity, creation, look-up, removal."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

import pytest

from toolkit.client import ApiError

if TYPE_CHECKING:
    from integration.contract.conftest import Containers


def test_an_id_is_64_hex_digits(containers: Containers) -> None:
    """RT-001."""
    assert re.fullmatch("[0-9a-f]{64}", containers.create("sh", "-c", "echo hello world"))


def test_a_created_container_is_listed_and_found_and_its_name_is_taken(
    containers: Containers,
) -> None:
    """RT-002, RT-005, RT-012, RT-014, RT-015."""
    name = f"conflict-{uuid.uuid4().hex[:8]}"
    before = [found["Id"] for found in containers.client.list(every=True)]
    made = containers.create("ls", "-al", name=name)
    assert [found["Id"] for found in containers.client.list(every=True)] == [made, *before]
    assert containers.client.inspect(made)["Id"] == made
    assert containers.client.inspect(made[:12])["Id"] == made
    with pytest.raises(ApiError, match=made[:12]) as refused:
        containers.create("true", name=name)
    assert refused.value.status == 409


def test_a_container_without_a_command_is_refused(containers: Containers) -> None:
    """RT-002: the image of these tests may have a command, so an empty entry point goes first."""
    with pytest.raises(ApiError) as refused:
        containers.create("")
    assert refused.value.status == 400


def test_a_label_chooses_the_backend(containers: Containers) -> None:
    """As `--runtime` does; both say so in inspect, and what contradicts is refused."""
    wish = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}
    label = {"toolkit.backend": containers.backend}
    made = containers.client.create({**wish, "Labels": label}).id
    containers.made.append(made)
    assert containers.client.inspect(made)["HostConfig"]["Runtime"] == containers.backend
    containers.client.start(made)
    assert containers.client.wait(made).result().exit_code == 0
    other = {"native": "lxc", "lxc": "native"}[containers.backend]
    for labels in ({"toolkit.backend": other}, {"toolkit.backend": "vm"}):
        with pytest.raises(ApiError, match=r"toolkit\.backend") as refused:
            containers.create("true", Labels=labels)
        assert refused.value.status == 400


def test_a_removed_container_is_gone(containers: Containers) -> None:
    """RT-003, RT-004, RT-016."""
    made = containers.create("true")
    containers.remove(made)
    for act in (containers.client.inspect, containers.client.remove):
        with pytest.raises(ApiError) as refused:
            act(made)
        assert refused.value.status == 404
    layers = containers.engine.data_dir / "layers"
    assert not [path for path in layers.rglob("*") if made in path.name]


def test_names_given_and_made_up(containers: Containers) -> None:
    """RT-006, RT-007, RT-008."""
    name = f"some_name{uuid.uuid4().hex[:8]}"
    made = containers.create("true", name=name)
    assert containers.client.inspect(made)["Name"] == f"/{name}"
    found = containers.engine.client.request("GET", f"/containers/%2F{name}/json").json()
    assert found["Id"] == made
    other = containers.create("true")
    chosen = containers.client.inspect(other)["Name"]
    assert len(chosen) > 1
    assert containers.client.inspect(chosen.removeprefix("/"))["Id"] == other


def test_what_a_created_container_wrote_is_in_its_root(containers: Containers) -> None:
    """RT-013: memory of 32 MiB, a file made."""
    code, *_ = containers.run("touch", "/test", host={"Memory": 33554432})
    assert code == 0
    assert containers.client.inspect(containers.made[-1])["HostConfig"]["Memory"] == 33554432
