# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.fakes.cgroupfs import HYBRID_MOUNTS, MIXED_MOUNTS, V1_MOUNTS, FakeCgroupfs
from toolkit.errors import CgroupError, KernelFeatureMissingError
from toolkit.kernel import cgroup_v2
from toolkit.kernel.cgroup_stats import BlkioEntry
from toolkit.kernel.cgroup_tree import CgroupTree
from toolkit.kernel.device_filter import DeviceRules

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.kernel.cgroup import Cgroup

MIB = 1 << 20


@pytest.fixture
def fake(tmp_path: Path) -> FakeCgroupfs:
    return FakeCgroupfs(tmp_path, HYBRID_MOUNTS)


@pytest.fixture
def group(fake: FakeCgroupfs, monkeypatch: pytest.MonkeyPatch) -> Cgroup:
    group = fake.host(monkeypatch).cgroup("toolkit/c1")
    group.create()
    return group


@pytest.fixture
def mixed(tmp_path: Path) -> FakeCgroupfs:
    return FakeCgroupfs(tmp_path, MIXED_MOUNTS)


@pytest.fixture
def mixed_group(mixed: FakeCgroupfs, monkeypatch: pytest.MonkeyPatch) -> Cgroup:
    group = mixed.host(monkeypatch).cgroup("toolkit/c1")
    group.create()
    return group


def files(fake: FakeCgroupfs) -> list[str]:
    return [file for file, _ in fake.writes]


def test_a_group_stands_in_each_needed_hierarchy_once(group: Cgroup, fake: FakeCgroupfs) -> None:
    top = fake.directory("/sys/fs/cgroup")
    places = {path.parent.parent.name for path in top.glob("*/toolkit/c1")}
    assert places == {"cpu,cpuacct", "memory", "devices", "freezer", "blkio", "pids"}
    assert group.exists()


def test_a_process_is_written_to_every_hierarchy(group: Cgroup, fake: FakeCgroupfs) -> None:
    group.attach(77)
    assert fake.writes == [("cgroup.procs", "77")] * 6
    assert len(group.procs_files()) == 6


def test_a_group_cannot_be_entered_by_clone_alone(group: Cgroup) -> None:
    """On a hybrid host a child born in the unified group would miss the v1 limits."""
    assert group.dir_fd_v2() == -1


def test_limits_go_to_their_files(group: Cgroup, fake: FakeCgroupfs) -> None:
    group.apply(
        {
            "memory": {"limit": 64 * MIB, "swap": 128 * MIB, "reservation": 32 * MIB},
            "cpu": {"shares": 512, "quota": 50000, "period": 100000},
            "pids": {"limit": 2048},
            "blockIO": {"weight": 300},
        }
    )
    assert fake.writes == [
        ("memory.limit_in_bytes", str(64 * MIB)),
        ("memory.memsw.limit_in_bytes", str(128 * MIB)),
        ("memory.soft_limit_in_bytes", str(32 * MIB)),
        ("cpu.shares", "512"),
        ("cpu.cfs_period_us", "100000"),
        ("cpu.cfs_quota_us", "50000"),
        ("pids.max", "2048"),
        ("blkio.bfq.weight", "300"),
    ]


@pytest.mark.parametrize(
    ("limit", "first"),
    [
        (32 * MIB, "memory.limit_in_bytes"),
        (64 * MIB, "memory.limit_in_bytes"),
        (256 * MIB, "memory.memsw.limit_in_bytes"),
        (-1, "memory.memsw.limit_in_bytes"),
    ],
)
def test_memory_is_never_above_memory_and_swap_on_the_way(
    group: Cgroup, fake: FakeCgroupfs, limit: int, first: str
) -> None:
    group.apply({"memory": {"limit": 64 * MIB, "swap": 128 * MIB}})
    fake.writes.clear()
    group.apply({"memory": {"limit": limit, "swap": limit * 2 if limit > 0 else -1}})
    assert files(fake)[0] == first
    assert len(fake.writes) == 2


def test_what_is_zero_or_missing_is_left_alone(group: Cgroup, fake: FakeCgroupfs) -> None:
    group.apply({"memory": {"limit": 0, "swap": 0}, "cpu": {"shares": 0}, "pids": {"limit": 0}})
    assert fake.writes == []


def test_no_pids_limit_is_written_as_max(group: Cgroup, fake: FakeCgroupfs) -> None:
    group.apply({"pids": {"limit": -1}})
    assert fake.writes == [("pids.max", "max")]


def test_device_rules_are_written_in_the_kernels_lines(group: Cgroup, fake: FakeCgroupfs) -> None:
    null = {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}
    group.apply({"devices": [{"allow": False, "access": "rwm"}, null]})
    assert fake.writes == [("devices.deny", "a"), ("devices.allow", "c 1:3 rw")]


def test_a_cpuset_is_made_when_asked_for_and_inherits_what_is_not_given(
    group: Cgroup, fake: FakeCgroupfs
) -> None:
    group.apply({"cpu": {"cpus": "1"}})
    assert fake.text("cpuset/toolkit/cpuset.cpus") == "0-1"
    assert fake.text("cpuset/toolkit/c1/cpuset.cpus") == "1"
    assert fake.text("cpuset/toolkit/c1/cpuset.mems") == "0"


def test_a_late_cpuset_takes_the_members_over(group: Cgroup, fake: FakeCgroupfs) -> None:
    group.attach(77)
    group.apply({"cpu": {"cpus": "1"}})
    assert fake.text("cpuset/toolkit/c1/cgroup.procs") == "77"


def test_a_limit_without_its_controller_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeCgroupfs(tmp_path, V1_MOUNTS, frozenset({"memory.memsw.limit_in_bytes"}))
    group = fake.host(monkeypatch).cgroup("c1")
    group.create()
    with pytest.raises(KernelFeatureMissingError, match=r"memory.memsw.limit_in_bytes.*1024"):
        group.apply({"memory": {"swap": 1024}})


