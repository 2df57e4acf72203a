# SPDX-License-Identifier: Apache-2.0
"""The places in a root that a container's mounts need: the init layer (rule 9.42).

A file or link of the image on the way to such a place gives way, so that no
mount follows a link that the image brought (row S-24). `/.dockerinit` of 0.7.2
is left out: no program of ours is mounted into a container.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from toolkit.storage.metadata import OPAQUE_XATTR, is_whiteout, read_xattrs, set_xattrs

if TYPE_CHECKING:
    from collections.abc import Sequence

INIT_VERSION: Final = 1  # of the tables below: another number makes new init layers

_DIRECTORIES: Final = (b"dev/pts", b"dev/shm", b"proc", b"sys")
_FILES: Final = (
    b".dockerenv",
    b"dev/console",
    b"etc/hostname",
    b"etc/hosts",
    b"etc/resolv.conf",
)
_LINKS: Final = ((b"etc/mtab", b"/proc/mounts"),)
MOUNT_POINTS: Final = frozenset(
    b"/" + path for path in (*_DIRECTORIES, *_FILES, *(path for path, _ in _LINKS))
)
# What may be made or changed on the way to them.
TOUCHED_PATHS: Final = sorted(
    {
        path[: match + 1].strip(b"/")
        for path in (whole + b"/" for whole in MOUNT_POINTS)
        for match in range(1, len(path))
        if path[match : match + 1] == b"/"
    }
)
_MODE: Final = 0o755
_O_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class _Point:
    """A place to be made, and what is to be below it."""

    kind: str = "dir"
    link: bytes = b""
    below: dict[bytes, _Point] = field(default_factory=dict)


def _points() -> _Point:
    root = _Point()
    for path, kind, link in (
        *((path, "dir", b"") for path in _DIRECTORIES),
        *((path, "file", b"") for path in _FILES),
        *((path, "link", link) for path, link in _LINKS),
    ):
        at = root
        for name in path.split(b"/"):
            at = at.below.setdefault(name, _Point())
        at.kind, at.link = kind, link
    return root


_ROOT: Final = _points()


def make_mount_points(root_fd: int) -> None:
    """Make the mount points in a whole tree, in place."""
    _make_in_place(root_fd, _ROOT)


def _make_in_place(dir_fd: int, point: _Point) -> None:
    for name, wanted in point.below.items():
        with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            os.unlink(name, dir_fd=dir_fd)
        with suppress(FileExistsError):  # a directory stays, whatever was wanted
            _make(dir_fd, name, wanted)
        if wanted.below:
            below_fd = os.open(name, _O_DIRECTORY, dir_fd=dir_fd)
            try:
                _make_in_place(below_fd, wanted)
            finally:
                os.close(below_fd)


def _make(dir_fd: int, name: bytes, wanted: _Point) -> None:
    if wanted.kind == "link":
        os.symlink(wanted.link, name, dir_fd=dir_fd)
        return
    if wanted.kind == "dir":
        os.mkdir(name, _MODE, dir_fd=dir_fd)
        flags = _O_DIRECTORY
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    made_fd = os.open(name, flags, _MODE, dir_fd=dir_fd)
    try:
        os.fchmod(made_fd, _MODE)  # whatever the umask
    finally:
        os.close(made_fd)


def make_mount_point_layer(tree_fd: int, lower_fds: Sequence[int]) -> None:
    """Make the mount points in an empty overlay layer, on the layers below (topmost first).

    The layers are looked through as overlayfs does; nothing is mounted.
    """
    _copy_directory_metadata(lower_fds, tree_fd)
    _make_on_top(tree_fd, list(lower_fds), _ROOT)


def _make_on_top(dir_fd: int, lower_fds: list[int], point: _Point) -> None:
    for name, wanted in point.below.items():
        with ExitStack() as opened:
            found = _look_through(lower_fds, name, opened)
            if isinstance(found, list):
                if not wanted.below:  # a directory stays, whatever was wanted
                    continue
                os.mkdir(name, _MODE, dir_fd=dir_fd)
            else:
                _make(dir_fd, name, wanted)
            if wanted.kind != "dir":
                continue
            made_fd = os.open(name, _O_DIRECTORY, dir_fd=dir_fd)
            opened.callback(os.close, made_fd)
            if isinstance(found, list):
                _copy_directory_metadata(found, made_fd)
            elif found is not None:
                os.setxattr(made_fd, OPAQUE_XATTR, b"y")
            _make_on_top(made_fd, found if isinstance(found, list) else [], wanted)


def _look_through(
    lower_fds: list[int], name: bytes, opened: ExitStack
) -> list[int] | os.stat_result | None:
    """Return what *name* is in the merged layers.

    A list of open directories that merge, topmost first; the status of what is
    no directory; or None.
    """
    merged: list[int] = []
    for lower_fd in lower_fds:
        try:
            status = os.stat(name, dir_fd=lower_fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            if merged:
                break
            return None if is_whiteout(status) else status
        dir_fd = os.open(name, _O_DIRECTORY, dir_fd=lower_fd)
        opened.callback(os.close, dir_fd)
        merged.append(dir_fd)
        if _is_opaque(dir_fd):
            break
    return merged or None


def _is_opaque(dir_fd: int) -> bool:
    try:
        return os.getxattr(dir_fd, OPAQUE_XATTR) == b"y"
    except OSError:
        return False


def _copy_directory_metadata(lower_fds: Sequence[int], made_fd: int) -> None:
    """Give a directory what the topmost of those below has: the upper one hides it."""
    if not lower_fds:
        os.fchmod(made_fd, _MODE)
        return
    status = os.fstat(lower_fds[0])
    os.fchown(made_fd, status.st_uid, status.st_gid)
    os.fchmod(made_fd, stat.S_IMODE(status.st_mode))
    set_xattrs(made_fd, read_xattrs(lower_fds[0]))
