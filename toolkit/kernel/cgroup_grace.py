# SPDX-License-Identifier: Apache-2.0
"""The kernel's grace period before a process moves to another control group, waited for ahead.

The first write to a ``cgroup.procs`` after a pause waits for a grace period of
RCU, about ten milliseconds (``percpu_down_write`` of ``cgroup_threadgroup_rwsem``,
kernel/cgroup/cgroup.c); those that come soon after it do not wait. Who knows that
such a write will come writes first: this process into the group where it is,
which moves nothing.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Final

from toolkit.errors import CgroupError
from toolkit.kernel.cgroup_tree import CgroupTree, parse_hierarchies

_SELF: Final = "/proc/self/cgroup"
_MOUNTS: Final = "/proc/self/mountinfo"


class GracePeriod:
    """Waits for grace periods in a thread of its own, one at a time."""

    def __init__(self) -> None:
        self._busy = threading.Lock()

    def begin(self) -> None:
        """Begin one, unless one is under way; return at once."""
        if self._busy.acquire(blocking=False):
            threading.Thread(target=self._wait, name="grace-period", daemon=True).start()

    def _wait(self) -> None:
        try:
            await_grace_period()
        finally:
            self._busy.release()


def await_grace_period() -> None:
    """Write this process into its own group; what the host refuses is left."""
    with suppress(OSError, CgroupError):
        own = _own_groups()
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            hierarchies = parse_hierarchies(file.read())
        for hierarchy in hierarchies:
            path = own.get(",".join(sorted(hierarchy.controllers)))
            if path is not None and not hierarchy.name:
                tree = CgroupTree(hierarchy)
                try:
                    tree.write(f"{path}/cgroup.procs".lstrip("/"), str(os.getpid()))
                finally:
                    tree.close()
                return


def _own_groups() -> dict[str, str]:
    """Return the groups of this process, by the controllers of their hierarchy."""
    with open(_SELF, encoding="utf-8", errors="surrogateescape") as file:
        rows = [line.rstrip("\n").split(":", 2) for line in file]
    return {",".join(sorted(names.split(","))): path.strip("/") for _, names, path in rows}