def test_a_failed_create_leaves_nothing(
    fake: FakeCgroupfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = fake.host(monkeypatch)
    make = CgroupTree.make

    def fail_in_pids(tree: CgroupTree, path: str) -> bool:
        if tree.label == "pids":
            raise CgroupError("mkdir", path, 28)
        return make(tree, path)

    monkeypatch.setattr(CgroupTree, "make", fail_in_pids)
    with pytest.raises(CgroupError):
        host.cgroup("c1").create()
    assert list(fake.directory("/sys/fs/cgroup").glob("*/c1")) == []


def test_create_takes_a_group_that_is_there(group: Cgroup) -> None:
    group.create()
    assert group.exists()


def test_statistics_are_read_from_each_controller(group: Cgroup) -> None:
    stats = group.stats()
    assert (stats.memory_usage_bytes, stats.memory_max_usage_bytes) == (4096, 8192)
    assert (stats.memory_limit_bytes, stats.memory_failures) == (None, 6)
    assert stats.memory_stats == {"cache": 1, "rss": 2}
    assert (stats.cpu_total_ns, stats.cpu_user_ns, stats.cpu_per_cpu_ns) == (
        70,
        3 * 10**7,
        (30, 40),
    )
    assert (stats.cpu_periods, stats.cpu_throttled_periods, stats.cpu_throttled_ns) == (5, 2, 3000)
    assert (stats.pids_current, stats.pids_limit) == (3, None)
    assert stats.blkio_bytes == (BlkioEntry(major=8, minor=0, operation="Read", value=512),)


def test_oom_kills_of_nested_groups_count(group: Cgroup, fake: FakeCgroupfs) -> None:
    nested = fake.directory("/sys/fs/cgroup/memory/toolkit/c1/inner")
    nested.mkdir()
    (nested / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert group.oom_kill_count() == 3


def test_a_group_without_a_devices_controller_stands_in_the_unified_hierarchy(
    mixed_group: Cgroup, mixed: FakeCgroupfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    attached: list[DeviceRules] = []
    monkeypatch.setattr(
        cgroup_v2, "attach_device_filter", lambda _fd, rules: attached.append(rules)
    )
    mixed_group.apply({"devices": [{"allow": False, "access": "rwm"}]})
    assert attached == [DeviceRules(allows=False, exceptions={})]
    assert mixed.directory("/sys/fs/cgroup/unified/toolkit/c1").is_dir()


def test_the_unified_hierarchy_kills(mixed_group: Cgroup, mixed: FakeCgroupfs) -> None:
    mixed_group.kill()
    assert mixed.writes == [("cgroup.kill", "1")]


def test_without_it_the_members_are_frozen_killed_and_thawed(
    group: Cgroup, fake: FakeCgroupfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    group.attach(77)
    fake.writes.clear()
    group.kill()
    assert killed == [(77, 9)]
    assert fake.writes == [("freezer.state", "FROZEN"), ("freezer.state", "THAWED")]


def test_a_freeze_that_is_not_done_in_time_is_taken_back(
    mixed_group: Cgroup, mixed: FakeCgroupfs
) -> None:
    with pytest.raises(CgroupError, match="freeze"):
        mixed_group.freeze(timeout_seconds=0.01)
    assert mixed.writes == [("cgroup.freeze", "1"), ("cgroup.freeze", "0")]


def test_without_a_unified_hierarchy_the_freezer_freezes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeCgroupfs(tmp_path, V1_MOUNTS)
    group = fake.host(monkeypatch).cgroup("c1")
    group.create()
    group.freeze()
    group.thaw()
    assert fake.writes == [("freezer.state", "FROZEN"), ("freezer.state", "THAWED")]


def test_remove_takes_nested_groups_too_and_can_be_repeated(
    group: Cgroup, fake: FakeCgroupfs
) -> None:
    fake.directory("/sys/fs/cgroup/memory/toolkit/c1/a/b").mkdir(parents=True)
    group.remove()
    group.remove()
    assert list(fake.directory("/sys/fs/cgroup").glob("*/toolkit/c1")) == []


def test_remove_says_what_is_held_when_time_is_up(
    group: Cgroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CgroupTree, "remove_one", lambda *_: False)
    with pytest.raises(CgroupError, match="busy"):
        group.remove(timeout_seconds=0.01)


def test_renamed_moves_the_group_within_its_parent(group: Cgroup) -> None:
    renamed = group.renamed("toolkit/c2")
    assert renamed is not None
    assert renamed.path == "toolkit/c2"
    assert len(renamed.procs_files()) == 6
    assert not group.exists()


def test_renamed_takes_the_members_along_in_the_unified_hierarchy(
    mixed_group: Cgroup, mixed: FakeCgroupfs
) -> None:
    mixed_group.attach(77)
    assert mixed_group.renamed("toolkit/c2") is not None
    assert mixed.text("unified/toolkit/c2/cgroup.procs") == "77"
    assert not mixed.directory("/sys/fs/cgroup/unified/toolkit/c1").exists()


def test_renamed_to_another_parent_is_not_possible(group: Cgroup) -> None:
    assert group.renamed("elsewhere/c1") is None
    assert group.exists()


def test_renamed_keeps_the_old_name_when_the_new_one_is_taken(
    group: Cgroup, fake: FakeCgroupfs
) -> None:
    taken = fake.directory("/sys/fs/cgroup/pids/toolkit/c2/inner")
    taken.mkdir(parents=True)
    with pytest.raises(CgroupError, match="rename"):
        group.renamed("toolkit/c2")
    assert len(group.procs_files()) == 6
