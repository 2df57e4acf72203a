# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.fakes.cgroupfs import V2_MOUNTS, FakeCgroupfs
from toolkit.errors import CgroupError, KernelFeatureMissingError
from toolkit.kernel import cgroup_v2
from toolkit.kernel.cgroup_stats import BlkioEntry
from toolkit.kernel.cgroup_v2 import cpu_weight, io_weight
from toolkit.kernel.device_filter import DeviceRules

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.kernel.cgroup import Cgroup

MIB = 1 << 20


@pytest.fixture
def fake(tmp_path: Path) -> FakeCgroupfs:
    return FakeCgroupfs(tmp_path, V2_MOUNTS)


@pytest.fixture
def group(fake: FakeCgroupfs, monkeypatch: pytest.MonkeyPatch) -> Cgroup:
    group = fake.host(monkeypatch).cgroup("toolkit/c1")
    group.create()
    return group


@pytest.mark.parametrize(
    ("shares", "weight"), [(2, 1), (1024, 39), (262144, 10000), (1, 1), (0, 1), (10**9, 10000)]
)
def test_shares_become_a_weight(shares: int, weight: int) -> None:
    """Rule 4.3, row 27."""
    assert cpu_weight(shares) == weight


@pytest.mark.parametrize(("weight", "converted"), [(10, 1), (100, 910), (1000, 10000)])
def test_a_block_weight_is_stretched(weight: int, converted: int) -> None:
    assert io_weight(weight) == converted


def test_controllers_are_enabled_on_the_way_down(group: Cgroup, fake: FakeCgroupfs) -> None:
    wanted = [("cgroup.subtree_control", f"+{name}") for name in cgroup_v2.WANTED_CONTROLLERS]
    assert fake.writes == wanted * 2
    assert fake.text("toolkit/c1/cgroup.subtree_control") == ""
    assert group.exists()


