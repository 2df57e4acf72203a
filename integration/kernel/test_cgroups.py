# SPDX-License-Identifier: Apache-2.0
"""Control groups of this kernel; each test has groups of its own below one prefix."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from integration.pace import SLOWNESS
from toolkit.errors import CgroupError, KernelCallError
from toolkit.kernel.cgroup_tree import CgroupTree, parse_hierarchies
from toolkit.kernel.cgroup_v2 import CgroupV2
from toolkit.kernel.cgroups import CgroupHost
from toolkit.kernel.device_filter import DeviceRules, attach_device_filter, attached_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from toolkit.kernel.cgroup import Cgroup

    Spawn = Callable[..., subprocess.Popen[bytes]]

pytestmark = pytest.mark.needs_root

PREFIX = f"tkt-cg-{os.getpid()}"
NOTHING_BUT_NULL = [
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
]
MIB = 1 << 20


@pytest.fixture
def host() -> Iterator[CgroupHost]:
    host = CgroupHost.detect()
    yield host
    host.cgroup(PREFIX).remove()
    host.close()


@pytest.fixture
def group(host: CgroupHost) -> Iterator[Cgroup]:
    group = host.cgroup(f"{PREFIX}/one")
    group.create()
    yield group
    group.kill()
    group.remove()


@pytest.fixture
def unified() -> Iterator[CgroupV2]:
    """The same on cgroup v2, with or without controllers."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:  # noqa: PTH123 - procfs
        found = [one for one in parse_hierarchies(file.read()) if one.is_v2]
    if not found:
        pytest.skip("no cgroup2 is mounted")
    tree = CgroupTree(found[0])
    group = CgroupV2(f"{PREFIX}/two", tree)
    group.create()
    yield group
    group.kill()
    group.remove()
    CgroupV2(PREFIX, tree).remove()
    tree.close()


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start a program inside a group: it enters by itself, then runs."""
    started: list[subprocess.Popen[bytes]] = []

    def run(group: Cgroup, script: str = "exec sleep 60") -> subprocess.Popen[bytes]:
        enter = "".join(f"echo $$ > {path}; " for path in group.procs_files())
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"{enter} echo in; {script}"], stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_a_process_is_a_member_everywhere_until_the_group_is_removed(
    group: Cgroup, spawn: Spawn
) -> None:
    process = spawn(group)
    assert process.pid in group.pids()
    assert group.stats().pids_current >= 1
    group.kill()
    assert process.wait(5) == -9
    group.remove()
    assert not group.exists()
    assert group.procs_files() == []


def test_attach_moves_a_running_process(group: Cgroup) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        group.attach(process.pid)
        assert group.pids() == [process.pid]
        process.kill()


def test_attach_of_a_process_that_is_gone_says_so(group: Cgroup) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(CgroupError, match="No such process"):
        group.attach(process.pid)


def test_the_pids_limit_holds(group: Cgroup, spawn: Spawn) -> None:
    """Row S-100."""
    group.apply({"pids": {"limit": 3}})
    process = spawn(group, "sleep 9 & sleep 9 & sleep 9 & sleep 9 & wait")
    deadline = time.monotonic() + 5 * SLOWNESS
    while group.stats().pids_current < 3 and time.monotonic() < deadline:
        os.sched_yield()
    assert group.stats().pids_limit == 3
    assert len(group.pids()) <= 3
    group.kill()
    process.wait(5)


def test_the_memory_limit_kills_and_is_counted(
    host: CgroupHost, group: Cgroup, spawn: Spawn
) -> None:
    """Row S-101."""
    if not host.supports("swap"):
        pytest.skip("no swap accounting")
    group.apply({"memory": {"limit": 24 * MIB, "swap": 24 * MIB}})
    hog = spawn(group, f"exec {sys.executable} -c 'x = bytearray(99 << 20); print(len(x))'")
    assert hog.wait(20) == -9
    assert group.oom_kill_count() == 1
    assert group.stats().memory_limit_bytes == 24 * MIB


def test_a_limit_can_be_raised_and_lowered(host: CgroupHost, group: Cgroup) -> None:
    if not host.supports("swap"):
        pytest.skip("no swap accounting")
    for mib in (64, 512, 16):
        group.apply({"memory": {"limit": mib * MIB, "swap": 2 * mib * MIB}})
        assert group.stats().memory_limit_bytes == mib * MIB


def test_cpu_limits_are_taken(host: CgroupHost, group: Cgroup) -> None:
    if not host.supports("cpuset"):
        pytest.skip("no cpuset")
    group.apply({"cpu": {"shares": 512, "quota": 20000, "period": 50000, "cpus": "0"}})
    with subprocess.Popen(["sleep", "60"]) as process:
        group.attach(process.pid)
        assert os.sched_getaffinity(process.pid) == {0}
        process.kill()


def test_a_device_that_no_rule_allows_cannot_be_opened(group: Cgroup, spawn: Spawn) -> None:
    group.apply({"devices": NOTHING_BUT_NULL})
    process = spawn(group, "echo x > /dev/null && ! head -c1 /dev/zero")
    assert process.wait(5) == 0


def test_a_v2_program_denies_devices(unified: CgroupV2, spawn: Spawn) -> None:
    """The eBPF filter needs no controller, so it is tried on a hybrid host, too."""
    unified.apply({"devices": NOTHING_BUT_NULL})
    process = spawn(unified, "echo x > /dev/null && ! head -c1 /dev/zero")
    assert process.wait(5) == 0


def test_a_second_v2_program_replaces_the_first(unified: CgroupV2, spawn: Spawn) -> None:
    unified.apply({"devices": NOTHING_BUT_NULL})
    unified.apply({"devices": [{"allow": False}, *_allow(1, 5)]})
    process = spawn(unified, "head -c1 /dev/zero && ! (echo x > /dev/null)")
    assert process.wait(5) == 0
    group_fd = unified.dir_fd_v2()
    assert attached_count(group_fd) == 1
    attach_device_filter(group_fd, DeviceRules.reduce([{"allow": True, "type": "a"}]))
    assert attached_count(group_fd) == 0
    os.close(group_fd)


def _allow(major: int, minor: int) -> list[dict[str, object]]:
    return [{"allow": True, "type": "c", "major": major, "minor": minor, "access": "rw"}]


@pytest.mark.parametrize("version", ["host", "unified"])
def test_frozen_processes_stand_still_and_can_be_killed(
    version: str,
    request: pytest.FixtureRequest,
    spawn: Spawn,
) -> None:
    """Row S-105: frozen containers die at once."""
    group: Cgroup = request.getfixturevalue("group" if version == "host" else "unified")
    process = spawn(group, "while :; do :; done")
    group.freeze()
    before = _cpu_ticks(process.pid)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    assert _cpu_ticks(process.pid) == before
    group.kill()
    assert process.wait(5) == -9


def _cpu_ticks(pid: int) -> list[str]:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123 - procfs
        return file.read().rpartition(")")[2].split()[11:13]


def test_thawed_processes_go_on(group: Cgroup, spawn: Spawn) -> None:
    process = spawn(group, "read x < /dev/zero; true")
    group.freeze()
    group.thaw()
    process.terminate()
    assert process.wait(5) == -15


def test_remove_takes_groups_that_the_members_made(group: Cgroup, spawn: Spawn) -> None:
    directories = " ".join(path.replace("cgroup.procs", "a/b") for path in group.procs_files())
    process = spawn(group, f"mkdir -p {directories}; echo made; sleep 60")
    assert process.stdout is not None
    assert process.stdout.readline() == b"made\n"
    group.kill()
    group.remove()
    assert not group.exists()


@pytest.mark.parametrize("version", ["host", "unified"])
def test_remove_waits_for_the_last_process(
    version: str,
    request: pytest.FixtureRequest,
    spawn: Spawn,
) -> None:
    group: Cgroup = request.getfixturevalue("group" if version == "host" else "unified")
    process = spawn(group)
    killer = threading.Timer(0.2, process.kill)
    killer.start()
    group.remove(timeout_seconds=10)
    assert not group.exists()
    killer.join()


def test_remove_gives_up_when_time_is_up(group: Cgroup, spawn: Spawn) -> None:
    spawn(group)
    with pytest.raises(CgroupError, match="busy"):
        group.remove(timeout_seconds=0.05)


def test_a_group_is_renamed_with_its_members(host: CgroupHost, group: Cgroup, spawn: Spawn) -> None:
    process = spawn(group)
    renamed = group.renamed(f"{PREFIX}/renamed")
    if host.version == 2:
        assert renamed is None
        return
    assert renamed is not None
    assert renamed.pids() == [process.pid]
    assert not group.exists()
    renamed.kill()
    renamed.remove()


def test_a_file_behind_a_foreign_mount_is_not_written(host: CgroupHost, tmp_path: Path) -> None:
    """Row S-23: something that looks like our group, in a file system of another kind."""
    tree = host.cgroup(f"{PREFIX}/one")._trees[0]
    place = f"{tree.place}/{PREFIX}"
    host.cgroup(PREFIX).create()
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "cgroup.procs").write_text("canary")
    subprocess.run(["mount", "--bind", str(tmp_path), place], check=True)
    try:
        with pytest.raises(CgroupError, match="not a cgroup file"):
            tree.write(f"{PREFIX}/one/cgroup.procs", os.getpid())
        assert (tmp_path / "one" / "cgroup.procs").read_text() == "canary"
    finally:
        subprocess.run(["umount", place], check=True)


def test_create_and_apply_are_quick(host: CgroupHost) -> None:
    """A start waits for this: 1.5 ms at most, here the best of ten."""
    best = 1.0
    for number in range(10):
        group = host.cgroup(f"{PREFIX}/quick{number}")
        begin = time.perf_counter()
        group.create()
        group.apply({"pids": {"limit": 2048}, "devices": NOTHING_BUT_NULL})
        best = min(best, time.perf_counter() - begin)
        group.remove()
    assert best < 0.0015 * SLOWNESS


def test_a_refused_program_is_a_named_error() -> None:
    with pytest.raises(KernelCallError, match="bpf query"):
        attached_count(0)
