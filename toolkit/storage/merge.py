# SPDX-License-Identifier: Apache-2.0
"""Applying a layer's difference to a whole tree (rule 9.41), for drivers without merging.

The difference was unpacked beside the tree with `Whiteouts.KEEP`. So a whiteout
hides only what lower layers brought, whatever the order in the archive, a
directory may become a file, and nothing is kept in memory.
"""

from __future__ import annotations

import os
import stat

from toolkit.storage.copies import member_of
from toolkit.storage.metadata import apply_to_fd, read_xattrs
from toolkit.storage.names import OPAQUE_MARKER, WHITEOUT_PREFIX
from toolkit.storage.trees import open_directory, remove_entry

_O_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def merge_tree(difference_fd: int, tree_fd: int) -> None:
    """Move a difference into a tree of the same file system; the difference is used up."""
    pending = [b""]
    merged: list[bytes] = []
    while pending:
        path = pending.pop()
        from_fd = open_directory(difference_fd, path)
        try:
            to_fd = open_directory(tree_fd, path)
            try:
                time_ns = os.fstat(from_fd).st_mtime_ns
                pending += [_joined(path, name) for name in _merge_directory(from_fd, to_fd)]
                os.utime(from_fd, ns=(time_ns, time_ns))  # what was moved out has changed it
            finally:
                os.close(to_fd)
        finally:
            os.close(from_fd)
        merged.append(path)
    for path in reversed(merged):
        _copy_metadata(difference_fd, tree_fd, path)


def _joined(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name


def _merge_directory(from_fd: int, to_fd: int) -> list[bytes]:
    """Merge one directory; return the names of those below that exist on both sides."""
    names = sorted(os.fsencode(name) for name in os.listdir(from_fd))
    if OPAQUE_MARKER in names:
        for lower_name in os.listdir(to_fd):
            remove_entry(to_fd, os.fsencode(lower_name))
    for name in names:
        if name.startswith(WHITEOUT_PREFIX):
            os.unlink(name, dir_fd=from_fd)
            if name != OPAQUE_MARKER:
                remove_entry(to_fd, name[len(WHITEOUT_PREFIX) :])
    return [
        name
        for name in names
        if not name.startswith(WHITEOUT_PREFIX) and not _moved(from_fd, to_fd, name)
    ]


def _moved(from_fd: int, to_fd: int, name: bytes) -> bool:
    """Move what replaces or is new; False for a directory that merges into another."""
    if _is_directory(from_fd, name):
        if _is_directory(to_fd, name):
            return False
        # Whiteouts may be deeper in it: make it and let the merge go on below.
        remove_entry(to_fd, name)
        os.mkdir(name, 0o700, dir_fd=to_fd)
        return False
    remove_entry(to_fd, name)
    os.rename(name, name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
    return True


def _is_directory(dir_fd: int, name: bytes) -> bool:
    try:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode)


def _copy_metadata(difference_fd: int, tree_fd: int, path: bytes) -> None:
    from_fd = open_directory(difference_fd, path)
    try:
        to_fd = open_directory(tree_fd, path)
        try:
            member = member_of(os.fstat(from_fd))
            member.xattrs = read_xattrs(from_fd)
            apply_to_fd(to_fd, member, with_owner=os.geteuid() == 0)
        finally:
            os.close(to_fd)
    finally:
        os.close(from_fd)
