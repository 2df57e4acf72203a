# SPDX-License-Identifier: Apache-2.0
"""Copying a tree with all that it is: owners, modes, times, attributes, hard links, devices.

By descriptor on both sides: no link of either tree is followed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import Final

from toolkit.errors import StorageError
from toolkit.storage import tarformat
from toolkit.storage.metadata import apply_to_fd, apply_to_name, read_xattrs
from toolkit.storage.names import printable
from toolkit.storage.tarformat import Member
from toolkit.storage.trees import Entry, open_directory, walk_tree

_FICLONE: Final = 0x40049409  # ioctl(2): share the blocks, where the file system can
_CHUNK_BYTES: Final = 1024 * 1024
_O_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_O_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_CLONE: Final = frozenset({errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY})


def copy_tree(source_fd: int, target_fd: int) -> None:
    """Copy everything below one directory, and its own metadata, into an empty one.

    Sockets are left out.

    Raises:
        StorageError: Something could not be copied; it is named.
    """
    copy = _TreeCopy(target_fd)
    try:
        for entry in walk_tree(source_fd):
            try:
                copy.add(entry)
            except OSError as error:
                name = printable(entry.path)
                raise StorageError(f"cannot copy {name!r}: {error.strerror}") from error
    finally:
        copy.close()


class _TreeCopy:
    """The target side of one copy."""

    def __init__(self, target_fd: int) -> None:
        self._root_fd = target_fd
        self._parent: tuple[bytes, int] | None = None
        self._linked: dict[tuple[int, int], bytes] = {}
        self._times: list[tuple[bytes, int]] = []
        self._with_owner = os.geteuid() == 0

    def add(self, entry: Entry) -> None:
        """Make the same thing in the target."""
        member = member_of(entry.status)
        parent_fd = self._parent_fd(entry.path.rpartition(b"/")[0])
        mode = entry.status.st_mode
        if not entry.path or stat.S_ISDIR(mode):
            self._make_directory(entry, parent_fd, member)
        elif self._make_link_again(entry, parent_fd) or stat.S_ISSOCK(mode):
            return
        elif stat.S_ISREG(mode):
            self._copy_file(entry, parent_fd, member)
        else:
            if stat.S_ISLNK(mode):
                os.symlink(
                    os.readlink(entry.name, dir_fd=entry.parent_fd), entry.name, dir_fd=parent_fd
                )
            else:
                kind = stat.S_IFMT(mode)
                os.mknod(entry.name, kind | 0o600, entry.status.st_rdev, dir_fd=parent_fd)
            apply_to_name(parent_fd, entry.name, member, with_owner=self._with_owner)

    def close(self) -> None:
        """Give the directories their times: filling them had changed those."""
        if self._parent:
            os.close(self._parent[1])
        for path, time_ns in reversed(self._times):
            dir_fd = open_directory(self._root_fd, path)
            try:
                os.utime(dir_fd, ns=(time_ns, time_ns))
            finally:
                os.close(dir_fd)

    def _parent_fd(self, path: bytes) -> int:
        if self._parent is None or self._parent[0] != path:
            parent_fd = open_directory(self._root_fd, path)
            if self._parent:
                os.close(self._parent[1])
            self._parent = (path, parent_fd)
        return self._parent[1]

    def _make_directory(self, entry: Entry, parent_fd: int, member: Member) -> None:
        if entry.path:
            os.mkdir(entry.name, 0o700, dir_fd=parent_fd)
        source_fd = os.open(entry.name, _O_READ | os.O_DIRECTORY, dir_fd=entry.parent_fd)
        target_fd = os.open(entry.name, _O_READ | os.O_DIRECTORY, dir_fd=parent_fd)
        try:
            member.xattrs = read_xattrs(source_fd)
            apply_to_fd(target_fd, member, with_owner=self._with_owner)
        finally:
            os.close(source_fd)
            os.close(target_fd)
        self._times.append((entry.path, member.mtime_ns))

    def _make_link_again(self, entry: Entry, parent_fd: int) -> bool:
        status = entry.status
        if status.st_nlink == 1:
            return False
        inode = (status.st_dev, status.st_ino)
        first = self._linked.setdefault(inode, entry.path)
        if first == entry.path:
            return False
        directory, _, name = first.rpartition(b"/")
        first_fd = open_directory(self._root_fd, directory)
        try:
            os.link(
                name,
                entry.name,
                src_dir_fd=first_fd,
                dst_dir_fd=parent_fd,
                follow_symlinks=False,
            )
        finally:
            os.close(first_fd)
        return True

    def _copy_file(self, entry: Entry, parent_fd: int, member: Member) -> None:
        source_fd = os.open(entry.name, _O_READ, dir_fd=entry.parent_fd)
        try:
            target_fd = os.open(entry.name, _O_NEW_FILE, 0o600, dir_fd=parent_fd)
            try:
                _copy_content(source_fd, target_fd)
                member.xattrs = read_xattrs(source_fd)
                apply_to_fd(target_fd, member, with_owner=self._with_owner)
            finally:
                os.close(target_fd)
        finally:
            os.close(source_fd)


def member_of(status: os.stat_result) -> Member:
    """Return a status as a member of an archive: kind and content are still to come."""
    return Member(
        b"",
        tarformat.SYMLINK if stat.S_ISLNK(status.st_mode) else tarformat.REGULAR,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        mtime_ns=status.st_mtime_ns,
    )


def _copy_content(source_fd: int, target_fd: int) -> None:
    try:
        fcntl.ioctl(target_fd, _FICLONE, source_fd)
    except OSError as error:
        if error.errno not in _NO_CLONE:
            raise
    else:
        return
    size = os.fstat(source_fd).st_size
    at = 0
    while at < size:
        try:  # holes stay holes
            start = os.lseek(source_fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        at = os.lseek(source_fd, start, os.SEEK_HOLE)
        os.lseek(source_fd, start, os.SEEK_SET)
        os.lseek(target_fd, start, os.SEEK_SET)
        _copy_range(source_fd, target_fd, at - start)
    os.ftruncate(target_fd, size)


def _copy_range(source_fd: int, target_fd: int, size: int) -> None:
    while size > 0:
        copied = os.sendfile(target_fd, source_fd, None, min(size, _CHUNK_BYTES))
        if copied == 0:  # the file shrank meanwhile
            return
        size -= copied
