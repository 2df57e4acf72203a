# SPDX-License-Identifier: Apache-2.0
"""A control group of version 1: one directory in each controller's hierarchy.

Given the unified hierarchy beside them the group stands in it, too, and lets it
kill, freeze and filter devices: for hosts whose v1 lacks one of those.
"""

from __future__ import annotations

import errno
import select
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import CgroupError, KernelFeatureMissingError
from toolkit.kernel.cgroup import Cgroup, check_path
from toolkit.kernel.cgroup_stats import (
    CgroupStats,
    parse_blkio,
    parse_limit,
    parse_number,
    parse_table,
    ticks_to_ns,
)
from toolkit.kernel.cgroup_v2 import apply_device_rules
from toolkit.kernel.device_filter import DeviceRules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toolkit.kernel.cgroup_tree import CgroupTree

# In this order a group is made. Without cpuset: its groups take nobody before they have CPUs.
NEEDED_CONTROLLERS: Final = ("memory", "cpu", "cpuacct", "pids", "devices", "freezer", "blkio")
_RETRY_MS: Final = 1


class CgroupV1(Cgroup):
    """A group in the hierarchies of version 1.

    Args:
        by_controller: The hierarchy of each controller; several may share one.
        unified: The cgroup v2 hierarchy, if the group shall stand in it, too.
    """

    def __init__(
        self, path: str, by_controller: Mapping[str, CgroupTree], unified: CgroupTree | None
    ) -> None:
        needed = dict.fromkeys(
            by_controller[name] for name in NEEDED_CONTROLLERS if name in by_controller
        )
        trees = (*needed, unified) if unified is not None else tuple(needed)
        cpuset = by_controller.get("cpuset")
        super().__init__(
            path, trees, unified=unified, optional=None if cpuset in needed else cpuset
        )
        self._by_controller = by_controller

    def apply(self, resources: Mapping[str, Any]) -> None:
        """Set the limits of an OCI ``linux.resources``."""
        self._apply_memory(resources.get("memory") or {})
        self._apply_cpu(resources.get("cpu") or {})
        pids = (resources.get("pids") or {}).get("limit")
        if pids:
            self._set("pids", "pids.max", "max" if pids < 0 else pids)
        weight = (resources.get("blockIO") or {}).get("weight")
        if weight:
            self._apply_weight(weight)
        devices = resources.get("devices")
        if devices:
            self._apply_devices(DeviceRules.reduce(devices))

    def freeze(self, timeout_seconds: float = 10.0) -> None:
        """Stop every process, and return when all have stopped."""
        if self._unified is not None:
            self._freeze_unified(self._unified, frozen=True, timeout_seconds=timeout_seconds)
            return
        try:
            self._freeze_v1("FROZEN", timeout_seconds)
        except CgroupError:
            self._set("freezer", "freezer.state", "THAWED")
            raise

    def thaw(self, timeout_seconds: float = 10.0) -> None:
        """Let every process run again."""
        if self._unified is not None:
            self._freeze_unified(self._unified, frozen=False, timeout_seconds=timeout_seconds)
            return
        self._freeze_v1("THAWED", timeout_seconds)

    def oom_kill_count(self) -> int:
        """Return how many processes the kernel killed for memory, in this group and below."""
        tree = self._by_controller.get("memory")
        if tree is None:
            return 0
        paths = [self.path, *tree.descendants(self.path)]
        tables = [parse_table(tree.read(f"{path}/memory.oom_control")) for path in paths]
        return sum(table.get("oom_kill", 0) for table in tables)

    def stats(self) -> CgroupStats:
        """Return what the group uses now."""
        ticks = parse_table(self._read("cpuacct", "cpuacct.stat"))
        cpu = parse_table(self._read("cpu", "cpu.stat"))
        per_cpu = self._read("cpuacct", "cpuacct.usage_percpu") or ""
        return CgroupStats(
            memory_usage_bytes=parse_number(self._read("memory", "memory.usage_in_bytes")),
            memory_limit_bytes=parse_limit(self._read("memory", "memory.limit_in_bytes")),
            memory_max_usage_bytes=parse_number(self._read("memory", "memory.max_usage_in_bytes")),
            memory_failures=parse_number(self._read("memory", "memory.failcnt")),
            memory_stats=parse_table(self._read("memory", "memory.stat")),
            cpu_total_ns=parse_number(self._read("cpuacct", "cpuacct.usage")),
            cpu_user_ns=ticks_to_ns(ticks.get("user", 0)),
            cpu_system_ns=ticks_to_ns(ticks.get("system", 0)),
            cpu_per_cpu_ns=tuple(int(word) for word in per_cpu.split()),
            cpu_periods=cpu.get("nr_periods", 0),
            cpu_throttled_periods=cpu.get("nr_throttled", 0),
            cpu_throttled_ns=cpu.get("throttled_time", 0),
            pids_current=parse_number(self._read("pids", "pids.current")),
            pids_limit=parse_limit(self._read("pids", "pids.max")),
            blkio_bytes=parse_blkio(self._read_blkio("io_service_bytes")),
            blkio_operations=parse_blkio(self._read_blkio("io_serviced")),
        )

    def renamed(self, path: str) -> Cgroup | None:
        """Return this group under another path, with all its members.

        The kernel renames within one parent and only in v1: another parent gives
        None. In the unified hierarchy a new group takes the members over.
        """
        new = check_path(path)
        if new.rpartition("/")[0] != self.path.rpartition("/")[0]:
            return None
        if self._unified is not None and self._unified.children(self.path):
            return None
        group = CgroupV1(new, self._by_controller, self._unified)
        present = [tree for tree in self._present() if tree is not self._unified]
        with ExitStack() as undo:
            for tree in present:
                tree.rename(self.path, new)
                undo.callback(tree.rename, new, self.path)
            if self._unified is not None:
                self._move_unified(self._unified, new)
            undo.pop_all()
        return group

    def _move_unified(self, tree: CgroupTree, new: str) -> None:
        with ExitStack() as undo:
            if tree.make(new):
                undo.callback(tree.remove_one, new)
            for pid in tree.members([self.path]):
                tree.write(f"{new}/cgroup.procs", pid)
                undo.callback(tree.write, f"{self.path}/cgroup.procs", pid)
            if not tree.remove_one(self.path):
                raise CgroupError("rmdir", tree.where(self.path), errno.EBUSY)
            undo.pop_all()

    def _apply_memory(self, memory: Mapping[str, Any]) -> None:
        limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
        writes: list[tuple[str, int]] = []
        if limit:
            writes.append(("memory.limit_in_bytes", limit))
        if swap:
            writes.append(("memory.memsw.limit_in_bytes", swap))
        if limit and swap and self._raises_memory(limit):
            writes.reverse()  # memory may never be above memory and swap together
        for file, value in writes:
            self._set("memory", file, value)
        if memory.get("reservation"):
            self._set("memory", "memory.soft_limit_in_bytes", memory["reservation"])
        if memory.get("disableOOMKiller"):
            self._set("memory", "memory.oom_control", 1)

    def _raises_memory(self, limit: int) -> bool:
        now = parse_limit(self._read("memory", "memory.limit_in_bytes"))
        return now is not None and (limit < 0 or limit > now)

    def _apply_cpu(self, cpu: Mapping[str, Any]) -> None:
        if cpu.get("shares"):
            self._set("cpu", "cpu.shares", cpu["shares"])
        quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
        if period:
            self._set_period(period, quota)
        if quota:
            self._set("cpu", "cpu.cfs_quota_us", quota)
        if cpu.get("cpus") or cpu.get("mems"):
            self._apply_cpuset(cpu)

    def _set_period(self, period: int, quota: int) -> None:
        """Set the period, behind the quota where the old quota does not fit into it."""
        try:
            self._set("cpu", "cpu.cfs_period_us", period)
        except CgroupError as error:
            if error.errno != errno.EINVAL or not quota:
                raise
            self._set("cpu", "cpu.cfs_quota_us", quota)
            self._set("cpu", "cpu.cfs_period_us", period)

    def _apply_cpuset(self, cpu: Mapping[str, Any]) -> None:
        tree = self._by_controller.get("cpuset")
        if tree is None:
            raise _missing("cpuset", "cpuset.cpus", cpu.get("cpus") or cpu.get("mems"))
        is_new = False
        for path in (*self._parents(), self.path):
            is_new = tree.make(path)
            _inherit_cpuset(tree, path)
        for kind in ("cpus", "mems"):
            if cpu.get(kind):
                tree.write(f"{self.path}/cpuset.{kind}", cpu[kind])
        if is_new:  # the group may have members from before it stood here
            for pid in self.pids():
                tree.write(f"{self.path}/cgroup.procs", pid)

    def _apply_weight(self, weight: int) -> None:
        tree = self._by_controller.get("blkio")
        for file in ("blkio.weight", "blkio.bfq.weight"):
            if tree is not None and tree.write_if_there(f"{self.path}/{file}", weight):
                return
        raise _missing("blkio", "blkio.weight", weight)

    def _apply_devices(self, rules: DeviceRules) -> None:
        if "devices" not in self._by_controller and self._unified is not None:
            apply_device_rules(self._unified, self.path, rules)
            return
        for file, line in rules.v1_lines():
            self._set("devices", file, line)

    def _make(self, tree: CgroupTree) -> bool:
        made = super()._make(tree)
        if tree is self._by_controller.get("cpuset"):  # only when it shares a needed hierarchy
            for path in (*self._parents(), self.path):
                _inherit_cpuset(tree, path)
        return made

    def _freeze_v1(self, state: str, timeout_seconds: float) -> None:
        """Write the state until it is reached: a process that forks meanwhile starts it again.

        The v1 freezer tells nobody when it is done, so it has to be asked.
        """
        deadline = time.monotonic() + timeout_seconds
        pause = select.poll()
        while True:
            self._set("freezer", "freezer.state", state)
            if (self._read("freezer", "freezer.state") or "").strip() == state:
                return
            if time.monotonic() > deadline:
                where = self._by_controller["freezer"].where(self.path)
                raise CgroupError(f"freezer.state {state}", where, errno.ETIMEDOUT)
            pause.poll(_RETRY_MS)

    def _set(self, controller: str, file: str, value: str | int) -> None:
        tree = self._by_controller.get(controller)
        if tree is None or not tree.write_if_there(f"{self.path}/{file}", value):
            raise _missing(controller, file, value)

    def _read(self, controller: str, file: str) -> str | None:
        tree = self._by_controller.get(controller)
        return None if tree is None else tree.read(f"{self.path}/{file}")

    def _read_blkio(self, what: str) -> str | None:
        text = self._read("blkio", f"blkio.throttle.{what}_recursive")
        return text if text is not None else self._read("blkio", f"blkio.throttle.{what}")


def _inherit_cpuset(tree: CgroupTree, path: str) -> None:
    """Give a group the CPUs and memory nodes of its parent, if it has none yet."""
    parent = path.rpartition("/")[0]
    prefix = f"{parent}/" if parent else ""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if not (tree.read(f"{path}/{file}") or "").strip():
            tree.write(f"{path}/{file}", (tree.read(f"{prefix}{file}") or "").strip())


def _missing(controller: str, file: str, value: object) -> KernelFeatureMissingError:
    return KernelFeatureMissingError(
        f"this host has no {file} (cgroup v1 controller {controller}), so {value!r} cannot be set"
    )
