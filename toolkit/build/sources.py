# SPDX-License-Identifier: Apache-2.0
"""What COPY and ADD take files from: a build context, an earlier stage, what was fetched.

A source is named by whoever wrote the Dockerfile and lies in a tree that somebody
else made. It is looked up inside that tree's root, links included, so nothing of
the host is ever reached (row S-64).
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from toolkit.dockerignore import BadPatternError, compile_glob, has_wildcard
from toolkit.errors import InvalidRequestError, KernelCallError, UnsafeArchiveError
from toolkit.kernel.paths import open_in_root
from toolkit.storage import tarformat
from toolkit.storage.compression import PlainStream
from toolkit.storage.limits import ArchiveLimits
from toolkit.storage.metadata import read_xattrs
from toolkit.storage.names import WHITEOUT_PREFIX, printable
from toolkit.storage.places import resolve_in_scope
from toolkit.storage.trees import Entry, open_directory, walk_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from toolkit.storage.layer import ChainId
    from toolkit.storage.layers import LayerStore

_Result = TypeVar("_Result")

_O_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_O_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_CHUNK_BYTES: Final = 1024 * 1024
_MOST_MATCHES: Final = 10_000


class ForbiddenPathError(InvalidRequestError):
    """A path leads out of the build context."""

    def __init__(self, path: str) -> None:
        super().__init__(f"Forbidden path outside the build context: {path} ()")


class SourceMissingError(InvalidRequestError):
    """A source of COPY or ADD is not there."""

    def __init__(self, word: str, path: str) -> None:
        super().__init__(
            f"{word} failed: file not found in build context or excluded by .dockerignore: "
            f"stat {path}: no such file or directory"
        )


class SourceTree(Protocol):
    """A tree to take files from."""

    def read(self, act: Callable[[int], _Result]) -> _Result:
        """Call something with the tree's root."""


@dataclass(frozen=True)
class DirectoryTree:
    """A directory of this host that the engine made."""

    path: Path

    def read(self, act: Callable[[int], _Result]) -> _Result:
        """Call something with the directory."""
        root_fd = os.open(self.path, _O_DIRECTORY)
        try:
            return act(root_fd)
        finally:
            os.close(root_fd)


@dataclass(frozen=True)
class LayerTree:
    """An image's tree, seen by one thread only; its layers stay as long as it is open."""

    layers: LayerStore
    top: ChainId

    @classmethod
    def open(cls, layers: LayerStore, top: ChainId) -> LayerTree:
        """Return the tree of an image's uppermost layer; `close` it."""
        layers.hold(top)
        return cls(layers, top)

    def close(self) -> None:
        """Let the layers go."""
        self.layers.settle(self.top)

    def read(self, act: Callable[[int], _Result]) -> _Result:
        """Call something with the tree's root."""
        results: list[_Result] = []
        self.layers.read_image(self.top, lambda root_fd: results.append(act(root_fd)))
        return results[0]


@dataclass(frozen=True)
class Source:
    """One thing to copy.

    Attributes:
        path: In its tree, without links.
        name: Its own name, as it was asked for.
        digest: Of what it is and holds; times and owners play no part.
        unpacks: It is unpacked where it is an archive.
    """

    tree: SourceTree
    path: bytes
    name: bytes
    is_directory: bool
    digest: str
    unpacks: bool = False

    @property
    def label(self) -> str:
        """What the history says of it."""
        return f"{'dir' if self.is_directory else 'file'}:{self.digest}"

    def is_archive(self) -> bool:
        """Tell whether it is a file that is to be unpacked."""
        return self.unpacks and not self.is_directory and self.tree.read(self._begins_as_archive)

    def _begins_as_archive(self, root_fd: int) -> bool:
        with os.fdopen(_open_file(root_fd, self.path), "rb") as file:
            try:
                stream = PlainStream(file, limit_bytes=ArchiveLimits().stream_bytes)
                block = stream.read(tarformat.BLOCK_BYTES)
                tarformat.parse_header(block.ljust(tarformat.BLOCK_BYTES, b"\0"))
            except (UnsafeArchiveError, ValueError):
                return False
            return any(block)


def _open_file(root_fd: int, path: bytes) -> int:
    file_fd = open_in_root(root_fd, path, _O_FILE)
    if not stat.S_ISREG(os.fstat(file_fd).st_mode):
        os.close(file_fd)
        raise InvalidRequestError(f"{printable(path)!r} is no regular file")
    return file_fd


