# SPDX-License-Identifier: Apache-2.0
"""Unpacking an archive that nobody vouches for (rows S-50, S-51, S-56).

No path of the archive is ever given to the kernel as text from the root of the
host. A member's directory is opened with openat2(RESOLVE_IN_ROOT), so links the
archive has made before, absolute ones too, stay inside; the member itself is
made by one name relative to that descriptor, without following a link there.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from toolkit.errors import KernelCallError, StorageError, UnsafeArchiveError
from toolkit.kernel.paths import open_in_root
from toolkit.storage import metadata, tarformat
from toolkit.storage.compression import ByteSource, PlainStream
from toolkit.storage.directories import LinkLeadsNowhereError, OpenDirectories
from toolkit.storage.limits import ArchiveLimits
from toolkit.storage.metadata import OPAQUE_XATTR, is_whiteout
from toolkit.storage.names import (
    WHITEOUT_PREFIX,
    Mark,
    Whiteouts,
    clean_name,
    mark_of,
    printable,
)
from toolkit.storage.replacing import check_kind, is_linkable
from toolkit.storage.tarreader import TarReader
from toolkit.storage.trees import remove_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from toolkit.storage.recipe import RecipeWriter
    from toolkit.storage.tarformat import Member

_Made = TypeVar("_Made")

_O_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_O_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_PENDING_TIMES: Final = 50_000
_DEVICES: Final = {
    tarformat.CHARACTER_DEVICE: stat.S_IFCHR,
    tarformat.BLOCK_DEVICE: stat.S_IFBLK,
}
_WITH_MODE: Final = frozenset({tarformat.REGULAR, tarformat.DIRECTORY})
# What the machine lacks, as opposed to what the archive asks for.
_HOST_FAULTS: Final = frozenset(
    {
        errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE,
        errno.EROFS, errno.ENOMEM, errno.EPERM, errno.EACCES,
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """What an archive was.

    Attributes:
        diff_id: Digest of the uncompressed archive.
        size_bytes: Sum of the sizes of its files.
        members: How many were made.
        hides_all_below: The layer's root is opaque: no lower layer is seen.
    """

    diff_id: str
    size_bytes: int
    members: int
    hides_all_below: bool = False


@dataclass(frozen=True)
class Stamp:
    """What every member gets, whatever the archive says; None leaves it as it is.

    Attributes:
        owner: User and group.
        mode: Of files and directories.
    """

    owner: tuple[int, int] | None = None
    mode: int | None = None

    def apply_to(self, member: Member) -> None:
        """Give it to a member."""
        if self.owner is not None:
            member.uid, member.gid = self.owner
        if self.mode is not None and member.kind in _WITH_MODE:
            member.mode = self.mode


def unpack_tree(
    source: ByteSource,
    root_fd: int,
    *,
    whiteouts: Whiteouts = Whiteouts.NONE,
    limits: ArchiveLimits | None = None,
    devices: bool = True,
    with_owner: bool | None = None,
    recipe: RecipeWriter | None = None,
    below: bytes = b"",
    keep_kinds: bool = False,
    stamp: Stamp | None = None,
) -> Unpacked:
    """Unpack an archive below *root_fd*, and nowhere else.

    What exists is replaced, but a directory of the archive merges into one that
    is there. After an error the tree holds a part of the archive.

    Args:
        source: Plain tar, or compressed with gzip, bzip2, xz or zstd.
        root_fd: Where names begin; opened for reading.
        whiteouts: What ``.wh.<name>`` becomes.
        limits: None takes `ArchiveLimits.for_directory`.
        devices: False refuses device files.
        with_owner: Keep owners; None does so as root.
        recipe: Takes down what it needs to make the archive again; the caller finishes it.
        below: A directory below the root, without links in its path: names begin
            there, but links may lead to anywhere in the root.
        keep_kinds: A directory is not replaced by another thing, nor the reverse.
        stamp: What everything gets, whatever the archive says.

    Raises:
        UnsafeArchiveError: A member cannot or must not be made; it is named.
        StorageError: The machine could not make it.
    """
    limits = limits or ArchiveLimits.for_directory(root_fd)
    stream = PlainStream(source, limit_bytes=limits.stream_bytes, recipe=recipe)
    keeps_owner = os.geteuid() == 0 if with_owner is None else with_owner
    writer = _TreeWriter(root_fd, TarReader(stream, limits), whiteouts, limits.members)
    writer.allows_devices = devices
    writer.with_owner = keeps_owner
    writer.below, writer.keeps_kinds, writer.stamp = below, keep_kinds, stamp or Stamp()
    with writer.opened():
        writer.write_all()
    return Unpacked(
        diff_id=stream.digest,
        size_bytes=writer.size_bytes,
        members=writer.members,
        hides_all_below=writer.hides_all_below,
    )


class _TreeWriter:
    """Makes the members of one archive, each by a single name in an open directory."""

    def __init__(
        self, root_fd: int, reader: TarReader, whiteouts: Whiteouts, most_members: int
    ) -> None:
        self._root_fd = root_fd
        self._reader = reader
        self._whiteouts = whiteouts
        self._most_members = most_members
        self._directories = OpenDirectories(root_fd)
        self._times: dict[bytes, int] = {}
        self.allows_devices = True
        self.with_owner = True
        self.below = b""
        self.keeps_kinds = False
        self.stamp = Stamp()
        self.size_bytes = 0
        self.members = 0
        self.hides_all_below = False

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Close whatever was opened when the block ends."""
        try:
            yield
        finally:
            self._directories.forget()

    def write_all(self) -> None:
        """Make every member, and give the directories their times at the end."""
        for member in self._reader:
            try:
                self._write(member)
            except LinkLeadsNowhereError:
                raise UnsafeArchiveError(
                    printable(member.name),
                    "its directory is a link that leads nowhere in the archive",
                ) from None
            except OSError as error:
                raise _fault(member, error.errno or 0) from error
            except KernelCallError as error:
                raise _fault(member, error.errno) from error
        self._set_times()

    def _write(self, member: Member) -> None:
        mark = Mark.PLAIN if self._whiteouts is Whiteouts.NONE else mark_of(member.name)
        if mark is Mark.IGNORED:
            return
        path = self._path(member.name)
        parent, _, name = path.rpartition(b"/")
        self.stamp.apply_to(member)
        if not name:
            self._write_root(member)
            return
        parent_fd = self._directories.opened(parent)
        self.members += 1
        if self.members + self._directories.made > self._most_members:
            raise UnsafeArchiveError(
                printable(member.name), f"it needs more than the {self._most_members} files allowed"
            )
        if self.keeps_kinds:
            check_kind(member, parent_fd, name)
        if mark is Mark.PLAIN:
            self._make(member, parent_fd, path, name)
        elif self._whiteouts is Whiteouts.KEEP:
            self._make_marker(parent_fd, name)
        elif mark is Mark.OPAQUE:
            self._make_opaque(parent_fd)
            self.hides_all_below = self.hides_all_below or not parent
        else:
            self._make_whiteout(parent_fd, name[len(WHITEOUT_PREFIX) :])

    def _path(self, name: bytes) -> bytes:
        path = clean_name(name)
        return self.below + b"/" + path if self.below and path else self.below or path

    def _write_root(self, member: Member) -> None:
        if member.kind != tarformat.DIRECTORY:
            raise UnsafeArchiveError(printable(member.name), "the root can only be a directory")
        root_fd = os.open(b".", _O_DIRECTORY, dir_fd=self._root_fd)
        try:
            metadata.apply_to_fd(root_fd, member, with_owner=self.with_owner)
        finally:
            os.close(root_fd)
        self._times[b""] = member.mtime_ns

    def _make(self, member: Member, parent_fd: int, path: bytes, name: bytes) -> None:
        if member.kind == tarformat.REGULAR:
            self._make_file(member, parent_fd, name)
        elif member.kind == tarformat.DIRECTORY:
            self._make_directory(member, parent_fd, path, name)
        elif member.kind == tarformat.SYMLINK:
            self._replace(parent_fd, name, lambda: os.symlink(member.link, name, dir_fd=parent_fd))
            metadata.apply_to_name(parent_fd, name, member, with_owner=self.with_owner)
        elif member.kind == tarformat.HARD_LINK:
            self._make_hard_link(member, parent_fd, path, name)
        elif member.kind == tarformat.FIFO or member.kind in _DEVICES:
            self._make_special(member, parent_fd, name)
        else:
            kind = printable(member.kind)
            raise UnsafeArchiveError(printable(member.name), f"unknown kind of member {kind!r}")

    def _make_file(self, member: Member, parent_fd: int, name: bytes) -> None:
        file_fd = self._replace(
            parent_fd, name, lambda: os.open(name, _O_NEW_FILE, 0o600, dir_fd=parent_fd)
        )
        try:
            if member.size:
                self._reader.copy_content(file_fd)
            metadata.apply_to_fd(file_fd, member, with_owner=self.with_owner)
        finally:
            os.close(file_fd)
        self.size_bytes += member.size

    def _make_directory(self, member: Member, parent_fd: int, path: bytes, name: bytes) -> None:
        hides_lower = False
        try:
            os.mkdir(name, 0o700, dir_fd=parent_fd)
        except FileExistsError:
            existing = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
            if not stat.S_ISDIR(existing.st_mode):
                hides_lower = self._whiteouts is Whiteouts.OVERLAY and is_whiteout(existing)
                self._clear(parent_fd, name)
                os.mkdir(name, 0o700, dir_fd=parent_fd)
        dir_fd = os.open(name, _O_DIRECTORY, dir_fd=parent_fd)
        try:
            metadata.apply_to_fd(dir_fd, member, with_owner=self.with_owner)
            if hides_lower:
                os.setxattr(dir_fd, OPAQUE_XATTR, b"y")
        except BaseException:
            os.close(dir_fd)
            raise
        self._directories.remember(path, dir_fd)
        if len(self._times) >= _MOST_PENDING_TIMES:
            self._set_times()
        self._times[path] = member.mtime_ns

    def _make_hard_link(self, member: Member, parent_fd: int, path: bytes, name: bytes) -> None:
        try:
            target = self._path(member.link)
        except UnsafeArchiveError:
            raise UnsafeArchiveError(
                printable(member.name), "it is a hard link that leads out of the archive's root"
            ) from None
        if not target or target == path or self._is_mark(member.link):
            raise UnsafeArchiveError(printable(member.name), "it is a hard link to no file")
        target_parent, _, target_name = target.rpartition(b"/")
        target_fd = open_in_root(self._root_fd, target_parent or b"/", os.O_PATH | os.O_DIRECTORY)
        try:
            if not is_linkable(target_fd, target_name):
                raise UnsafeArchiveError(printable(member.name), "it is a hard link to no file")
            self._replace(
                parent_fd,
                name,
                lambda: os.link(
                    target_name,
                    name,
                    src_dir_fd=target_fd,
                    dst_dir_fd=parent_fd,
                    follow_symlinks=False,
                ),
            )
        finally:
            os.close(target_fd)

    def _is_mark(self, name: bytes) -> bool:
        return self._whiteouts is not Whiteouts.NONE and mark_of(name) is not Mark.PLAIN

    def _make_special(self, member: Member, parent_fd: int, name: bytes) -> None:
        if member.kind == tarformat.FIFO:
            self._replace(parent_fd, name, lambda: os.mkfifo(name, 0o600, dir_fd=parent_fd))
        else:
            if member.device == (0, 0):  # a whiteout that did not come by its name (row S-33)
                return
            if not self.allows_devices:
                raise UnsafeArchiveError(printable(member.name), "devices are not allowed here")
            mode = _DEVICES[member.kind] | 0o600
            number = os.makedev(*member.device)
            self._replace(parent_fd, name, lambda: os.mknod(name, mode, number, dir_fd=parent_fd))
        metadata.apply_to_name(parent_fd, name, member, with_owner=self.with_owner)

    def _make_marker(self, parent_fd: int, name: bytes) -> None:
        marker_fd = self._replace(
            parent_fd, name, lambda: os.open(name, _O_NEW_FILE, 0o600, dir_fd=parent_fd)
        )
        os.close(marker_fd)

    def _make_whiteout(self, parent_fd: int, name: bytes) -> None:
        """Hide what lower layers call *name*; what this layer calls so stays."""
        try:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent_fd)
        except FileExistsError:
            existing = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
            if not stat.S_ISDIR(existing.st_mode):
                return
            dir_fd = os.open(name, _O_DIRECTORY, dir_fd=parent_fd)
            try:
                self._make_opaque(dir_fd)
            finally:
                os.close(dir_fd)

    def _make_opaque(self, dir_fd: int) -> None:
        readable_fd = os.open(b".", _O_DIRECTORY, dir_fd=dir_fd)
        try:
            os.setxattr(readable_fd, OPAQUE_XATTR, b"y")
        finally:
            os.close(readable_fd)

    def _replace(self, parent_fd: int, name: bytes, make: Callable[[], _Made]) -> _Made:
        try:
            return make()
        except FileExistsError:
            self._clear(parent_fd, name)
            return make()

    def _clear(self, parent_fd: int, name: bytes) -> None:
        remove_entry(parent_fd, name)
        # Any other directory may have been reached through what is gone now.
        self._directories.forget(but=parent_fd)

    def _set_times(self) -> None:
        for path, time_ns in self._times.items():
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
            try:
                dir_fd = open_in_root(self._root_fd, path or b"/", flags)
            except KernelCallError:  # replaced or removed by a later member
                continue
            try:
                os.utime(f"/proc/self/fd/{dir_fd}", ns=(time_ns, time_ns))
            finally:
                os.close(dir_fd)
        self._times.clear()


def _fault(member: Member, number: int) -> Exception:
    reason = os.strerror(number)
    if number in _HOST_FAULTS:
        return StorageError(f"cannot unpack {printable(member.name)!r}: {reason}")
    return UnsafeArchiveError(printable(member.name), reason)
