# SPDX-License-Identifier: Apache-2.0
"""Control groups of this host, version 1, 2 or both, behind one interface.

Finds out what is mounted and what it can limit. A group's own work is
`toolkit.kernel.cgroup`'s; whose groups they are is the runtime's.
"""

from __future__ import annotations

from typing import Final, Self

from toolkit.errors import CgroupError, KernelFeatureMissingError
from toolkit.kernel.cgroup import Cgroup
from toolkit.kernel.cgroup_stats import BlkioEntry, CgroupStats
from toolkit.kernel.cgroup_tree import CgroupTree, Hierarchy, parse_hierarchies
from toolkit.kernel.cgroup_v1 import CgroupV1
from toolkit.kernel.cgroup_v2 import CgroupV2

__all__ = ["FEATURES", "BlkioEntry", "Cgroup", "CgroupHost", "CgroupStats"]

# What `CgroupHost.supports` answers for; v1 needs the files of one controller (rule 3.2).
_V1_FILES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "memory": ("memory", ("memory.limit_in_bytes", "memory.soft_limit_in_bytes")),
    "swap": ("memory", ("memory.memsw.limit_in_bytes",)),
    "oom_kill_disable": ("memory", ("memory.oom_control",)),
    "cpu.shares": ("cpu", ("cpu.shares",)),
    "cpu.quota": ("cpu", ("cpu.cfs_quota_us",)),
    "cpuset": ("cpuset", ("cpuset.cpus",)),
    "pids": ("pids", ()),
}
_V2_CONTROLLERS: Final = {
    "memory": "memory",
    "cpu.shares": "cpu",
    "cpu.quota": "cpu",
    "cpuset": "cpuset",
    "pids": "pids",
    "blkio.weight": "io",
}
FEATURES: Final = (*_V1_FILES, "blkio.weight", "devices", "freezer", "kill")


class CgroupHost:
    """The hierarchies of this host, open until `close`.

    Attributes:
        version: 2 when memory and pids are the unified hierarchy's, else 1.
        controllers: Those that can be used.
    """

    def __init__(self, trees: list[CgroupTree]) -> None:
        self._trees = trees
        self._unified = next((tree for tree in trees if tree.hierarchy.is_v2), None)
        self._by_controller = {
            name: tree for tree in trees for name in sorted(tree.hierarchy.controllers)
        }
        unified_controllers = self._unified_controllers()
        is_v2 = not self._by_controller or {"memory", "pids"} <= unified_controllers
        self.version = 2 if is_v2 else 1
        self.controllers = unified_controllers if is_v2 else frozenset(self._by_controller)

    @classmethod
    def detect(cls, mountinfo: str | None = None, *, root: str = "") -> Self:
        """Return what is mounted on this host, or what *mountinfo* says.

        Args:
            mountinfo: A text like ``/proc/self/mountinfo``, which is read when None.
            root: Directory that stands for ``/``; its files are plain files.

        Raises:
            KernelFeatureMissingError: There are no control groups.
        """
        if mountinfo is None:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                mountinfo = file.read()
        trees = [
            tree
            for hierarchy in parse_hierarchies(mountinfo)
            if hierarchy.controllers or hierarchy.is_v2
            for tree in _opened(hierarchy, root)
        ]
        if not trees:
            raise KernelFeatureMissingError("no control groups are mounted at /sys/fs/cgroup")
        return cls(trees)

    @property
    def has_unified(self) -> bool:
        """Whether a cgroup v2 hierarchy is mounted, alone or beside v1's."""
        return self._unified is not None

    def supports(self, feature: str) -> bool:
        """Tell whether a feature (one of `FEATURES`) can be used here."""
        if feature not in FEATURES:
            raise ValueError(feature)
        if feature == "devices":  # cgroup v2 needs no controller for them
            return "devices" in self._by_controller or self.has_unified
        if feature in {"freezer", "kill"}:
            return "freezer" in self._by_controller or self.has_unified
        return self._v2_supports(feature) if self.version == 2 else self._v1_supports(feature)  # noqa: PLR2004 - the version is a number

    def cgroup(self, path: str) -> Cgroup:
        """Return the group at *path* below every hierarchy's root; nothing is made yet.

        Raises:
            InvalidRequestError: The path leaves the root.
        """
        if self._unified is not None and self.version == 2:  # noqa: PLR2004 - the version is a number
            return CgroupV2(path, self._unified)
        # Not in the unified hierarchy beside it: a group there cannot be renamed, and
        # moving a process in would cost each start the grace period that a slot has saved.
        # Only what v1 lacks here is worth that.
        lacking = not {"devices", "freezer"} <= self.controllers
        return CgroupV1(path, self._by_controller, self._unified if lacking else None)

    def children(self, parent: str) -> list[str]:
        """Return the paths of the groups directly below *parent*, in any hierarchy."""
        names = {name for tree in self._trees for name in tree.children(parent)}
        return [f"{parent}/{name}" for name in sorted(names)]

    def close(self) -> None:
        """Close the mounts' descriptors; groups of this host are of no use then."""
        for tree in self._trees:
            tree.close()

    def _unified_controllers(self) -> frozenset[str]:
        tree = self._unified
        return frozenset((tree.read("cgroup.controllers") or "").split() if tree else ())

    def _v1_supports(self, feature: str) -> bool:
        if feature == "blkio.weight":
            tree = self._by_controller.get("blkio")
            # A root group has no weight; with BFQ's statistics its children have one.
            files = ("blkio.weight", "blkio.bfq.io_serviced")
            return tree is not None and any(tree.exists(file) for file in files)
        controller, needed = _V1_FILES[feature]
        tree = self._by_controller.get(controller)
        return tree is not None and all(tree.exists(file) for file in needed)

    def _v2_supports(self, feature: str) -> bool:
        if feature == "swap":
            return "memory" in self.controllers and self._v2_limits_swap()
        return _V2_CONTROLLERS.get(feature) in self.controllers

    def _v2_limits_swap(self) -> bool:
        """Look into a group that has limits: the root has none (H-6)."""
        tree = self._unified
        for name in tree.children("") if tree else ():
            if tree and tree.exists(f"{name}/memory.max"):
                return tree.exists(f"{name}/memory.swap.max")
        return True


def _opened(hierarchy: Hierarchy, root: str) -> list[CgroupTree]:
    try:
        return [CgroupTree(hierarchy, root)]
    except CgroupError:  # hidden by another mount, or not to be read: as good as not there
        return []