def find_sources(tree: SourceTree, paths: Sequence[str], *, word: str) -> list[Source]:
    """Return what paths and patterns name in a tree.

    Args:
        tree: Where to look.
        paths: As in the Dockerfile, variables replaced.
        word: The instruction, for messages.

    Raises:
        ForbiddenPathError: A path leads out of the tree.
        SourceMissingError: A path leads nowhere.
        InvalidRequestError: A pattern is wrong or fits nothing.
    """

    def find(root_fd: int) -> list[Source]:
        found = []
        for path in paths:
            clean = cleaned_source(path)
            named = [clean]
            if has_wildcard(clean):
                named = _matches(root_fd, clean, word)
            found += [_source(tree, root_fd, one, word) for one in named]
        return found

    return tree.read(find)


def cleaned_source(path: str) -> str:
    """Return a path below the tree's root.

    Raises:
        ForbiddenPathError: It leads out of it.
    """
    clean = posixpath.normpath(path.lstrip("/") or ".")
    if clean == ".." or clean.startswith("../"):
        raise ForbiddenPathError(path)
    if "\0" in clean:
        raise InvalidRequestError("a path holds a NUL character")
    return "" if clean == "." else clean


def _matches(root_fd: int, pattern: str, word: str) -> list[str]:
    """Return the paths that fit a pattern, name by name, sorted."""
    found = [""]
    for name in pattern.split("/"):
        try:
            glob = compile_glob(name)
        except BadPatternError as error:
            raise InvalidRequestError(f"{word} failed: {error}") from None
        found = [
            f"{parent}/{entry}" if parent else entry
            for parent in found
            for entry in _names_in(root_fd, parent)
            if glob.fullmatch(entry)
        ]
        if len(found) > _MOST_MATCHES:
            raise InvalidRequestError(f"{word} failed: {pattern[:80]!r} fits too many files")
    if not found:
        raise InvalidRequestError(f"{word} failed: no source files were specified")
    return found


def _names_in(root_fd: int, path: str) -> list[str]:
    try:
        dir_fd = open_directory(root_fd, os.fsencode(path))
    except KernelCallError:  # no directory: nothing is in it
        return []
    try:
        return sorted(os.listdir(dir_fd))  # noqa: PTH208 - a descriptor
    finally:
        os.close(dir_fd)


def _source(tree: SourceTree, root_fd: int, path: str, word: str) -> Source:
    try:
        real = resolve_in_scope(root_fd, os.fsencode(path))
        with opened_entry(root_fd, real) as entry:
            is_directory = stat.S_ISDIR(entry.status.st_mode)
            digest = _digest(entry)
    except (KernelCallError, FileNotFoundError, NotADirectoryError):
        raise SourceMissingError(word, path) from None
    return Source(tree, real, os.fsencode(path).rpartition(b"/")[2], is_directory, digest)


@contextmanager
def opened_entry(root_fd: int, path: bytes) -> Iterator[Entry]:
    """Give what has a path without links in a tree, while the block lasts."""
    directory, _, name = path.rpartition(b"/")
    parent_fd = open_directory(root_fd, directory)
    try:
        name = name or b"."
        status = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        yield Entry(path, parent_fd, name, status)
    finally:
        os.close(parent_fd)


def _digest(top: Entry) -> str:
    """Return the digest of a file, or of a directory with all that is in it."""
    digest = hashlib.sha256()
    if not stat.S_ISDIR(top.status.st_mode):
        _add(digest, top, b"")
        return digest.hexdigest()
    dir_fd = os.open(top.name, _O_DIRECTORY, dir_fd=top.parent_fd)
    try:
        for entry in walk_tree(dir_fd):
            if entry.path:
                _add(digest, entry, entry.path)
    finally:
        os.close(dir_fd)
    return digest.hexdigest()


def _add(digest: Any, entry: Entry, path: bytes) -> None:
    if entry.name.startswith(WHITEOUT_PREFIX):
        raise InvalidRequestError(
            f"{printable(entry.path)!r}: names that begin with {printable(WHITEOUT_PREFIX)} mean "
            "removed files in an image's layers and cannot be copied"
        )
    status = entry.status
    head = [path, b"%o %d" % (status.st_mode, status.st_rdev)]
    if stat.S_ISLNK(status.st_mode):
        head.append(os.readlink(entry.name, dir_fd=entry.parent_fd))
    for part in head:
        digest.update(b"%d:" % len(part) + part)
    if stat.S_ISREG(status.st_mode):
        for chunk in _content(entry):
            digest.update(chunk)


def _content(entry: Entry) -> Iterator[bytes]:
    file_fd = os.open(entry.name, _O_FILE | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.parent_fd)
    try:
        size = os.fstat(file_fd).st_size
        xattrs = sorted(read_xattrs(file_fd).items())
        yield b"%d %d " % (size, len(xattrs))
        for name, value in xattrs:
            yield b"%d:%b%d:%b" % (len(name), name, len(value), value)
        while chunk := os.read(file_fd, _CHUNK_BYTES):
            yield chunk
    finally:
        os.close(file_fd)
