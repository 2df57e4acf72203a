# SPDX-License-Identifier: Apache-2.0
"""Walking and removing trees that nobody vouches for, by descriptor.

No link is followed, depth and width may be anything, and the number of open
descriptors stays small.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.errors import KernelCallError, StorageError
from toolkit.kernel.paths import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_resolved
from toolkit.storage.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True, frozen=True)
class Entry:
    """Something in a tree, valid until the walk goes on.

    Attributes:
        path: Below the root, no leading slash; empty for the root itself.
        parent_fd: Its directory; for the root, the root.
        name: Its name there; for the root, a dot.
        status: As lstat(2) sees it.
    """

    path: bytes
    parent_fd: int
    name: bytes
    status: os.stat_result


def open_directory(root_fd: int, path: bytes) -> int:
    """Open a directory below the root for reading; no part of the path may be a link."""
    return open_resolved(
        root_fd,
        path or b".",
        os.O_RDONLY | os.O_DIRECTORY,
        mode=0,
        resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
    )


def walk_tree(root_fd: int) -> Iterator[Entry]:
    """Yield the root and then all below it: a directory before its entries, names sorted.

    All entries of a directory come before those of its subdirectories. What
    vanishes during the walk is left out.

    Raises:
        StorageError: A directory cannot be read.
    """
    yield Entry(b"", root_fd, b".", os.fstat(root_fd))
    pending = [b""]
    while pending:
        path = pending.pop()
        try:
            dir_fd = open_directory(root_fd, path)
        except KernelCallError as error:
            if isinstance(error.__cause__, FileNotFoundError) or not _exists(root_fd, path):
                continue
            raise StorageError(f"cannot read directory {printable(path)}: {error}") from error
        try:
            below = []
            for entry in _entries(dir_fd, path):
                if stat.S_ISDIR(entry.status.st_mode):
                    below.append(entry.path)
                yield entry
            pending += reversed(below)
        finally:
            os.close(dir_fd)


def _exists(root_fd: int, path: bytes) -> bool:
    try:
        os.close(
            open_resolved(
                root_fd,
                path,
                os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW,
                mode=0,
                resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
            )
        )
    except KernelCallError:
        return False
    return True


def _entries(dir_fd: int, path: bytes) -> Iterator[Entry]:
    prefix = path + b"/" if path else b""
    for name in sorted(os.fsencode(name) for name in os.listdir(dir_fd)):
        try:
            status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        yield Entry(prefix + name, dir_fd, name, status)


def tree_size_bytes(root_fd: int) -> int:
    """Return the sum of the sizes of all files, each inode once (rule 9.31)."""
    total = 0
    seen = set()
    for entry in walk_tree(root_fd):
        status = entry.status
        if stat.S_ISDIR(status.st_mode):
            continue
        if status.st_nlink > 1:
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        total += status.st_size
    return total


def remove_entry(parent_fd: int, name: bytes) -> None:
    """Remove what has that name in a directory, whatever it is; nothing there is no error."""
    try:
        os.unlink(name, dir_fd=parent_fd)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode):
            raise
        _remove_directory(parent_fd, name)


def _remove_directory(parent_fd: int, name: bytes) -> None:
    """Remove a tree of any depth: what is below is moved up beside it and removed in turn.

    So neither recursion nor a descriptor for each level is needed, and no path
    is ever longer than one name.
    """
    pending = [name]
    number = 0
    while pending:
        doomed = pending.pop()
        dir_fd = os.open(doomed, _DIRECTORY, dir_fd=parent_fd)
        try:
            for entry in os.listdir(dir_fd):  # noqa: PTH208 - a descriptor
                if _unlink(dir_fd, entry):
                    continue
                number += 1
                moved = b".removed-%d-%d-" % (os.getpid(), number) + name[:64]
                os.rename(entry, moved, src_dir_fd=dir_fd, dst_dir_fd=parent_fd)
                pending.append(moved)
        finally:
            os.close(dir_fd)
        os.rmdir(doomed, dir_fd=parent_fd)


def _unlink(dir_fd: int, name: str) -> bool:
    """Remove a file or an empty directory; False for a directory with entries."""
    try:
        os.unlink(name, dir_fd=dir_fd)
    except (IsADirectoryError, PermissionError):
        try:
            os.rmdir(name, dir_fd=dir_fd)
        except OSError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
                raise
            return False
    return True
