# SPDX-License-Identifier: Apache-2.0
"""The two children that a start with LXC needs, made in one go, or ahead of need.

One becomes `lxc-start` in a mount namespace of its own, the other dresses the
container. To clone them, and to touch their memory for the first time, costs
milliseconds: an engine whose containers run in LXC keeps such crews waiting.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from toolkit.kernel import namespaces
from toolkit.runtime.lxc.dress import dress_container
from toolkit.runtime.lxc.rehearsal import play_dresser, play_monitor, play_shim
from toolkit.runtime.lxc.stage import become_lxc, set_stage
from toolkit.runtime.native.child import Child

if TYPE_CHECKING:
    from toolkit.kernel.cgroups import CgroupHost
    from toolkit.runtime.backend import Document

_V1: Final = 1


class Crew:
    """Two waiting children.

    Attributes:
        monitor: Becomes `lxc-start`, LXC's monitor.
        dresser: Finishes the container's mounts.
    """

    def __init__(self, monitor: Child, dresser: Child, *, has_cpuset: bool, mounted: str) -> None:
        self.monitor = monitor
        self.dresser = dresser
        self._has_cpuset = has_cpuset
        self._mounted = mounted

    @classmethod
    def make(
        cls, host: CgroupHost, *, has_cpuset: bool = False, rehearsed: bool = False
    ) -> Self:
        """Clone the children.

        Args:
            host: The cgroups of this machine.
            has_cpuset: The container's group stands in the hierarchy of cpuset, too.
            rehearsed: There is time: all play their parts once.
        """
        controllers = set(host.controllers) if host.version == _V1 else set()
        if not has_cpuset:
            controllers.discard("cpuset")
        mounted = _read_mounts()
        with ExitStack() as undo:
            early = partial(_set_up_monitor, controllers, rehearsed=rehearsed)
            monitor = Child(namespaces.CLONE_NEWNS, -1, early, become_lxc)
            undo.callback(monitor.discard)
            flags = namespaces.CLONE_NEWNS if rehearsed else 0
            dresser = Child(
                flags, -1, play_dresser if rehearsed else lambda: None, dress_container
            )
            undo.callback(dresser.discard)
            if rehearsed:
                play_shim()
            undo.pop_all()
        return cls(monitor, dresser, has_cpuset=has_cpuset, mounted=mounted)

    def serves(self, document: Document) -> bool:
        """Tell whether a container can be started by it: what was mounted since it does not see."""
        return self._has_cpuset == wants_cpuset(document) and self._mounted == _read_mounts()

    def discard(self) -> None:
        """End both."""
        self.monitor.discard()
        self.dresser.discard()


def wants_cpuset(document: Document) -> bool:
    """Tell whether a container's group has to stand in the hierarchy of cpuset."""
    cpu = (document["linux"].get("resources") or {}).get("cpu") or {}
    own = document["annotations"].get("toolkit.lxc.conf", "")
    return bool(cpu.get("cpus") or cpu.get("mems")) or "cpuset" in own


def _set_up_monitor(controllers: set[str], *, rehearsed: bool) -> None:
    if rehearsed:
        play_monitor()
    set_stage(controllers)


def _read_mounts() -> str:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return file.read()
