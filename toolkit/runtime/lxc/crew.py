# SPDX-License-Identifier: Apache-2.0
"""The two children that a start with LXC needs, made in one go, or ahead of need.

One is `lxc-start` itself, in a mount namespace of its own, waiting for its
configuration. The other, the hand, sets the stage for it there, and later dresses
the container. To clone them, to execute and link LXC, and to touch memory for the
first time costs milliseconds: an engine that runs containers in LXC keeps such
crews waiting.
"""

from __future__ import annotations

import array
import itertools
import os
import shutil
import signal
import socket
from contextlib import ExitStack, suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Final, Self

from toolkit.errors import BackendError
from toolkit.kernel import namespaces, process
from toolkit.kernel.cgroup_v1 import NEEDED_CONTROLLERS
from toolkit.runtime.lxc.dress import dress_container
from toolkit.runtime.lxc.rehearsal import play_hand, play_shim
from toolkit.runtime.lxc.stage import become_lxc, prepare_stage, set_stage
from toolkit.runtime.native.child import Child
from toolkit.runtime.native.prepare import Prepared

if TYPE_CHECKING:
    from toolkit.kernel.cgroups import CgroupHost
    from toolkit.runtime.backend import Document
    from toolkit.runtime.native.child import Description

_V1: Final = 1
_SEARCHED: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SO_PASSCRED: Final = 16
_MSG_CMSG_CLOEXEC: Final = 0x40000000
_MAX_GROUPS: Final = 32
_READS_PIPES: Final = 5  # tried; what 4 does was not looked at
_numbers = itertools.count(1)


