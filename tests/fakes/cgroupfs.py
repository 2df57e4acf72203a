# SPDX-License-Identifier: Apache-2.0
"""A cgroup file system of plain files: a new group gets the files that the kernel would make."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.kernel.cgroup_tree import CgroupTree
from toolkit.kernel.cgroups import CgroupHost

if TYPE_CHECKING:
    import pytest

V1_MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset,clone_children
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
"""
UNIFIED_MOUNT = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
HYBRID_MOUNTS = V1_MOUNTS + UNIFIED_MOUNT
# Without the v1 controller, devices need the unified hierarchy's eBPF programs.
MIXED_MOUNTS = "".join(
    line for line in HYBRID_MOUNTS.splitlines(keepends=True) if "devices" not in line
)
V2_MOUNTS = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"

CORE_FILES = {"cgroup.procs": "", "tasks": ""}
V1_FILES = {
    "cpu,cpuacct": {
        "cpu.shares": "1024", "cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000",
        "cpu.stat": "nr_periods 5\nnr_throttled 2\nthrottled_time 3000\n",
        "cpuacct.usage": "70", "cpuacct.stat": "user 3\nsystem 4\n",
        "cpuacct.usage_percpu": "30 40 \n",
    },
    "cpuset": {"cpuset.cpus": "", "cpuset.mems": ""},
    "memory": {
        "memory.limit_in_bytes": "9223372036854771712", "memory.soft_limit_in_bytes": "0",
        "memory.memsw.limit_in_bytes": "9223372036854771712", "memory.failcnt": "6",
        "memory.usage_in_bytes": "4096", "memory.max_usage_in_bytes": "8192",
        "memory.stat": "cache 1\nrss 2\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
    },
    "devices": {"devices.allow": "", "devices.deny": ""},
    "freezer": {"freezer.state": "THAWED"},
    "blkio": {
        "blkio.bfq.weight": "100",
        "blkio.throttle.io_service_bytes_recursive": "8:0 Read 512\n8:0 Total 512\nTotal 512\n",
        "blkio.throttle.io_serviced_recursive": "8:0 Read 1\n",
    },
    "pids": {"pids.max": "max", "pids.current": "3"},
}  # fmt: skip
V2_FILES = {
    "cgroup.events": "populated 0\nfrozen 0\n", "cgroup.freeze": "0", "cgroup.kill": "",
    "cgroup.subtree_control": "", "cgroup.controllers": "cpuset cpu io memory pids",
}  # fmt: skip
V2_CONTROLLER_FILES = {
    "memory.max": "max", "memory.low": "0", "memory.swap.max": "max", "memory.current": "4096",
    "memory.peak": "8192", "memory.events": "low 0\nmax 6\noom 1\noom_kill 2\n",
    "memory.stat": "anon 5\nfile 6\n", "cpu.weight": "100", "cpu.max": "max 100000",
    "cpu.stat": "usage_usec 7\nuser_usec 3\nsystem_usec 4\nnr_periods 5\nnr_throttled 2\n"
                "throttled_usec 3\n",
    "cpuset.cpus": "", "cpuset.mems": "", "pids.max": "max", "pids.current": "3",
    "io.weight": "default 100", "io.stat": "8:0 rbytes=512 wbytes=9 rios=1 wios=2\n",
}  # fmt: skip


@dataclass
class FakeCgroupfs:
    """The tree below *root*, and every write to it in order (file's name, value)."""

    root: Path
    mounts: str
    without: frozenset[str] = frozenset()
    writes: list[tuple[str, str]] = field(default_factory=list)

    def host(self, monkeypatch: pytest.MonkeyPatch) -> CgroupHost:
        """Mount it, and let the kernel's side happen in each new group."""
        make, write, remove_one = CgroupTree.make, CgroupTree.write, CgroupTree.remove_one

        def make_with_files(tree: CgroupTree, path: str) -> bool:
            if not make(tree, path):
                return False
            self.fill(tree.label, Path(tree.where(path)))
            return True

        def recorded_write(tree: CgroupTree, file: str, value: str | int) -> None:
            write(tree, file, value)
            self.writes.append((file.rpartition("/")[2], str(value)))

        def remove_files_first(tree: CgroupTree, path: str) -> bool:
            directory = Path(tree.where(path))
            if directory.is_dir() and not any(entry.is_dir() for entry in directory.iterdir()):
                for entry in directory.iterdir():
                    entry.unlink()
            return remove_one(tree, path)

        monkeypatch.setattr(CgroupTree, "make", make_with_files)
        monkeypatch.setattr(CgroupTree, "write", recorded_write)
        monkeypatch.setattr(CgroupTree, "remove_one", remove_files_first)
        for line in self.mounts.splitlines():
            place = line.split()[4]
            directory = self.directory(place)
            directory.mkdir(parents=True, exist_ok=True)
            self.fill(place.rpartition("/")[2], directory)
        for name, value in (("cpus", "0-1"), ("mems", "0")):
            root_file = self.directory("/sys/fs/cgroup/cpuset") / f"cpuset.{name}"
            if root_file.exists():
                root_file.write_text(value)
        return CgroupHost.detect(self.mounts, root=str(self.root))

    def directory(self, place: str) -> Path:
        """Return where an absolute path of the host stands."""
        return self.root / place.lstrip("/")

    def fill(self, label: str, directory: Path) -> None:
        """Make a group's files."""
        files = dict(CORE_FILES)
        if label == "unified":
            files |= V2_FILES | {"cgroup.controllers": ""}
        elif label == "cgroup" or label not in V1_FILES:
            files |= V2_FILES | V2_CONTROLLER_FILES
        else:
            files |= V1_FILES[label]
        for name, content in files.items():
            if name not in self.without:
                (directory / name).write_text(content)

    def text(self, path: str) -> str:
        """Return a file's content, by its path below ``/sys/fs/cgroup``."""
        return (self.directory("/sys/fs/cgroup") / path).read_text()
