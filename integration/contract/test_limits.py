# SPDX-License-Identifier: Apache-2.0
"""Topic 5: limits, seen from inside, from outside and through the API."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from integration.pace import SLOWNESS
from toolkit.client import ApiError
from toolkit.vm.leftovers import Leftovers

if TYPE_CHECKING:
    from integration.contract.conftest import Containers

MIB = 1 << 20


def cgroup_value(containers: Containers, container: str, *names: str) -> str:
    for directory in Leftovers(containers.engine.instance).cgroup_dirs():
        for name in names:
            if container in directory.name and (directory / name).exists():
                return (directory / name).read_text().strip()
    raise AssertionError(f"none of {names}")


def test_memory_and_shares_together(containers: Containers) -> None:
    """RT-026: 32 MiB and 1000 shares; swap is as much again (rule 3.8)."""
    made = containers.start("cat", OpenStdin=True, host={"Memory": 32 * MIB, "CpuShares": 1000})
    assert containers.state(made)
    memory = cgroup_value(containers, made, "memory.limit_in_bytes", "memory.max")
    swap = cgroup_value(containers, made, "memory.memsw.limit_in_bytes", "memory.swap.max")
    assert (memory, swap in {str(64 * MIB), str(32 * MIB)}) == (str(32 * MIB), True)
    assert cgroup_value(containers, made, "cpu.shares", "cpu.weight") in {"1000", "39"}


def test_too_little_memory_is_refused(containers: Containers) -> None:
    """RT-068."""
    with pytest.raises(ApiError, match="Minimum memory limit") as refused:
        containers.create("true", host={"Memory": 524287, "CpuShares": 1000})
    assert refused.value.status == 400


def test_the_limits_are_seen_from_inside(containers: Containers) -> None:
    script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null"
    _, out, _ = containers.run("sh", "-c", script, host={"Memory": 32 * MIB})
    assert out.split() == [b"%d" % (32 * MIB)]


def test_limits_change_while_it_runs(containers: Containers) -> None:
    made = containers.start("sleep", "60", host={"Memory": 32 * MIB, "PidsLimit": 10})
    body = {"Memory": 64 * MIB, "MemorySwap": 128 * MIB, "PidsLimit": 20, "CpuShares": 512}
    answer = containers.engine.client.request(
        "POST", f"/containers/{made}/update", document=body
    ).json()
    assert answer == {"Warnings": []}
    memory = cgroup_value(containers, made, "memory.limit_in_bytes", "memory.max")
    assert memory == str(64 * MIB)
    assert cgroup_value(containers, made, "pids.max") == "20"
    assert cgroup_value(containers, made, "cpu.shares", "cpu.weight") in {"512", "20"}
    assert containers.client.inspect(made)["HostConfig"]["Memory"] == 64 * MIB


def test_out_of_memory_is_told(containers: Containers) -> None:
    began = int(time.time())
    host = {"Memory": 16 * MIB, "MemorySwap": 16 * MIB}
    code, *_ = containers.run("sh", "-c", "x=a; while :; do x=$x$x; done", host=host)
    made = containers.made[-1]
    assert (code, containers.state(made, "OOMKilled")) == (137, True)
    seen = containers.engine.client.system.events(
        since=str(began), until=str(int(time.time()) + 1), filters={"container": [made]}
    )
    actions = [event["Action"] for event in seen]
    assert actions.index("oom") < actions.index("die")


def test_live_and_single_stats(containers: Containers) -> None:
    made = containers.start("sh", "-c", "while :; do :; done", host={"Memory": 32 * MIB})
    samples = [*itertools.islice(containers.client.stats(made), 2)]
    last = samples[-1]
    used = [sample["cpu_stats"]["cpu_usage"]["total_usage"] for sample in samples]
    assert used[1] > used[0]
    assert last["precpu_stats"]["cpu_usage"]["total_usage"] == used[0]
    assert last["memory_stats"]["limit"] == 32 * MIB
    assert 0 < last["memory_stats"]["usage"] <= 32 * MIB
    assert last["pids_stats"]["current"] == 1
    assert last["id"] == made
    (single,) = containers.client.stats(made, stream=False)
    assert single["precpu_stats"]["system_cpu_usage"] < single["cpu_stats"]["system_cpu_usage"]


def test_top_lists_its_processes_with_the_columns_of_ps(containers: Containers) -> None:
    """RT-234."""
    made = containers.start("sh", "-c", "sleep 60 & cat; wait", OpenStdin=True)
    deadline = time.monotonic() + 5 * SLOWNESS
    found = containers.client.top(made, ps_arguments="u")
    # a shell that was forked to become `sleep` is a shell for a moment
    while {row[-1].split()[0] for row in found["Processes"]} != {"sh", "sleep", "cat"}:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
        found = containers.client.top(made, ps_arguments="u")
    assert found["Titles"][0] == "USER"
    assert len(found["Titles"]) == 11
    assert len(found["Processes"]) == 3


@pytest.mark.parametrize("name", ["nofile", "core"])
def test_resource_limits(containers: Containers, name: str) -> None:
    letter = {"nofile": "n", "core": "c"}[name]
    limit = {"Name": name, "Soft": 100, "Hard": 200}
    script = f"ulimit -S{letter}; ulimit -H{letter}"
    _, out, _ = containers.run("sh", "-c", script, host={"Ulimits": [limit]})
    block = 512 if name == "core" else 1
    assert [int(word) * block // 100 for word in out.split()] in ([1, 2], [0, 0])


def test_a_device_with_permissions(containers: Containers) -> None:
    device = {"PathOnHost": "/dev/zero", "PathInContainer": "/dev/mine"}
    script = "head -c 2 /dev/mine | wc -c; echo x >/dev/mine && echo written"
    host: dict[str, Any] = {"Devices": [{**device, "CgroupPermissions": "rwm"}]}
    assert containers.run("sh", "-c", script, host=host)[1] == b"2\nwritten\n"


def test_the_kernel_is_told_whom_to_kill_first(containers: Containers) -> None:
    _, out, _ = containers.run("cat", "/proc/self/oom_score_adj", host={"OomScoreAdj": 500})
    assert out == b"500\n"


def test_events_of_a_life_in_dockers_order(containers: Containers) -> None:
    began = int(time.time())
    made = containers.create("sleep", "60")
    session = containers.attach(made, stdout=True)
    containers.client.start(made)
    containers.client.stop(made, timeout_seconds=0)
    session.close()
    containers.remove(made)
    seen = [
        (event["Action"], event["Actor"]["Attributes"].get("signal"))
        for event in containers.engine.client.system.events(
            since=str(began), until=str(int(time.time()) + 1), filters={"container": [made]}
        )
    ]
    assert seen == [
        ("create", None), ("attach", None), ("start", None), ("kill", "9"), ("die", None),
        ("stop", None), ("destroy", None),
    ]  # fmt: skip


def test_limits_survive_the_engine(containers: Containers) -> None:
    """Defect D-7: what the host can limit is known before anything is started again."""
    host = {"Memory": 64 * MIB, "PidsLimit": 20, "RestartPolicy": {"Name": "always"}}
    made = containers.start("sh", "-c", "sleep 0.3; exit 1", host=host)
    state = containers.client.inspect(made)["State"]
    began, pid = state["StartedAt"], state["Pid"]
    containers.engine.process.stop()
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.02)
    containers.engine.start()
    deadline = time.monotonic() + 10 * SLOWNESS
    while (state := containers.client.inspect(made)["State"])["StartedAt"] == began or not (
        state["Running"]
    ):
        assert time.monotonic() < deadline, state
        time.sleep(0.02)
    assert cgroup_value(containers, made, "memory.limit_in_bytes", "memory.max") == str(64 * MIB)
    assert cgroup_value(containers, made, "pids.max") == "20"