class Crew:
    """LXC and the hand, waiting.

    Attributes:
        monitor: `lxc-start`, which becomes the container's monitor.
        hand: Prepares and finishes the container's mounts.
        link: The first step reports here, and the kernel adds who it is.
        log_fd: What LXC logs.
    """

    def __init__(
        self, monitor: Child, hand: Child, *, link: socket.socket, call: socket.socket, log_fd: int
    ) -> None:
        self.monitor = monitor
        self.hand = hand
        self.link = link
        self.log_fd = log_fd
        self._call = call
        self._has_cpuset = False
        self._mounted = ""

    @classmethod
    def make(cls, host: CgroupHost, *, has_cpuset: bool = False, rehearsed: bool = False) -> Self:
        """Execute LXC and clone the hand.

        Args:
            host: The cgroups of this machine.
            has_cpuset: The container's group stands in the hierarchy of cpuset, too.
            rehearsed: There is time: all play their parts once.

        Raises:
            BackendError: LXC is not installed, or something failed on the way.
        """
        controllers = shown_controllers(host, has_cpuset=has_cpuset)
        mounted = _read_mounts()
        with ExitStack() as undo:
            link, log_fd, monitor = _execute_lxc(controllers, undo)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(ours.close)
            early = partial(_join, monitor.pidfd, ours, rehearsed=rehearsed)
            flags = namespaces.CLONE_NEWNS if rehearsed else 0
            with theirs:
                hand = Child(flags, -1, early, partial(_work, theirs))
            undo.callback(hand.discard)
            if rehearsed:
                play_shim()
            undo.pop_all()
        crew = cls(monitor, hand, link=link, call=ours, log_fd=log_fd)
        crew._has_cpuset, crew._mounted = has_cpuset, mounted
        return crew

    def serves(self, document: Document) -> bool:
        """Tell whether a container can be started by it: what was mounted since it does not see."""
        return self._has_cpuset == wants_cpuset(document) and self._mounted == _read_mounts()

    def dress(self, init_pidfd: int, flags: int, cgroup_fds: dict[str, int]) -> None:
        """Let the hand finish the container that LXC has made.

        Args:
            init_pidfd: The container's init.
            flags: Its namespaces that the hand is to enter.
            cgroup_fds: The container's control groups by hierarchy, detached mounts.

        Raises:
            BackendError: LXC made something else than was asked for, or the hand is gone.
            InvalidRequestError: Something of the document cannot be had.
        """
        names = " ".join((str(flags), *cgroup_fds))
        rights = array.array("i", [init_pidfd, *cgroup_fds.values()])
        with suppress(OSError):  # it is gone, and its report says why
            self._call.sendmsg([names.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        self.hand.await_program()

    def close(self) -> None:
        """End both after a start; the container's init is adopted by this process."""
        self.end_monitor()
        _reap(self.hand)
        self._call.close()
        self.link.close()
        os.close(self.log_fd)

    def end_monitor(self) -> None:
        """End LXC, if that has not been done."""
        if self.monitor.pidfd >= 0:
            _reap(self.monitor)
            self.monitor.pidfd = -1

    def discard(self) -> None:
        """End both without a start."""
        self.hand.discard()
        self.end_monitor()
        self._call.close()
        self.link.close()
        os.close(self.log_fd)


def find_lxc_start() -> str:
    """Return where `lxc-start` is.

    Raises:
        BackendError: It is not installed.
    """
    found = shutil.which("lxc-start", path=_SEARCHED)
    if found is None:
        raise BackendError("the lxc backend needs lxc-start: apt-get install lxc")
    return found


@cache
def reads_pipes(lxc_start: str) -> bool:
    """Tell whether this LXC reads a configuration to its end: older ones map the file."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    with open(read_fd, "rb") as answer:
        actions = [(os.POSIX_SPAWN_DUP2, write_fd, 1)]
        pid = os.posix_spawn(lxc_start, [lxc_start, "--version"], {}, file_actions=actions)
        os.close(write_fd)
        version = answer.read(64)
        with suppress(ChildProcessError):  # the launcher lets the kernel reap
            os.waitpid(pid, 0)
    major = version.partition(b".")[0]
    return major.isdigit() and int(major) >= _READS_PIPES


def learn_lxc() -> None:
    """Ask LXC ahead for what each crew would ask for; where it is not, a start says so."""
    with suppress(BackendError, OSError):
        reads_pipes(find_lxc_start())


def wants_cpuset(document: Document) -> bool:
    """Tell whether a container's group has to stand in the hierarchy of cpuset."""
    cpu = (document["linux"].get("resources") or {}).get("cpu") or {}
    own = document["annotations"].get("toolkit.lxc.conf", "")
    return bool(cpu.get("cpus") or cpu.get("mems")) or "cpuset" in own


def shown_controllers(host: CgroupHost, *, has_cpuset: bool) -> set[str]:
    """Return the controllers of cgroup v1 that LXC may see; none on cgroup v2.

    They are those whose groups the engine removes. What LXC makes elsewhere stays: it is
    ended before it cleans up.
    """
    if host.version != _V1:
        return set()
    used = {*NEEDED_CONTROLLERS, "cpuset"} if has_cpuset else {*NEEDED_CONTROLLERS}
    return used & host.controllers


def _execute_lxc(controllers: set[str], undo: ExitStack) -> tuple[socket.socket, int, Child]:
    """Execute LXC on its stage; return our end of the link, the log, and LXC."""
    # Its command socket has no place in a directory: the name is this start's alone.
    lxc_start = find_lxc_start()
    description = {
        "lxc_start": lxc_start,
        "reads_pipes": reads_pipes(lxc_start),
        "name": f"toolkit-{os.getpid()}-{next(_numbers)}",
    }
    link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    undo.callback(link.close)
    link.setsockopt(socket.SOL_SOCKET, _SO_PASSCRED, 1)
    log_fd = os.memfd_create("lxc-log", os.MFD_CLOEXEC)
    undo.callback(os.close, log_fd)
    with theirs:
        monitor = Child(namespaces.CLONE_NEWNS, -1, partial(set_stage, controllers), become_lxc)
        started = undo.enter_context(ExitStack())
        started.callback(monitor.discard)
        monitor.tell(description, [theirs.fileno(), log_fd])
        if description["reads_pipes"]:
            monitor.await_program()
    started.pop_all()
    undo.callback(_reap, monitor)
    return link, log_fd, monitor


def _join(monitor_pidfd: int, ours: socket.socket, *, rehearsed: bool) -> None:
    ours.close()  # so that the hand sees it when the shim is gone
    if rehearsed:
        play_hand()
    namespaces.enter(monitor_pidfd, namespaces.CLONE_NEWNS)


def _work(call: socket.socket, description: Description, fds: list[int]) -> None:
    """Do what the hand does: the stage first, the container when it is called again."""
    prepared = Prepared.from_description(description, fds)
    prepare_stage(description, prepared)
    received = array.array("i")
    space = socket.CMSG_SPACE(_MAX_GROUPS * received.itemsize)
    names, ancillary, _, _ = call.recvmsg(4096, space, _MSG_CMSG_CLOEXEC)
    if not names:  # the shim is gone, or the start has failed
        return
    for _, _, data in ancillary:
        received.frombytes(data)
    flags, *hierarchies = names.decode().split(" ")
    init_pidfd, *group_fds = received
    prepared.cgroup_fds = dict(zip(hierarchies, group_fds, strict=True))
    dress_container(prepared, init_pidfd, int(flags))


def _reap(child: Child) -> None:
    """End a child and wait for it; LXC's monitor leaves the container's init to us."""
    process.signal_pidfd(child.pidfd, signal.SIGKILL)
    os.waitpid(child.pid, 0)
    child.release()
    os.close(child.pidfd)


def _read_mounts() -> str:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return file.read()
