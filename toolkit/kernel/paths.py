# SPDX-License-Identifier: Apache-2.0
"""Paths inside an untrusted tree, resolved by the kernel and never by text.

Every look-up goes through openat2(2) with RESOLVE_IN_ROOT: whatever links the
tree holds, nothing outside is reached. What is opened stays a descriptor.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from typing import Final

from toolkit.errors import KernelCallError
from toolkit.kernel.syscalls import call

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10

SMALL_FILE_BYTES: Final = 1024 * 1024
MOST_LINKS: Final = 40  # the kernel's MAXSYMLINKS
_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY
_REAL_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_HOW_BYTES: Final = ctypes.sizeof(_OpenHow)


def open_resolved(dir_fd: int, path: str | bytes, flags: int, *, mode: int, resolve: int) -> int:
    """Open *path* from *dir_fd* by openat2(2); the descriptor is close-on-exec.

    Raises:
        KernelCallError: The kernel refused; its errno says why (ELOOP, EXDEV, ENOENT, ...).
    """
    name = os.fsencode(path)
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    while True:
        try:
            return call("openat2", dir_fd, name, how, _HOW_BYTES, subject=name)
        except KernelCallError as error:
            # A rename or mount elsewhere raced the walk below ".."; the kernel asks to retry.
            if error.errno != errno.EAGAIN:
                raise


def open_in_root(
    root_fd: int, path: str | bytes, flags: int, mode: int = 0, *, resolve: int = 0
) -> int:
    """Open *path* as if *root_fd* were ``/``; magic links are refused (rows S-03, S-20)."""
    return open_resolved(
        root_fd, path, flags, mode=mode, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve
    )


def open_device_at(dir_fd: int, name: str, number: int, flags: int) -> int:
    """Open a character device by its name in a directory that others may change (row S-22).

    What is looked at is what is opened: a name that is swapped meanwhile opens nothing else.

    Raises:
        KernelCallError: Something else has the name (ENODEV), or it cannot be opened.
    """
    try:
        found_fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            status = os.fstat(found_fd)
            if not stat.S_ISCHR(status.st_mode) or status.st_rdev != number:
                raise KernelCallError("open", name, errno.ENODEV)
            return os.open(f"/proc/self/fd/{found_fd}", flags | os.O_CLOEXEC)
        finally:
            os.close(found_fd)
    except OSError as error:
        raise KernelCallError("open", name, error.errno or 0) from error


def make_dirs_in_root(
    root_fd: int, path: str | bytes, mode: int = 0o755, *, links: int = MOST_LINKS
) -> int:
    """Make a directory and its parents inside the root; return it as an O_PATH descriptor.

    Links in the path are followed inside the root; what one points to and is not
    there is made, at most *links* times. What exists is left as it is.

    Raises:
        KernelCallError: A part is not a directory, or could not be made.
    """
    missing: list[bytes] = []
    at = os.fsencode(path).rstrip(b"/") or b"/"
    while (dir_fd := _open_dir(root_fd, at)) is None:
        parent, name = os.path.split(at)
        if name in (b"", b".."):
            raise KernelCallError("mkdir", os.fsdecode(path), errno.ENOENT)
        missing.append(at)
        at = parent.rstrip(b"/") or b"/"
    for directory in reversed(missing):
        try:
            _make_dir(dir_fd, os.path.basename(directory), mode)
        finally:
            os.close(dir_fd)
        found_fd = _open_dir(root_fd, directory)
        if found_fd is None:  # a link to what is not there
            target = _missing_target(root_fd, directory, links)
            found_fd = make_dirs_in_root(root_fd, target, mode, links=links - 1)
        dir_fd = found_fd
    return dir_fd


def _missing_target(root_fd: int, path: bytes, links: int) -> bytes:
    """Return what a link points to, as a path from the root.

    Raises:
        KernelCallError: It is no link, or one too many.
    """
    if links <= 0:
        raise KernelCallError("mkdir", os.fsdecode(path), errno.ELOOP)
    parent, name = os.path.split(path)
    parent_fd = open_in_root(root_fd, parent or b"/", _DIRECTORY)
    try:
        target = os.readlink(name, dir_fd=parent_fd)
    except OSError as error:  # removed or replaced meanwhile
        raise KernelCallError("mkdir", os.fsdecode(path), errno.ENOENT) from error
    finally:
        os.close(parent_fd)
    return os.path.join(parent, target)


def _open_dir(root_fd: int, path: bytes) -> int | None:
    try:
        return open_in_root(root_fd, path, _DIRECTORY)
    except KernelCallError as error:
        if error.errno != errno.ENOENT:
            raise
        return None


def _make_dir(parent_fd: int, name: bytes, mode: int) -> None:
    """Make one directory, whatever the umask; who swaps it for a link meanwhile wins nothing."""
    try:
        os.mkdir(name, mode, dir_fd=parent_fd)
        dir_fd = os.open(name, _REAL_DIRECTORY, dir_fd=parent_fd)
        try:
            os.fchmod(dir_fd, mode)
        finally:
            os.close(dir_fd)
    except FileExistsError:  # made meanwhile, or a link to what is not there
        return
    except OSError as error:
        raise KernelCallError("mkdir", os.fsdecode(name), error.errno or 0) from error


def make_file_in_root(
    root_fd: int, path: str | bytes, mode: int = 0o644, *, links: int = MOST_LINKS
) -> int:
    """Make an empty file inside the root if nothing is there; return an O_PATH descriptor.

    Links are followed as by `make_dirs_in_root`.
    """
    try:
        return open_in_root(root_fd, path, os.O_PATH)
    except KernelCallError as error:
        if error.errno != errno.ENOENT:
            raise
    name = os.fsencode(path)
    os.close(make_dirs_in_root(root_fd, os.path.dirname(name) or b"/", links=links))
    try:
        os.close(open_in_root(root_fd, name, os.O_CREAT | os.O_RDONLY | os.O_NONBLOCK, mode))
    except KernelCallError as error:
        if error.errno != errno.ENOENT:
            raise
        target = _missing_target(root_fd, name, links)
        return make_file_in_root(root_fd, target, mode, links=links - 1)
    return open_in_root(root_fd, name, os.O_PATH)


def read_small_file_in_root(
    root_fd: int, path: str | bytes, limit_bytes: int = SMALL_FILE_BYTES
) -> bytes | None:
    """Return what a regular file inside the root holds, up to a limit; None if there is none.

    Never blocks: a FIFO, a device or a directory counts as absent (row S-06).
    """
    try:
        file_fd = open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except KernelCallError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(file_fd).st_mode):
            return None
        parts = []
        while limit_bytes > 0 and (part := os.read(file_fd, min(limit_bytes, 65536))):
            parts.append(part)
            limit_bytes -= len(part)
        return b"".join(parts)
    except OSError:
        return None
    finally:
        os.close(file_fd)