def test_a_controller_that_is_enabled_is_not_written_again(
    fake: FakeCgroupfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = fake.host(monkeypatch)
    for name in ("", "toolkit/"):
        host.cgroup("toolkit").create()
        file = fake.directory("/sys/fs/cgroup") / f"{name}cgroup.subtree_control"
        file.write_text("cpuset cpu io memory pids")
    fake.writes.clear()
    host.cgroup("toolkit/c1").create()
    assert fake.writes == []


def test_limits_go_to_their_files(group: Cgroup, fake: FakeCgroupfs) -> None:
    fake.writes.clear()
    group.apply(
        {
            "memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB},
            "cpu": {"shares": 1024, "quota": 50000, "cpus": "0-1", "mems": "0"},
            "pids": {"limit": 2048},
            "blockIO": {"weight": 1000},
        }
    )
    assert fake.writes == [
        ("memory.swap.max", str(32 * MIB)),
        ("memory.max", str(64 * MIB)),
        ("memory.low", str(32 * MIB)),
        ("cpu.weight", "39"),
        ("cpu.max", "50000 100000"),
        ("cpuset.cpus", "0-1"),
        ("cpuset.mems", "0"),
        ("pids.max", "2048"),
        ("io.weight", "10000"),
    ]


def test_no_limit_is_written_as_max(group: Cgroup, fake: FakeCgroupfs) -> None:
    fake.writes.clear()
    group.apply({"memory": {"limit": -1, "swap": -1}, "cpu": {"quota": -1}, "pids": {"limit": -1}})
    assert [value for _, value in fake.writes] == ["max", "max", "max 100000", "max"]


def test_a_period_alone_keeps_the_quota(group: Cgroup, fake: FakeCgroupfs) -> None:
    group.apply({"cpu": {"quota": 30000}})
    group.apply({"cpu": {"period": 50000}})
    assert fake.text("toolkit/c1/cpu.max") == "30000 50000"


def test_the_oom_killer_cannot_be_disabled(group: Cgroup) -> None:
    with pytest.raises(KernelFeatureMissingError, match="OOM"):
        group.apply({"memory": {"disableOOMKiller": True}})


def test_a_limit_without_its_controller_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeCgroupfs(tmp_path, V2_MOUNTS, frozenset({"pids.max"}))
    group = fake.host(monkeypatch).cgroup("c1")
    group.create()
    with pytest.raises(KernelFeatureMissingError, match=r"pids.max.*2048"):
        group.apply({"pids": {"limit": 2048}})


def test_device_rules_are_attached_as_a_program(
    group: Cgroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    attached: list[DeviceRules] = []
    monkeypatch.setattr(
        cgroup_v2, "attach_device_filter", lambda _fd, rules: attached.append(rules)
    )
    group.apply({"devices": [{"allow": False, "access": "rwm"}]})
    assert attached == [DeviceRules(allows=False, exceptions={})]


def test_a_group_can_be_entered_by_clone(group: Cgroup, fake: FakeCgroupfs) -> None:
    fd = group.dir_fd_v2()
    try:
        assert os.path.samestat(os.fstat(fd), fake.directory("/sys/fs/cgroup/toolkit/c1").stat())
    finally:
        os.close(fd)


def test_the_only_hierarchy_has_no_name(group: Cgroup) -> None:
    fds = group.dir_fds()
    for fd in fds.values():
        os.close(fd)
    assert list(fds) == [""]


def test_statistics_are_in_the_same_units_as_v1s(group: Cgroup) -> None:
    stats = group.stats()
    assert (stats.memory_usage_bytes, stats.memory_max_usage_bytes) == (4096, 8192)
    assert (stats.memory_limit_bytes, stats.memory_failures) == (None, 6)
    assert (stats.cpu_total_ns, stats.cpu_user_ns, stats.cpu_throttled_ns) == (7000, 3000, 3000)
    assert (stats.pids_current, stats.pids_limit) == (3, None)
    assert stats.blkio_bytes == (
        BlkioEntry(major=8, minor=0, operation="Read", value=512),
        BlkioEntry(major=8, minor=0, operation="Write", value=9),
    )


def test_oom_kills_are_counted(group: Cgroup) -> None:
    assert group.oom_kill_count() == 2


def test_pids_of_nested_groups_count_once(group: Cgroup, fake: FakeCgroupfs) -> None:
    fake.directory("/sys/fs/cgroup/toolkit/c1/inner").mkdir()
    for name, text in (("", "5\n7\n"), ("inner/", "7\n9\n")):
        file = fake.directory("/sys/fs/cgroup/toolkit/c1") / f"{name}cgroup.procs"
        file.write_text(text)
    assert group.pids() == [5, 7, 9]


def test_a_kernel_without_cgroup_kill_freezes_and_kills_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeCgroupfs(tmp_path, V2_MOUNTS, frozenset({"cgroup.kill"}))
    group = fake.host(monkeypatch).cgroup("c1")
    group.create()
    fake.writes.clear()
    (fake.directory("/sys/fs/cgroup/c1") / "cgroup.events").write_text("frozen 1\nfrozen 0\n")
    (fake.directory("/sys/fs/cgroup/c1") / "cgroup.procs").write_text("5\n7\n")
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    group.kill()
    assert killed == [(5, 9), (7, 9)]
    assert fake.writes == [("cgroup.freeze", "1"), ("cgroup.freeze", "0")]


def test_kill_of_a_group_that_is_gone_does_nothing(group: Cgroup) -> None:
    group.remove()
    group.kill()


def test_v2_does_not_rename(group: Cgroup) -> None:
    assert group.renamed("toolkit/c2") is None


def test_thaw_returns_when_the_kernel_says_so(group: Cgroup, fake: FakeCgroupfs) -> None:
    group.thaw()
    assert fake.writes[-1] == ("cgroup.freeze", "0")


def test_a_group_that_is_never_frozen_is_a_named_error(group: Cgroup) -> None:
    with pytest.raises(CgroupError, match=r"freeze .*/toolkit/c1: .*timed out"):
        group.freeze(timeout_seconds=0.01)
