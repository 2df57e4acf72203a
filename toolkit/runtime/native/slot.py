# SPDX-License-Identifier: Apache-2.0
"""A start made ahead of need: a child that waits in new namespaces and a group of its own.

Making namespaces costs milliseconds, and moving a process into a version 1
cgroup waits for a grace period of the kernel: a slot has both behind it. When a
container takes it, the group gets the container's name.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from toolkit.errors import ToolkitError
from toolkit.kernel import mounts
from toolkit.kernel.namespaces import open_namespace
from toolkit.runtime.document import default_device_rules
from toolkit.runtime.native.child import Child
from toolkit.runtime.native.launch import CLONED, become_container, set_up_early
from toolkit.runtime.native.program import learn_capabilities
from toolkit.runtime.native.rehearsal import play_child, play_shim
from toolkit.runtime.native.staging import Staging

if TYPE_CHECKING:
    from toolkit.kernel.cgroups import Cgroup, CgroupHost
    from toolkit.runtime.backend import Document

PREFIX: Final = "slot-"
_REMOVE_SECONDS: Final = 5.0


class Slot:
    """One waiting child and its cgroup.

    Attributes:
        staging: The default mounts, which the child has made in its own namespace.
        netns_fd: The child's network namespace.
    """

    def __init__(self, child: Child, cgroup: Cgroup, staging: Staging) -> None:
        self.netns_fd = open_namespace(child.pid, "network")
        self._child = child
        self._cgroup = cgroup
        self.staging = staging

    @classmethod
    def make(cls, host: CgroupHost, path: str, staging_dir: str) -> Self | None:
        """Return a slot whose group stands at *path*; None where a group keeps its name (v2).

        Args:
            host: The cgroups of this machine.
            path: Below each hierarchy's root.
            staging_dir: An empty directory, below which the child mounts for itself.
        """
        if host.version != 1:
            return None
        with ExitStack() as undo:
            cgroup = host.cgroup(path)
            undo.callback(cgroup.remove, _REMOVE_SECONDS)
            cgroup.create()
            staging = Staging.prepare(staging_dir, clone_own_cgroups(cgroup, undo), undo)
            child = Child(CLONED, -1, partial(_wait, staging), partial(become_container, staging))
            undo.callback(child.discard)
            cgroup.attach(child.pid)
            cgroup.apply({"devices": default_device_rules()})
            slot = cls(child, cgroup, staging)
            undo.pop_all()
        with suppress(ToolkitError, OSError):  # the start itself will tell
            play_shim(staging)
        return slot

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

    @staticmethod
    def lacking(resources: Document) -> Document:
        """Return what is still to be applied of ``linux.resources``: not the usual devices."""
        if resources.get("devices") == default_device_rules():
            return {key: value for key, value in resources.items() if key != "devices"}
        return resources

    def discard(self) -> None:
        """End the child and remove the group."""
        self._child.discard()
        os.close(self.netns_fd)
        with suppress(ToolkitError):
            self._cgroup.remove(_REMOVE_SECONDS)


def _wait(staging: Staging) -> None:
    set_up_early(CLONED)
    staging.mount()
    learn_capabilities()
    with suppress(ToolkitError, OSError):  # the start itself will tell
        play_child(play_shim(staging))


def clone_own_cgroups(cgroup: Cgroup, undo: ExitStack) -> dict[str, int]:
    """Bind the container's own control groups, detached; only this namespace holds them yet."""
    mount_fds = {}
    for name, dir_fd in cgroup.dir_fds().items():
        mount_fds[name] = mounts.clone_tree(dir_fd)
        undo.callback(os.close, mount_fds[name])
        os.close(dir_fd)
    return mount_fds


def sweep_slots(host: CgroupHost, parent: str) -> None:
    """Remove the groups of slots that an earlier launcher left below *parent*."""
    for path in host.children(parent):
        if path.rpartition("/")[2].startswith(PREFIX):
            with suppress(ToolkitError):
                group = host.cgroup(path)
                group.kill()
                group.remove(_REMOVE_SECONDS)
