# SPDX-License-Identifier: Apache-2.0
"""A start made ahead of need: a child that waits in new namespaces and a group of its own.

Making namespaces costs milliseconds, and moving a process into a version 1
cgroup waits for a grace period of the kernel: a slot has both behind it. When a
container takes it, the group gets the container's name.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from toolkit.errors import ToolkitError
from toolkit.runtime.native.child import Child
from toolkit.runtime.native.launch import CLONED, become_container, set_up_early

if TYPE_CHECKING:
    from toolkit.kernel.cgroups import Cgroup, CgroupHost
    from toolkit.runtime.backend import Document

PREFIX: Final = "slot-"
_REMOVE_SECONDS: Final = 5.0


class Slot:
    """One waiting child and its cgroup."""

    def __init__(self, child: Child, cgroup: Cgroup) -> None:
        self._child = child
        self._cgroup = cgroup

    @classmethod
    def make(cls, host: CgroupHost, path: str) -> Self | None:
        """Return a slot whose group stands at *path*; None where a group keeps its name (v2)."""
        if host.version != 1:
            return None
        with ExitStack() as undo:
            cgroup = host.cgroup(path)
            undo.callback(cgroup.remove, _REMOVE_SECONDS)
            cgroup.create()
            child = Child(CLONED, -1, partial(set_up_early, CLONED), become_container)
            undo.callback(child.discard)
            cgroup.attach(child.pid)
            undo.pop_all()
        return cls(child, cgroup)

    def take(self, document: Document) -> tuple[Child, Cgroup] | None:
        """Give child and group to a container; None when it does not want such namespaces."""
        own = {entry["type"] for entry in document["linux"]["namespaces"] if "path" not in entry}
        if not {"pid", "mount"} <= own:
            return None
        try:
            cgroup = self._cgroup.renamed(document["linux"]["cgroupsPath"])
        except ToolkitError:  # the name is taken: an earlier life of the container lets go of it
            return None
        return (self._child, cgroup) if cgroup is not None else None

    def discard(self) -> None:
        """End the child and remove the group."""
        self._child.discard()
        with suppress(ToolkitError):
            self._cgroup.remove(_REMOVE_SECONDS)


def sweep_slots(host: CgroupHost, parent: str) -> None:
    """Remove the groups of slots that an earlier launcher left below *parent*."""
    for path in host.children(parent):
        if path.rpartition("/")[2].startswith(PREFIX):
            with suppress(ToolkitError):
                group = host.cgroup(path)
                group.kill()
                group.remove(_REMOVE_SECONDS)
