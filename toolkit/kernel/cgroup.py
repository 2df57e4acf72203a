# SPDX-License-Identifier: Apache-2.0
"""A control group, whatever version the host has: its life, its members, its end.

`toolkit.kernel.cgroup_v1` and `cgroup_v2` add what differs: limits, statistics
and freezing. `toolkit.kernel.cgroups` finds out which of them a host needs.
"""

from __future__ import annotations

import errno
import math
import os
import select
import signal
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import CgroupError, InvalidRequestError, KernelCallError
from toolkit.kernel.process import open_pidfd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toolkit.kernel.cgroup_stats import CgroupStats
    from toolkit.kernel.cgroup_tree import CgroupTree

_LONGEST_PATH: Final = 2048
_RELEASE_MS: Final = 2
_FREEZE_TO_KILL_SECONDS: Final = 1.0
_EVENTS_BYTES: Final = 4096


def check_path(path: str) -> str:
    """Return *path* without outer slashes, if it names a group below a hierarchy's root.

    Raises:
        InvalidRequestError: It could lead elsewhere, or break a file that shows it.
    """
    plain = path.strip("/")
    parts = plain.split("/")
    if len(plain) > _LONGEST_PATH or any(part in {"", ".", ".."} for part in parts):
        raise InvalidRequestError(f"control group path {path!r}: use names separated by '/'")
    if any(character < " " or character == "\x7f" for character in plain):
        raise InvalidRequestError(f"control group path {path!r}: control characters")
    return plain


