# SPDX-License-Identifier: Apache-2.0
"""The members of an archive of images, put aside so that they can be read in any order.

A member's name is only ever looked up, never given to the file system: all
files lie in one that has no name, so a crash leaves nothing. What a file is to
be is `archive_layouts`' and `archive_old`'s.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from toolkit.errors import StorageError, UnsafeArchiveError
from toolkit.images.image import InvalidImageError
from toolkit.storage import tarformat
from toolkit.storage.compression import PlainStream
from toolkit.storage.limits import ArchiveLimits
from toolkit.storage.names import clean_name, printable
from toolkit.storage.tarreader import TarReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from toolkit.storage.compression import ByteSource
    from toolkit.storage.tarformat import Member

MOST_DOCUMENT_BYTES: Final = 4 * 1024 * 1024
MOST_MEMBERS: Final = 20_000
_MOST_LINKS: Final = 8
_CHUNK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class _Place:
    """Where a file is in the spool."""

    offset: int
    size: int


class StagedFile:
    """One file of the archive, read from its beginning."""

    def __init__(self, spool_fd: int, place: _Place) -> None:
        self._spool_fd = spool_fd
        self._position = place.offset
        self._end = place.offset + place.size

    def read(self, size: int, /) -> bytes:
        """Return up to *size* bytes, none at the end."""
        chunk = os.pread(self._spool_fd, min(size, self._end - self._position), self._position)
        self._position += len(chunk)
        return chunk


class StagedArchive:
    """The files of one archive, by name, in one nameless file on disk."""

    def __init__(self, spool_fd: int) -> None:
        self._spool_fd = spool_fd
        self._files: dict[bytes, _Place] = {}
        self._links: dict[bytes, bytes] = {}
        self._digests: dict[_Place, str] = {}
        self._plain_digests: dict[_Place, str] = {}

    def take(self, stream: ByteSource, limits: ArchiveLimits) -> None:
        """Put all members aside.

        Raises:
            UnsafeArchiveError: It is no archive, or asks for too much.
        """
        reader = TarReader(PlainStream(stream, limit_bytes=limits.stream_bytes), limits)
        for member in reader:
            name = clean_name(member.name)
            if member.kind == tarformat.REGULAR:
                self._take_file(reader, member, name)
            elif member.kind == tarformat.SYMLINK:
                self._links[name] = _joined(name.rpartition(b"/")[0], member.link)
            elif member.kind == tarformat.HARD_LINK:
                self._links[name] = clean_name(member.link)
            elif member.kind != tarformat.DIRECTORY:
                raise UnsafeArchiveError(
                    printable(member.name), "an archive of images holds files and links only"
                )

    def names(self) -> list[str]:
        """Return the names of all files and links, as text; no other can be meant by JSON."""
        return [name.decode("utf-8", "replace") for name in (*self._files, *self._links)]

    def has(self, name: str) -> bool:
        """Tell whether a file is there, itself or by a link."""
        return self._find(name) is not None

    def opened(self, name: str) -> StagedFile:
        """Return a file to be read.

        Raises:
            InvalidImageError: It is not there.
        """
        return StagedFile(self._spool_fd, self._place(name))

    def size(self, name: str) -> int:
        """Return a file's length."""
        return self._place(name).size

    def document(self, name: str) -> bytes:
        """Return the content of a small file.

        Raises:
            InvalidImageError: It is not there, or not small.
        """
        if self.size(name) > MOST_DOCUMENT_BYTES:
            raise InvalidImageError(
                f"{_shown(name)} is longer than the {MOST_DOCUMENT_BYTES} bytes allowed"
            )
        return b"".join(_chunks(self.opened(name)))

    def digest(self, name: str) -> str:
        """Return a file's digest as it is."""
        place = self._place(name)
        if place not in self._digests:
            digest = hashlib.sha256()
            for chunk in _chunks(self.opened(name)):
                digest.update(chunk)
            self._digests[place] = f"sha256:{digest.hexdigest()}"
        return self._digests[place]

    def plain_digest(self, name: str, limits: ArchiveLimits) -> str:
        """Return the digest of a layer's archive, uncompressed.

        Raises:
            UnsafeArchiveError: It cannot be uncompressed, or is too much then.
        """
        place = self._place(name)
        if place not in self._plain_digests:
            stream = PlainStream(self.opened(name), limit_bytes=limits.stream_bytes)
            stream.drain()
            self._plain_digests[place] = stream.digest
        return self._plain_digests[place]

    def _take_file(self, reader: TarReader, member: Member, name: bytes) -> None:
        if member.segments is not None:
            raise UnsafeArchiveError(
                printable(member.name), "an archive of images holds no sparse files"
            )
        offset = os.lseek(self._spool_fd, 0, os.SEEK_CUR)
        reader.copy_content(self._spool_fd)
        self._links.pop(name, None)
        self._files[name] = _Place(offset, member.size)

    def _place(self, name: str) -> _Place:
        place = self._find(name)
        if place is None:
            raise InvalidImageError(f"the archive has no file {_shown(name)}")
        return place

    def _find(self, name: str) -> _Place | None:
        try:
            key = clean_name(name.encode())
        except (UnsafeArchiveError, UnicodeEncodeError):
            return None
        for _ in range(_MOST_LINKS):
            if key not in self._links:
                return self._files.get(key)
            key = self._links[key]
        return None


@contextmanager
def staged_archive(directory: Path, stream: ByteSource, most_bytes: int) -> Iterator[StagedArchive]:
    """Put an archive's members aside below *directory* for as long as the block runs.

    Args:
        directory: Where the file without a name is made.
        stream: The archive.
        most_bytes: What its members may be together, if there is room.

    Raises:
        UnsafeArchiveError: It is no archive, or asks for too much.
        StorageError: There is no room.
    """
    with tempfile.TemporaryFile(dir=directory, buffering=0) as spool:
        spool_fd = spool.fileno()
        limits = replace(ArchiveLimits.for_directory(spool_fd, most_bytes), members=MOST_MEMBERS)
        staged = StagedArchive(spool_fd)
        try:
            staged.take(stream, limits)
        except OSError as error:
            raise StorageError(f"cannot keep the archive: {error.strerror}") from error
        yield staged


def _chunks(file: StagedFile) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def _joined(directory: bytes, link: bytes) -> bytes:
    """Return where a symbolic link leads; nowhere if it leaves the archive."""
    parts = [] if link.startswith(b"/") else [part for part in directory.split(b"/") if part]
    for part in link.split(b"/"):
        if part == b"..":
            if not parts:
                return b""
            parts.pop()
        elif part not in {b"", b"."}:
            parts.append(part)
    return b"/".join(parts)


def _shown(name: str) -> str:
    return repr(name[:200])
