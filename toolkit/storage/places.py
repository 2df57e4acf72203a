# SPDX-License-Identifier: Apache-2.0
"""One place in a tree that nobody vouches for: where a path leads, what is there, its archive.

What a path means is decided inside the tree's root, links included; what is
found is held by its directory's descriptor and its own name there.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from toolkit.errors import InvalidRequestError, KernelCallError, NotFoundError
from toolkit.kernel.paths import open_in_root
from toolkit.storage.names import printable
from toolkit.storage.pack import ByteSink, pack_entry, pack_tree
from toolkit.storage.trees import Entry, open_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_LINKS: Final = 40  # as the kernel's
_LONGEST_PATH: Final = 4095
_O_PARENT: Final = os.O_PATH | os.O_DIRECTORY
_O_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class PathNotFoundError(NotFoundError):
    """There is nothing at a path of a container."""

    def __init__(self, path: bytes) -> None:
        super().__init__(f"Could not find the file {printable(path)} in the container")


class NotADirectoryInRootError(InvalidRequestError):
    """A path of a container has to be a directory, and is not."""

    def __init__(self, path: bytes) -> None:
        super().__init__(f"{printable(path)} is not a directory")


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a path of a tree leads to, open while the block of `found_place` lasts.

    Attributes:
        path: Cleaned, below the root; empty for the root itself.
        wants_content: The path ended with a slash or a dot: what a link leads to is meant.
        link_target: Of a link, the path that it leads to in the end, from the root.
    """

    path: bytes
    parent_fd: int
    name: bytes
    status: os.stat_result
    wants_content: bool
    link_target: str = ""

    @property
    def is_directory(self) -> bool:
        """Whether it is one, and no link to one."""
        return stat.S_ISDIR(self.status.st_mode)

    def check_kind(self) -> None:
        """Refuse what no archive holds.

        Raises:
            InvalidRequestError: It is a socket.
        """
        if stat.S_ISSOCK(self.status.st_mode):
            raise InvalidRequestError(f"/{printable(self.path)} is a socket: it cannot be copied")

    def pack(self, out: ByteSink) -> None:
        """Write it as an archive whose names begin with its own, or with ``./``.

        Raises:
            InvalidRequestError: It is a socket.
            StorageError: Something could not be read; it is named.
        """
        self.check_kind()
        if not self.is_directory:
            pack_entry(Entry(b"", self.parent_fd, self.name, self.status), self.name, out)
            return
        prefix = self.name + b"/" if self.path else b"/"
        dir_fd = os.open(self.name, _O_DIRECTORY, dir_fd=self.parent_fd)
        try:
            pack_tree(dir_fd, out, prefix=b"./" if self.wants_content else prefix)
        finally:
            os.close(dir_fd)


def cleaned_path(path: str) -> tuple[bytes, bool]:
    """Return a path below the root as docker cleans it, and whether it ended with slash or dot.

    Raises:
        InvalidRequestError: It is no path.
    """
    text = os.fsencode(path)
    if not text or b"\0" in text or len(text) > _LONGEST_PATH:
        raise InvalidRequestError(f"not a path in a container: {path[:80]!r}")
    wants_content = text.endswith((b"/", b"/.")) or text == b"."
    parts: list[bytes] = []
    for part in text.split(b"/"):
        if part == b"..":
            parts[-1:] = []
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts), wants_content and bool(parts)


@contextmanager
def found_place(root_fd: int, path: str) -> Iterator[Place]:
    """Give what a path leads to inside a tree; a link at its end is itself unless asked into.

    Raises:
        PathNotFoundError: There is nothing.
        NotADirectoryInRootError: It ends with a slash and is no directory.
    """
    clean, wants_content = cleaned_path(path)
    if wants_content:
        clean = resolve_in_scope(root_fd, clean)
    directory, _, name = clean.rpartition(b"/")
    try:
        parent_fd = open_in_root(root_fd, directory or b"/", _O_PARENT)
    except KernelCallError as error:
        raise _missing(error, path) from error
    try:
        status = os.stat(name or b".", dir_fd=parent_fd, follow_symlinks=False)
        if wants_content and not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryInRootError(os.fsencode(path))
        target = b""
        if stat.S_ISLNK(status.st_mode):
            target = b"/" + resolve_in_scope(root_fd, clean)
        yield Place(
            path=clean,
            parent_fd=parent_fd,
            name=name or b".",
            status=status,
            wants_content=wants_content,
            link_target=os.fsdecode(target),
        )
    except FileNotFoundError as error:
        raise PathNotFoundError(os.fsencode(path)) from error
    finally:
        os.close(parent_fd)


def resolve_in_scope(root_fd: int, path: bytes) -> bytes:
    """Return the path without links that a path leads to inside a root (rule 8.16, D-15).

    What is not there is kept as it is. Only text: somebody may change the tree
    meanwhile, so what is opened afterwards has to be opened inside the root, too.

    Raises:
        KernelCallError: More links than the kernel would follow (ELOOP).
    """
    pending = path.split(b"/")[::-1]
    done: list[bytes] = []
    links = 0
    while pending:
        name = pending.pop()
        if name in (b"", b"."):
            continue
        if name == b"..":
            done[-1:] = []
            continue
        target = _link_text(root_fd, b"/".join(done), name)
        if target is None:
            done.append(name)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise KernelCallError("resolve", printable(path), errno.ELOOP)
        if target.startswith(b"/"):
            done.clear()
        pending += target.split(b"/")[::-1]
    return b"/".join(done)


def _link_text(root_fd: int, directory: bytes, name: bytes) -> bytes | None:
    try:
        dir_fd = open_directory(root_fd, directory)
    except KernelCallError:
        return None
    try:
        return os.readlink(name, dir_fd=dir_fd)
    except OSError:
        return None
    finally:
        os.close(dir_fd)


def _missing(error: KernelCallError, path: str) -> Exception:
    return PathNotFoundError(os.fsencode(path)) if error.errno in _ABSENT else error
