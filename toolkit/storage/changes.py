# SPDX-License-Identifier: Apache-2.0
"""What differs between two trees (rules 9.24 and 9.28 to 9.31).

The new tree is whole, or an overlay's upper directory; both give the same changes.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, Self

from toolkit.errors import KernelCallError
from toolkit.storage.metadata import OPAQUE_XATTR, is_whiteout
from toolkit.storage.trees import Entry, open_directory, walk_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


_O_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Kind(IntEnum):
    """What happened to a path, in docker's numbers."""

    MODIFY = 0
    ADD = 1
    DELETE = 2


@dataclass(frozen=True, order=True)
class Change:
    """One path that differs; *path* is absolute.

    Attributes:
        size_bytes: Of the file that was added or changed; 0 for anything else.
    """

    path: bytes
    kind: Kind
    size_bytes: int = 0

    def __str__(self) -> str:
        return f"{'CAD'[self.kind]} {os.fsdecode(self.path)}"


class Metadata(NamedTuple):
    """What of a status is compared, by the names of `os.stat_result`."""

    st_mode: int
    st_uid: int
    st_gid: int
    st_rdev: int
    st_size: int
    st_mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return what counts of a status."""
        return cls(*(getattr(status, name) for name in cls._fields))


def directory_changes(
    new_fd: int, old_fd: int, made: Mapping[bytes, Metadata] | None = None
) -> list[Change]:
    """Return what makes the new tree differ from the old one, sorted by path.

    Contents are not compared: a file differs by mode, owner, device, time or size.

    Args:
        new_fd: The tree as it is.
        old_fd: The tree as it was.
        made: What was put into the old tree beside, by path: it counts as there.
    """
    changes: list[Change] = []
    with _OldTree(old_fd, made or {}) as old:
        for entry in walk_tree(new_fd):
            if not entry.path:
                changes += old.missing_in(b"", entry)
                continue
            before = old.status(entry.path)
            if before is None:
                changes.append(_change(entry, Kind.ADD))
            elif _differs(entry.status, before):
                changes.append(_change(entry, Kind.MODIFY))
            if stat.S_ISDIR(entry.status.st_mode) and before and stat.S_ISDIR(before.st_mode):
                changes += old.missing_in(entry.path, entry)
    return sorted(changes)


def upper_changes(upper_fd: int, old_fd: int) -> list[Change]:
    """Return what an overlay's upper directory makes of the tree below it, sorted by path.

    Only the upper directory is walked.
    """
    changes: list[Change] = []
    with _OldTree(old_fd, {}) as old:
        for entry in walk_tree(upper_fd):
            before = old.status(entry.path) if entry.path else None
            if is_whiteout(entry.status):
                if before is not None:
                    changes.append(Change(b"/" + entry.path, Kind.DELETE))
                continue
            if entry.path and before is None:
                changes.append(_change(entry, Kind.ADD))
            elif before is not None and _differs(entry.status, before):
                changes.append(_change(entry, Kind.MODIFY))
            was_directory = before is not None and stat.S_ISDIR(before.st_mode)
            if was_directory and _is_opaque(entry):
                changes += old.missing_in(entry.path, entry)
    return sorted(changes)


def _is_opaque(entry: Entry) -> bool:
    if not stat.S_ISDIR(entry.status.st_mode):
        return False
    dir_fd = os.open(entry.name, _O_DIRECTORY, dir_fd=entry.parent_fd)
    try:
        return os.getxattr(dir_fd, OPAQUE_XATTR) == b"y"
    except OSError:
        return False
    finally:
        os.close(dir_fd)


def changed_bytes(changes: Iterable[Change]) -> int:
    """Return the size of all files that were added or changed (rule 9.31)."""
    return sum(change.size_bytes for change in changes)


def _change(entry: Entry, kind: Kind) -> Change:
    is_directory = stat.S_ISDIR(entry.status.st_mode)
    return Change(b"/" + entry.path, kind, 0 if is_directory else entry.status.st_size)


def _differs(new: os.stat_result, old: os.stat_result | Metadata) -> bool:
    return (
        (new.st_mode, new.st_uid, new.st_gid, new.st_rdev, new.st_mtime_ns)
        != (old.st_mode, old.st_uid, old.st_gid, old.st_rdev, old.st_mtime_ns)
    ) or (new.st_size != old.st_size and not stat.S_ISDIR(old.st_mode))


class _OldTree:
    """The tree to compare with: one directory of it is open at a time."""

    def __init__(self, root_fd: int, made: Mapping[bytes, Metadata]) -> None:
        self._root_fd = root_fd
        self._made = made
        self._made_in: dict[bytes, set[bytes]] = {}
        for path in made:
            directory, _, name = path.rpartition(b"/")
            self._made_in.setdefault(directory, set()).add(name)
        self._path: bytes | None = None
        self._dir_fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def status(self, path: bytes) -> os.stat_result | Metadata | None:
        """Return what a path is in the old tree; None if it or its directory is not there."""
        if path in self._made:
            return self._made[path]
        parent, _, name = path.rpartition(b"/")
        if not self._open(parent):
            return None
        try:
            return os.stat(name, dir_fd=self._dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def missing_in(self, path: bytes, entry: Entry) -> Iterator[Change]:
        """Yield what a directory has here and no longer has in the new tree."""
        known = set(self._made_in.get(path, ()))
        if self._open(path):
            known |= _names(self._dir_fd)
        if not known:
            return
        new_fd = os.open(entry.name, _O_DIRECTORY, dir_fd=entry.parent_fd)
        try:
            gone = known - _names(new_fd)
        finally:
            os.close(new_fd)
        prefix = b"/" + path + b"/" if path else b"/"
        for name in gone:
            yield Change(prefix + name, Kind.DELETE)

    def _open(self, path: bytes) -> bool:
        if path != self._path:
            self._close()
            try:
                self._dir_fd = open_directory(self._root_fd, path)
            except KernelCallError:
                return False
            self._path = path
        return True

    def _close(self) -> None:
        if self._dir_fd >= 0:
            os.close(self._dir_fd)
        self._dir_fd, self._path = -1, None


def _names(dir_fd: int) -> set[bytes]:
    return {os.fsencode(name) for name in os.listdir(dir_fd)}
