# SPDX-License-Identifier: Apache-2.0
"""A control group of version 2: one hierarchy, controllers enabled from above."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import CgroupError, KernelFeatureMissingError
from toolkit.kernel.cgroup import Cgroup
from toolkit.kernel.cgroup_stats import (
    CgroupStats,
    parse_io_stat,
    parse_limit,
    parse_number,
    parse_table,
)
from toolkit.kernel.device_filter import DeviceRules, attach_device_filter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toolkit.kernel.cgroup_tree import CgroupTree

WANTED_CONTROLLERS: Final = ("memory", "cpu", "pids", "cpuset", "io")
_DEFAULT_CPU_MAX: Final = "max 100000"
_IO_BYTES: Final = {"rbytes": "Read", "wbytes": "Write", "dbytes": "Discard"}
_IO_OPERATIONS: Final = {"rios": "Read", "wios": "Write", "dios": "Discard"}


def cpu_weight(shares: int) -> int:
    """Return v2's weight of v1's shares (rule 4.3, row 27)."""
    return min(max(1 + (shares - 2) * 9999 // 262142, 1), 10000)


def io_weight(weight: int) -> int:
    """Return v2's weight (1 to 10000) of v1's (10 to 1000)."""
    return min(max(1 + (weight - 10) * 9999 // 990, 1), 10000)


def apply_device_rules(tree: CgroupTree, path: str, rules: DeviceRules) -> None:
    """Attach a device filter to a v2 group.

    Raises:
        CgroupError: The kernel refused.
    """
    group_fd = tree.open_group(path)
    try:
        attach_device_filter(group_fd, rules)
    finally:
        os.close(group_fd)


class CgroupV2(Cgroup):
    """A group in the one hierarchy of version 2."""

    def __init__(self, path: str, tree: CgroupTree) -> None:
        super().__init__(path, (tree,), unified=tree)
        self._tree = tree

    def create(self) -> None:
        """Make the group, with every controller enabled on the way down."""
        super().create()
        for parent in ("", *self._parents()):
            self._enable_controllers(parent)

    def apply(self, resources: Mapping[str, Any]) -> None:
        """Set the limits of an OCI ``linux.resources``."""
        self._apply_memory(resources.get("memory") or {})
        self._apply_cpu(resources.get("cpu") or {})
        pids = (resources.get("pids") or {}).get("limit")
        if pids:
            self._set("pids.max", _limit(pids))
        weight = (resources.get("blockIO") or {}).get("weight")
        if weight and not self._tree.write_if_there(f"{self.path}/io.bfq.weight", weight):
            self._set("io.weight", io_weight(weight))
        devices = resources.get("devices")
        if devices:
            apply_device_rules(self._tree, self.path, DeviceRules.reduce(devices))

    def freeze(self, timeout_seconds: float = 10.0) -> None:
        """Stop every process, and return when all have stopped."""
        self._freeze_unified(self._tree, frozen=True, timeout_seconds=timeout_seconds)

    def thaw(self, timeout_seconds: float = 10.0) -> None:
        """Let every process run again."""
        self._freeze_unified(self._tree, frozen=False, timeout_seconds=timeout_seconds)

    def oom_kill_count(self) -> int:
        """Return how many processes the kernel killed for memory, in this group and below."""
        return parse_table(self._read("memory.events")).get("oom_kill", 0)

    def stats(self) -> CgroupStats:
        """Return what the group uses now."""
        cpu = parse_table(self._read("cpu.stat"))
        io_text = self._read("io.stat")
        return CgroupStats(
            memory_usage_bytes=parse_number(self._read("memory.current")),
            memory_limit_bytes=parse_limit(self._read("memory.max")),
            memory_max_usage_bytes=parse_number(self._read("memory.peak")),
            memory_failures=parse_table(self._read("memory.events")).get("max", 0),
            memory_stats=parse_table(self._read("memory.stat")),
            cpu_total_ns=cpu.get("usage_usec", 0) * 1000,
            cpu_user_ns=cpu.get("user_usec", 0) * 1000,
            cpu_system_ns=cpu.get("system_usec", 0) * 1000,
            cpu_periods=cpu.get("nr_periods", 0),
            cpu_throttled_periods=cpu.get("nr_throttled", 0),
            cpu_throttled_ns=cpu.get("throttled_usec", 0) * 1000,
            pids_current=parse_number(self._read("pids.current")),
            pids_limit=parse_limit(self._read("pids.max")),
            blkio_bytes=parse_io_stat(io_text, _IO_BYTES),
            blkio_operations=parse_io_stat(io_text, _IO_OPERATIONS),
        )

    def _apply_memory(self, memory: Mapping[str, Any]) -> None:
        limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
        if memory.get("disableOOMKiller"):
            raise KernelFeatureMissingError("cgroup v2 cannot disable the OOM killer of a group")
        if swap > 0 and limit > 0:
            self._set("memory.swap.max", max(swap - limit, 0))
        elif swap < 0:
            self._set("memory.swap.max", "max")
        if limit:
            self._set("memory.max", _limit(limit))
        if memory.get("reservation"):
            self._set("memory.low", _limit(memory["reservation"]))

    def _apply_cpu(self, cpu: Mapping[str, Any]) -> None:
        if cpu.get("shares"):
            self._set("cpu.weight", cpu_weight(cpu["shares"]))
        quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
        if quota or period:
            now = (self._read("cpu.max") or _DEFAULT_CPU_MAX).split()
            wanted = _limit(quota) if quota else now[0]
            self._set("cpu.max", f"{wanted} {period or now[-1]}")
        for kind in ("cpus", "mems"):
            if cpu.get(kind):
                self._set(f"cpuset.{kind}", cpu[kind])

    def _set(self, file: str, value: str | int) -> None:
        if not self._tree.write_if_there(f"{self.path}/{file}", value):
            raise KernelFeatureMissingError(
                f"{self._tree.where(self.path)} has no {file}: "
                f"its controller is not available here, so {value!r} cannot be set"
            )

    def _read(self, file: str) -> str | None:
        return self._tree.read(f"{self.path}/{file}")

    def _enable_controllers(self, parent: str) -> None:
        """Hand every controller that *parent* has on to its children.

        One that the kernel will not hand on stays behind, and is missed only when a
        limit asks for it.
        """
        prefix = f"{parent}/" if parent else ""
        there = (self._tree.read(f"{prefix}cgroup.controllers") or "").split()
        enabled = (self._tree.read(f"{prefix}cgroup.subtree_control") or "").split()
        for name in WANTED_CONTROLLERS:
            if name in there and name not in enabled:
                try:
                    self._tree.write(f"{prefix}cgroup.subtree_control", f"+{name}")
                except CgroupError as error:
                    if error.errno not in (errno.EBUSY, errno.EINVAL, errno.EOPNOTSUPP):
                        raise


def _limit(value: int) -> str | int:
    return "max" if value < 0 else value
