# SPDX-License-Identifier: Apache-2.0
"""Limits that the kernel enforces: memory, processes, shares of the processor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.vm.leftovers import Leftovers

if TYPE_CHECKING:
    from integration.conftest import Engine

MIB = 1024 * 1024
Start = Callable[..., str]


@pytest.fixture
def start(engine: Engine, busybox: str) -> Iterator[Start]:
    """Start containers with limits (docker's names), removed after the test."""
    made: list[str] = []

    def start_container(*command: str, **limits: Any) -> str:
        host = {"NetworkMode": "none", **limits}
        wish = {"Image": busybox, "Cmd": list(command), "HostConfig": host}
        made.append(engine.client.containers.create(wish).id)
        engine.client.containers.start(made[-1])
        return made[-1]

    yield start_container
    for container in made:
        engine.client.containers.remove(container, force=True)


def cgroup_value(engine: Engine, container: str, *names: str) -> str:
    """Return a setting of a container's control group, by its v1 or its v2 name."""
    for directory in Leftovers(engine.instance).cgroup_dirs():
        for name in names:
            if container in directory.name and (directory / name).exists():
                return (directory / name).read_text().strip()
    raise AssertionError(f"none of {names} for {container}")


def test_a_container_over_its_memory_is_killed_and_the_reason_shown(
    engine: Engine, start: Start
) -> None:
    container = start(
        "sh", "-c", "x=a; while true; do x=$x$x; done", Memory=16 * MIB, MemorySwap=16 * MIB
    )
    assert engine.client.containers.wait(container).result().exit_code == 137
    state = engine.client.containers.inspect(container)["State"]
    assert (state["OOMKilled"], state["ExitCode"]) == (True, 137)


def test_a_container_within_its_memory_is_not_shown_as_out_of_it(
    engine: Engine, start: Start
) -> None:
    container = start("true", Memory=16 * MIB)
    assert engine.client.containers.wait(container).result().exit_code == 0
    assert engine.client.containers.inspect(container)["State"]["OOMKilled"] is False


def test_no_more_processes_than_allowed(engine: Engine, start: Start) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait"
    container = start("sh", "-c", script, PidsLimit=5)
    ended = engine.client.containers.wait(container).result()
    chunks = engine.client.containers.logs(container, framed=True, stdout=False)
    assert b"fork" in b"".join(chunk.payload for chunk in chunks)
    assert ended.exit_code != 0


def test_the_limits_stand_in_the_containers_control_group(engine: Engine, start: Start) -> None:
    container = start("sleep", "60", Memory=32 * MIB, CpuShares=512, PidsLimit=20)
    memory = cgroup_value(engine, container, "memory.limit_in_bytes", "memory.max")
    assert memory == str(32 * MIB)
    assert cgroup_value(engine, container, "pids.max") == "20"
    assert cgroup_value(engine, container, "cpu.shares", "cpu.weight") in {"512", "20"}


def test_a_quota_of_half_a_processor_is_set(engine: Engine, start: Start) -> None:
    container = start("sleep", "60", NanoCpus=500_000_000)
    quota = cgroup_value(engine, container, "cpu.cfs_quota_us", "cpu.max")
    assert quota in {"50000", "50000 100000"}
