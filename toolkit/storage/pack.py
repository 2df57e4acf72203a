# SPDX-License-Identifier: Apache-2.0
"""Packing a tree that nobody vouches for into a reproducible archive.

The same tree gives the same bytes: names sorted, ids as numbers, no clock of
ours. Nothing outside the tree is read whatever links it holds, and nothing that
blocks is opened (row S-63).
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from toolkit.errors import StorageError
from toolkit.storage import tarformat
from toolkit.storage.changes import Change, Kind
from toolkit.storage.metadata import OPAQUE_XATTR, is_whiteout, read_xattrs
from toolkit.storage.names import OPAQUE_MARKER, WHITEOUT_PREFIX, printable
from toolkit.storage.tarformat import END_OF_ARCHIVE, Member, format_member, padding
from toolkit.storage.trees import Entry, walk_tree

if TYPE_CHECKING:
    from collections.abc import Iterable

_CHUNK_BYTES: Final = 1024 * 1024
_LEAST_SPARSE_BYTES: Final = 64 * 1024
_MOST_SEGMENTS: Final = 16_384
_O_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_GONE: Final = frozenset({errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR})


class ByteSink(Protocol):
    """Anything with the `write` of a binary file."""

    def write(self, data: bytes, /) -> object:
        """Take all of *data*."""


def pack_tree(
    root_fd: int,
    out: ByteSink,
    *,
    prefix: bytes = b"",
    whiteouts: bool = False,
    with_root: bool = True,
) -> None:
    """Write everything below a directory, and its own metadata, as a tar archive.

    Sockets are left out; what vanishes meanwhile too. A file that shrinks
    meanwhile is filled with zeros, one that grows is cut off.

    Args:
        root_fd: The directory, opened for reading.
        out: Takes the archive.
        prefix: Begins each name: ``b"./"`` for names as docker's export has them.
        whiteouts: The tree is an overlay's difference: write what hides lower
            layers as ``.wh.<name>`` members.
        with_root: Also the directory itself, and not only what is in it.

    Raises:
        StorageError: Something could not be read; it is named.
    """
    packer = _Packer(out, prefix, whiteouts=whiteouts)
    for entry in walk_tree(root_fd):
        if not entry.path and not with_root:
            continue
        try:
            packer.add(entry)
        except OSError as error:
            raise StorageError(
                f"cannot read {printable(entry.path)!r}: {error.strerror}"
            ) from error
    out.write(END_OF_ARCHIVE)


def pack_changes(root_fd: int, changes: Iterable[Change], out: ByteSink) -> None:
    """Write what changed in a whole tree as a layer's archive (rule 9.35).

    Raises:
        StorageError: Something could not be read; it is named.
    """
    deleted, wanted = [], set()
    for change in changes:
        if change.kind is Kind.DELETE:
            deleted.append(change.path[1:])
        else:
            wanted.add(change.path[1:])
    packer = _Packer(out, b"", whiteouts=False)
    for entry in walk_tree(root_fd):
        if entry.path and entry.path not in wanted:
            continue
        try:
            packer.add(entry)
        except OSError as error:
            raise StorageError(
                f"cannot read {printable(entry.path)!r}: {error.strerror}"
            ) from error
    for path in sorted(deleted):
        directory, slash, name = path.rpartition(b"/")
        out.write(format_member(Member(directory + slash + WHITEOUT_PREFIX + name, mode=0o600)))
    out.write(END_OF_ARCHIVE)


def pack_entry(entry: Entry, name: bytes, out: ByteSink) -> None:
    """Write one thing that is no directory as an archive, by a name of its own.

    Raises:
        StorageError: It could not be read.
    """
    try:
        _Packer(out, name, whiteouts=False).add(entry)
    except OSError as error:
        raise StorageError(f"cannot read {printable(name)!r}: {error.strerror}") from error
    out.write(END_OF_ARCHIVE)


@dataclass
class _Packer:
    """The writing side of one archive."""

    out: ByteSink
    prefix: bytes
    whiteouts: bool = field(kw_only=True)
    _linked: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Write one thing of the tree."""
        mode = entry.status.st_mode
        member = self._member(entry)
        if stat.S_ISDIR(mode):
            self._add_directory(entry, member)
        elif self.whiteouts and is_whiteout(entry.status):
            self._add_marker(entry, WHITEOUT_PREFIX + entry.name)
        elif stat.S_ISSOCK(mode):
            return
        elif self._is_linked_already(entry, member):
            self.out.write(format_member(member))
        elif stat.S_ISREG(mode):
            self._add_file(entry, member)
        else:
            self._add_special(entry, member)

    def _member(self, entry: Entry) -> Member:
        status = entry.status
        return Member(
            self.prefix + entry.path,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            mtime_ns=status.st_mtime_ns,
        )

    def _add_directory(self, entry: Entry, member: Member) -> None:
        member.kind = tarformat.DIRECTORY
        member.name = member.name + b"/" if entry.path else self.prefix or b"./"
        try:
            dir_fd = os.open(entry.name, _O_READ | os.O_DIRECTORY, dir_fd=entry.parent_fd)
        except OSError as error:
            if error.errno in _GONE:
                return
            raise
        try:
            member.xattrs = read_xattrs(dir_fd)
            is_opaque = self.whiteouts and _is_opaque(dir_fd)
        finally:
            os.close(dir_fd)
        self.out.write(format_member(member))
        if is_opaque:
            marker = self._member(entry)
            marker.name = member.name + OPAQUE_MARKER
            self.out.write(format_member(marker))

    def _add_marker(self, entry: Entry, name: bytes) -> None:
        marker = self._member(entry)
        directory, slash, _ = marker.name.rpartition(b"/")
        marker.name = directory + slash + name
        self.out.write(format_member(marker))

    def _is_linked_already(self, entry: Entry, member: Member) -> bool:
        if entry.status.st_nlink == 1:
            return False
        inode = (entry.status.st_dev, entry.status.st_ino)
        first = self._linked.setdefault(inode, member.name)
        if first == member.name:
            return False
        member.kind, member.link = tarformat.HARD_LINK, first
        return True

    def _add_file(self, entry: Entry, member: Member) -> None:
        try:
            file_fd = os.open(entry.name, _O_READ, dir_fd=entry.parent_fd)
        except OSError as error:
            if error.errno in _GONE:
                return
            raise
        try:
            status = os.fstat(file_fd)
            if not stat.S_ISREG(status.st_mode):  # another thing has taken its name
                return
            member.size = member.stored_bytes = status.st_size
            member.xattrs = read_xattrs(file_fd)
            segments = _segments(file_fd, status)
            if segments is not None:
                self._write_sparse(member, file_fd, segments)
                return
            self.out.write(format_member(member))
            self._copy_content(file_fd, status.st_size)
            self.out.write(padding(status.st_size))
        finally:
            os.close(file_fd)

    def _copy_content(self, file_fd: int, size: int) -> None:
        left = size
        while left > 0 and (piece := os.read(file_fd, min(left, _CHUNK_BYTES))):
            self.out.write(piece)
            left -= len(piece)
        while left > 0:
            piece = bytes(min(left, _CHUNK_BYTES))
            self.out.write(piece)
            left -= len(piece)

    def _write_sparse(self, member: Member, file_fd: int, segments: list[tuple[int, int]]) -> None:
        """Write a file with holes as GNU tar does (its manual, "Sparse Formats", 1.0)."""
        numbers = [len(segments), *(number for segment in segments for number in segment)]
        table = b"".join(b"%d\n" % number for number in numbers)
        table += padding(len(table))
        member.segments = segments
        member.stored_bytes = len(table) + sum(length for _, length in segments)
        self.out.write(format_member(member))
        self.out.write(table)
        for offset, length in segments:
            os.lseek(file_fd, offset, os.SEEK_SET)
            self._copy_content(file_fd, length)
        self.out.write(padding(member.stored_bytes))

    def _add_special(self, entry: Entry, member: Member) -> None:
        mode = entry.status.st_mode
        if stat.S_ISLNK(mode):
            member.kind = tarformat.SYMLINK
            try:
                member.link = os.readlink(entry.name, dir_fd=entry.parent_fd)
            except FileNotFoundError:
                return
        elif stat.S_ISFIFO(mode):
            member.kind = tarformat.FIFO
        else:
            character = stat.S_ISCHR(mode)
            member.kind = tarformat.CHARACTER_DEVICE if character else tarformat.BLOCK_DEVICE
            member.device = (os.major(entry.status.st_rdev), os.minor(entry.status.st_rdev))
        self.out.write(format_member(member))


def _segments(file_fd: int, status: os.stat_result) -> list[tuple[int, int]] | None:
    """Return where a file's content is, the last one at its end; None for one without holes."""
    size = status.st_size
    if size < _LEAST_SPARSE_BYTES or status.st_blocks * 512 >= size:
        return None
    found: list[tuple[int, int]] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(file_fd, at, os.SEEK_DATA)
            at = min(os.lseek(file_fd, start, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            return None
        if start >= size or len(found) >= _MOST_SEGMENTS:
            return None
        found.append((start, at - start))
    os.lseek(file_fd, 0, os.SEEK_SET)
    return None if found == [(0, size)] else [*found, (size, 0)]


def _is_opaque(dir_fd: int) -> bool:
    try:
        return os.getxattr(dir_fd, OPAQUE_XATTR) == b"y"
    except OSError:
        return False
