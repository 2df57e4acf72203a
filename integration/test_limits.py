# SPDX-License-Identifier: Apache-2.0
"""Limits that the kernel enforces: memory, processes, shares of the processor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.vm.leftovers import Leftovers

if TYPE_CHECKING:
    from integration.conftest import Engine
    from toolkit.testing import Container, RunContainer

MIB = 1024 * 1024


def cgroup_value(engine: Engine, container: Container, *names: str) -> str:
    """Return a setting of a container's control group, by its v1 or its v2 name."""
    for directory in Leftovers(engine.instance).cgroup_dirs():
        for name in names:
            if container.id in directory.name and (directory / name).exists():
                return (directory / name).read_text().strip()
    raise AssertionError(f"none of {names} for {container}")


def test_a_container_over_its_memory_is_killed_and_the_reason_shown(
    run_container: RunContainer,
) -> None:
    container = run_container(
        "busybox",
        ["sh", "-c", "x=a; while true; do x=$x$x; done"],
        network="none",
        memory_bytes=16 * MIB,
        wire={"HostConfig": {"MemorySwap": 16 * MIB}},
    )
    assert container.wait() == 137
    state = container.state()
    assert (state["OOMKilled"], state["ExitCode"]) == (True, 137)


def test_a_container_within_its_memory_is_not_shown_as_out_of_it(
    run_container: RunContainer,
) -> None:
    container = run_container("busybox", "true", network="none", memory_bytes=16 * MIB)
    assert container.wait() == 0
    assert container.state()["OOMKilled"] is False


def test_no_more_processes_than_allowed(run_container: RunContainer) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait"
    container = run_container("busybox", ["sh", "-c", script], network="none", pids_limit=5)
    assert container.wait() != 0
    assert "fork" in container.logs()


def test_the_limits_stand_in_the_containers_control_group(
    engine: Engine, run_container: RunContainer
) -> None:
    container = run_container(
        "busybox",
        "sleep 60",
        network="none",
        memory_bytes=32 * MIB,
        pids_limit=20,
        wire={"HostConfig": {"CpuShares": 512}},
    )
    memory = cgroup_value(engine, container, "memory.limit_in_bytes", "memory.max")
    assert memory == str(32 * MIB)
    assert cgroup_value(engine, container, "pids.max") == "20"
    assert cgroup_value(engine, container, "cpu.shares", "cpu.weight") in {"512", "20"}


def test_a_quota_of_half_a_processor_is_set(engine: Engine, run_container: RunContainer) -> None:
    container = run_container("busybox", "sleep 60", network="none", cpus=0.5)
    quota = cgroup_value(engine, container, "cpu.cfs_quota_us", "cpu.max")
    assert quota in {"50000", "50000 100000"}
