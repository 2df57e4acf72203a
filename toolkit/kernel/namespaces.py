# SPDX-License-Identifier: Apache-2.0
"""Namespaces: a child in new ones by clone3(2), and entering others by setns(2)."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from typing import Final

from toolkit.errors import NamespaceError
from toolkit.kernel.syscalls import LIBC, call, check

CLONE_NEWTIME: Final = 0x00000080
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
_CLONE_PIDFD: Final = 0x00001000
_CLONE_INTO_CGROUP: Final = 0x200000000
_SIGCHLD: Final = 17

# OCI runtime-spec, "Namespace types": its word, the flag and the file below /proc/PID/ns.
FLAGS: Final[dict[str, int]] = {
    "pid": CLONE_NEWPID,
    "network": CLONE_NEWNET,
    "mount": CLONE_NEWNS,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "user": CLONE_NEWUSER,
    "cgroup": CLONE_NEWCGROUP,
    "time": CLONE_NEWTIME,
}
FILES: Final = {"network": "net", "mount": "mnt"}


class _CloneArgs(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack",
            "stack_size", "tls", "set_tid", "set_tid_size", "cgroup",
        )
    )  # fmt: skip


def clone(flags: int, cgroup_fd: int = -1) -> tuple[int, int]:
    """Fork a child into new namespaces; return ``(pid, pidfd)``, ``(0, -1)`` in the child.

    With *cgroup_fd* (a cgroup v2 directory) the child is born in that cgroup.
    The caller must have one thread.
    """
    pidfd = ctypes.c_int(-1)
    arguments = _CloneArgs(flags | _CLONE_PIDFD, ctypes.addressof(pidfd), exit_signal=_SIGCHLD)
    if cgroup_fd >= 0:
        arguments.flags |= _CLONE_INTO_CGROUP
        arguments.cgroup = cgroup_fd
    pid = call("clone3", arguments, ctypes.sizeof(arguments), error=NamespaceError)
    return pid, pidfd.value if pid else -1


def unshare(flags: int) -> None:
    """Move this process into new namespaces."""
    check(LIBC.unshare(flags), NamespaceError, "unshare", hex(flags))


def enter(namespace_fd: int, flags: int) -> None:
    """Enter a namespace by its file, or several by a pidfd."""
    check(LIBC.setns(namespace_fd, flags), NamespaceError, "setns", hex(flags))


def open_namespace(pid: int, kind: str) -> int:
    """Return a descriptor of one namespace of a process; *kind* is the OCI word."""
    path = f"/proc/{pid}/ns/{FILES.get(kind, kind)}"
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NamespaceError("open", path, error.errno or 0) from error


_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1
_IFREQ: Final = struct.Struct("16sh14x")


def bring_loopback_up() -> None:
    """Set the loopback interface of this network namespace up (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        request = _IFREQ.pack(b"lo", 0)
        try:
            _, flags = _IFREQ.unpack(fcntl.ioctl(control, _SIOCGIFFLAGS, request))
            fcntl.ioctl(control, _SIOCSIFFLAGS, _IFREQ.pack(b"lo", flags | _IFF_UP))
        except OSError as error:
            raise NamespaceError("ioctl SIOCSIFFLAGS", "lo", error.errno or 0) from error
