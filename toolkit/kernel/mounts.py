# SPDX-License-Identifier: Apache-2.0
"""Mounts by descriptor: made detached, shaped, then attached where a descriptor says.

The calls are those of the kernel's new mount API (fsopen(2), open_tree(2),
move_mount(2), mount_setattr(2); Linux 5.12 and later). No target is ever named
by a path inside a tree that somebody else may change (rows S-21, S-22).
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Final

from toolkit.errors import MountError
from toolkit.kernel.syscalls import LIBC, call, check

if TYPE_CHECKING:
    from collections.abc import Mapping

AT_FDCWD: Final = -100
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000

MS_REC: Final = 1 << 14
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MS_SHARED: Final = 1 << 20
MNT_DETACH: Final = 2

MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8

_OPEN_TREE_CLONE: Final = 1
_OPEN_TREE_CLOEXEC: Final = os.O_CLOEXEC
_FSOPEN_CLOEXEC: Final = 1
_FSMOUNT_CLOEXEC: Final = 1
_FSCONFIG_SET_FLAG: Final = 0
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CMD_CREATE: Final = 6
_MOVE_MOUNT_F_EMPTY_PATH: Final = 0x4
_MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40

_mount = LIBC.mount
_mount.argtypes = [
    ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p,
]  # fmt: skip
_umount2 = LIBC.umount2
_umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def new_filesystem(kind: str, options: Mapping[str, str | None], attributes: int = 0) -> int:
    """Make a filesystem and return its detached mount; an option of None is a flag.

    Raises:
        MountError: The kernel lacks the filesystem or refused an option.
    """
    context_fd = call("fsopen", kind.encode(), _FSOPEN_CLOEXEC, subject=kind, error=MountError)
    try:
        for key, value in {"source": kind, **options}.items():
            what = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
            text = None if value is None else value.encode()
            call("fsconfig", context_fd, what, key.encode(), text, 0,
                 subject=f"{kind} {key}={value}", error=MountError)  # fmt: skip
        call("fsconfig", context_fd, _FSCONFIG_CMD_CREATE, None, None, 0,
             subject=kind, error=MountError)  # fmt: skip
        return call(
            "fsmount", context_fd, _FSMOUNT_CLOEXEC, attributes, subject=kind, error=MountError
        )
    finally:
        os.close(context_fd)


def clone_tree(dir_fd: int, path: str | bytes = b"", *, recursive: bool = False) -> int:
    """Return a detached bind mount of what *path* names from *dir_fd* (empty: itself)."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | AT_EMPTY_PATH
    if recursive:
        flags |= AT_RECURSIVE
    name = os.fsencode(path)
    return call("open_tree", dir_fd, name, flags, subject=name, error=MountError)


def attach_mount(mount_fd: int, target_fd: int, subject: str = "") -> None:
    """Attach a detached mount on what *target_fd* stands for."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    call("move_mount", mount_fd, b"", target_fd, b"", flags, subject=subject, error=MountError)


def set_mount_attributes(
    mount_fd: int, *, set_: int = 0, clear: int = 0, propagation: int = 0, recursive: bool = False
) -> None:
    """Change flags and propagation of a mount (MOUNT_ATTR_*, MS_PRIVATE, ...)."""
    attributes = _MountAttr(set_, clear, propagation, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    call("mount_setattr", mount_fd, b"", flags, attributes, ctypes.sizeof(attributes),
         error=MountError)  # fmt: skip


def mount_overlay(target: bytes, data: str) -> None:
    """Mount an overlay on *target*; relative directories in *data* start at the cwd.

    mount(2) takes a page of options where fsconfig(2) takes 256 bytes each.
    """
    options = os.fsencode(data)
    if len(options) >= _OPTIONS_BYTES:
        raise MountError("mount", "overlay: too many layers for one page of options", 7)
    check(_mount(b"overlay", target, b"overlay", 0, options), MountError, "mount overlay", target)


_OPTIONS_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def set_propagation(path: bytes, flags: int) -> None:
    """Change how mounts below *path* propagate, e.g. ``MS_REC | MS_SLAVE``."""
    check(_mount(None, path, None, flags, None), MountError, "mount --make", path)


def unmount(path: bytes, flags: int = 0) -> None:
    """Take a mount away; `MNT_DETACH` leaves it to those that still use it."""
    check(_umount2(path, flags), MountError, "umount", path)


def pivot_root_to(root_fd: int) -> None:
    """Make the mount behind *root_fd* the root, and drop the old root with all below it."""
    os.fchdir(root_fd)
    call("pivot_root", b".", b".", error=MountError)
    # The old root now lies on top of the new one at "."; pivot_root(2), "pivot_root(".", ".")".
    unmount(b".", MNT_DETACH)
    os.chdir("/")