class Cgroup(ABC):
    """A group, by the same path in every hierarchy that it stands in.

    Args:
        path: Below each hierarchy's root.
        trees: Hierarchies that the group is made in, the unified one last.
        optional: One that it may stand in, made when a limit asks for it (v1's cpuset).
        unified: The cgroup v2 hierarchy, if the group stands in it: it kills and freezes, and
            its file ``cgroup.events`` tells by poll(2) what a v1 file has to be read for.
    """

    def __init__(
        self,
        path: str,
        trees: tuple[CgroupTree, ...],
        *,
        unified: CgroupTree | None,
        optional: CgroupTree | None = None,
    ) -> None:
        self.path = check_path(path)
        self._trees = trees
        self._optional = optional
        self._unified = unified

    def create(self) -> None:
        """Make the group everywhere, its parents too; one that is there is taken as it is.

        Raises:
            CgroupError: Nothing that this call made is left.
        """
        with ExitStack() as undo:
            for tree in self._trees:
                if self._make(tree):
                    undo.callback(tree.remove_one, self.path)
            undo.pop_all()

    def exists(self) -> bool:
        """Tell whether the group is there, in its first hierarchy."""
        return self._trees[0].exists(self.path)

    @abstractmethod
    def apply(self, resources: Mapping[str, Any]) -> None:
        """Set the limits of an OCI ``linux.resources``; what is 0 or missing stays as it is.

        Raises:
            CgroupError: The kernel refused; file and value are named.
            KernelFeatureMissingError: This host cannot limit that: ask `CgroupHost.supports`.
        """

    @abstractmethod
    def stats(self) -> CgroupStats:
        """Return what the group uses now."""

    @abstractmethod
    def oom_kill_count(self) -> int:
        """Return how many processes the kernel killed for memory, in this group and below."""

    @abstractmethod
    def freeze(self, timeout_seconds: float = 10.0) -> None:
        """Stop every process, and return when all have stopped.

        Raises:
            CgroupError: Not in time (ETIMEDOUT); they run again.
        """

    @abstractmethod
    def thaw(self, timeout_seconds: float = 10.0) -> None:
        """Let every process run again."""

    def attach(self, pid: int) -> None:
        """Move a process, with all its threads, into the group.

        Raises:
            CgroupError: ESRCH: there is no such process.
        """
        for tree in self._trees:
            tree.write(f"{self.path}/cgroup.procs", pid)
        if self._optional is not None:
            self._optional.write_if_there(f"{self.path}/cgroup.procs", pid)

    def procs_files(self) -> list[str]:
        """Return the files that take a process in, by absolute path."""
        return [tree.where(f"{self.path}/cgroup.procs") for tree in self._present()]

    def dir_fd_v2(self) -> int:
        """Return a new descriptor for CLONE_INTO_CGROUP; -1 where that would not be enough.

        On a host with v1 hierarchies a child born in the unified group would miss
        every limit: there it is -1, and `attach` is the way.
        """
        if self._unified is None or self._trees != (self._unified,):
            return -1
        return self._unified.open_group(self.path)

    def dir_fds(self) -> dict[str, int]:
        """Return a new descriptor of the group by hierarchy, ``""`` for cgroup v2 alone."""
        if self._trees == (self._unified,):
            return {"": self.dir_fd_v2()}
        return {tree.label: tree.open_group(self.path) for tree in self._present()}

    def pids(self) -> list[int]:
        """Return the processes in the group and below, each once."""
        tree = self._unified or self._trees[0]
        return sorted(set(tree.members([self.path, *tree.descendants(self.path)])))

    def kill(self) -> None:
        """Kill every process in the group and below, none of them able to fork away."""
        unified = self._unified
        if unified is not None and unified.write_if_there(f"{self.path}/cgroup.kill", 1):
            return
        if not self.exists():
            return
        with suppress(CgroupError):  # who cannot be stopped in time is killed all the same
            self.freeze(_FREEZE_TO_KILL_SECONDS)
        try:
            for pid in self.pids():
                _kill_if_there(pid)
        finally:
            self.thaw()

    def remove(self, timeout_seconds: float = 5.0) -> None:
        """Remove the group and every group that its programs made below it.

        Waits until the kernel has let go of the last process. What is not there is
        no error.

        Raises:
            CgroupError: Processes are left in it (EBUSY).
        """
        deadline = time.monotonic() + timeout_seconds
        optional = () if self._optional is None else (self._optional,)
        for tree in (*optional, *self._trees):
            wait = self._await_empty
            while not self._remove_from(tree):
                if not _left_ms(deadline):
                    raise CgroupError("rmdir", tree.where(self.path), errno.EBUSY)
                wait(tree, deadline)
                wait = self._await_departure

    def renamed(self, path: str) -> Cgroup | None:
        """Return this group under another path, with all its members; None if it cannot be.

        Raises:
            CgroupError: The new path is taken; the group keeps its old one.
        """
        del path
        return None

    def _make(self, tree: CgroupTree) -> bool:
        """Make the group in one hierarchy, its parents only if they are missing."""
        try:
            return tree.make(self.path)
        except CgroupError as error:
            if error.errno != errno.ENOENT:
                raise
        self._make_parents(tree)
        return tree.make(self.path)

    def _make_parents(self, tree: CgroupTree) -> None:
        for parent in self._parents():
            tree.make(parent)

    def _parents(self) -> list[str]:
        """Return the paths above the group, the highest first."""
        parts = self.path.split("/")
        return ["/".join(parts[:depth]) for depth in range(1, len(parts))]

    def _present(self) -> list[CgroupTree]:
        candidates = (*self._trees, self._optional)
        return [tree for tree in candidates if tree is not None and tree.exists(self.path)]

    def _remove_from(self, tree: CgroupTree) -> bool:
        if tree.remove_one(self.path):
            return True
        for path in tree.descendants(self.path):
            tree.remove_one(path)
        return tree.remove_one(self.path)

    def _await_empty(self, tree: CgroupTree, deadline: float) -> None:
        """Wait for the unified hierarchy's word that the group is empty, if there is one."""
        if self._unified is None:
            self._await_departure(tree, deadline)
        else:
            self._await_event(self._unified, "populated", 0, deadline)

    def _await_departure(self, tree: CgroupTree, deadline: float) -> None:
        """Wait until one of the members that *tree* lists ends, at most until *deadline*."""
        poller = select.poll()
        with ExitStack() as undo:
            members = tree.members([self.path, *tree.descendants(self.path)])
            for pid in members:
                pidfd = _open_pidfd(pid)
                if pidfd >= 0:
                    undo.callback(os.close, pidfd)
                    poller.register(pidfd, select.POLLIN)
            # With nobody left the kernel lets go microseconds later, and says no word of it.
            poller.poll(_left_ms(deadline) if members else _RELEASE_MS)

    def _await_event(self, tree: CgroupTree, key: str, value: int, deadline: float) -> bool:
        """Wait until ``cgroup.events`` says so; True also when there is no such group."""
        fd = tree.open_file(f"{self.path}/cgroup.events")
        if fd < 0:
            return True
        wanted = f"{key} {value}".encode()
        poller = select.poll()
        poller.register(fd, select.POLLPRI)
        try:
            while wanted not in os.pread(fd, _EVENTS_BYTES, 0).split(b"\n"):
                if not _left_ms(deadline):
                    return False
                poller.poll(_left_ms(deadline))
        except OSError as error:
            if error.errno != errno.ENODEV:  # it was removed while we watched
                where = tree.where(f"{self.path}/cgroup.events")
                raise CgroupError("read", where, error.errno or errno.EIO) from error
        finally:
            os.close(fd)
        return True

    def _freeze_unified(self, tree: CgroupTree, *, frozen: bool, timeout_seconds: float) -> None:
        tree.write(f"{self.path}/cgroup.freeze", int(frozen))
        deadline = time.monotonic() + timeout_seconds
        if self._await_event(tree, "frozen", int(frozen), deadline):
            return
        if frozen:
            tree.write(f"{self.path}/cgroup.freeze", 0)
        call = "freeze" if frozen else "thaw"
        raise CgroupError(call, tree.where(self.path), errno.ETIMEDOUT)


def _left_ms(deadline: float) -> int:
    """Return the milliseconds until *deadline*, rounded up; 0 when it has passed."""
    return max(math.ceil((deadline - time.monotonic()) * 1000), 0)


def _open_pidfd(pid: int) -> int:
    try:
        return open_pidfd(pid)
    except KernelCallError:
        return -1  # gone already


def _kill_if_there(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
