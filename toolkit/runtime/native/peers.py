# SPDX-License-Identifier: Apache-2.0
"""A mount of another container, taken over: its ``/dev/shm``, for who shares its IPC.

Only from within a mount namespace can one of its mounts be cloned, so a short
child enters it and hands the clone back. The path is resolved there, by
descriptor and without following a link, which the container may have put there.
"""

from __future__ import annotations

import array
import os
import socket
from typing import TYPE_CHECKING, Final

from toolkit.errors import BackendError, ToolkitError
from toolkit.kernel import mounts, namespaces, process
from toolkit.kernel.paths import open_in_root

if TYPE_CHECKING:
    from contextlib import ExitStack

SHM_SUFFIX: Final = "/root/dev/shm"
_SHM: Final = "/dev/shm"  # noqa: S108 - a path inside the container


def peer_of(source: str) -> int:
    """Return the process whose ``/dev/shm`` a bind's source names; 0 for any other source."""
    prefix, _, rest = source.removeprefix("/proc/").partition("/")
    is_shm = source.startswith("/proc/") and f"/{rest}" == SHM_SUFFIX and prefix.isdecimal()
    return int(prefix) if is_shm else 0


def clone_shm_of(pid: int, undo: ExitStack) -> int:
    """Return a detached clone of a container's ``/dev/shm``.

    Raises:
        BackendError: The container has ended, or has put something else there.
    """
    mount_ns_fd = namespaces.open_namespace(pid, "mount")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child_pid, child_pidfd = namespaces.clone(0)
        if not child_pid:
            _serve(theirs, mount_ns_fd)
        theirs.close()
        os.close(mount_ns_fd)
        fds = array.array("i")
        _, ancillary, _, _ = ours.recvmsg(
            1, socket.CMSG_SPACE(fds.itemsize), socket.MSG_CMSG_CLOEXEC
        )
        os.waitpid(child_pid, 0)
        os.close(child_pidfd)
    for _, _, data in ancillary:
        fds.frombytes(data)
    if not fds:
        raise BackendError("the /dev/shm of the container to share with cannot be had")
    undo.callback(os.close, fds[0])
    return fds[0]


def _serve(theirs: socket.socket, mount_ns_fd: int) -> None:
    try:
        process.set_dumpable(dumpable=False)
        namespaces.enter(mount_ns_fd, namespaces.CLONE_NEWNS)
        root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        shm_fd = open_in_root(root_fd, _SHM, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
        rights = array.array("i", [mounts.clone_tree(shm_fd)])
        theirs.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    except (OSError, ToolkitError):
        theirs.shutdown(socket.SHUT_RDWR)  # nothing came: that says it
    finally:
        os._exit(0)
