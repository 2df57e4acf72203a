# SPDX-License-Identifier: Apache-2.0
"""The members of an archive of images, put aside so that they can be read in any order.

A member's name is only ever looked up, never given to the file system: files
are called by numbers. What a file is to be is `archive_layouts`' and `archive_old`'s.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from toolkit.errors import StorageError, UnsafeArchiveError
from toolkit.images.image import InvalidImageError
from toolkit.storage import tarformat
from toolkit.storage.compression import PlainStream
from toolkit.storage.limits import ArchiveLimits
from toolkit.storage.names import clean_name, printable
from toolkit.storage.opened import opened_directories
from toolkit.storage.tarreader import TarReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolkit.storage.compression import ByteSource

MOST_DOCUMENT_BYTES: Final = 4 * 1024 * 1024
_MOST_MEMBERS: Final = 20_000
_MOST_LINKS: Final = 8
_CHUNK_BYTES: Final = 1024 * 1024


class StagedArchive:
    """The files of one archive, by name."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory
        self._files: dict[bytes, Path] = {}
        self._links: dict[bytes, bytes] = {}
        self._digests: dict[Path, str] = {}
        self._plain_digests: dict[Path, str] = {}

    def take(self, stream: ByteSource, limits: ArchiveLimits) -> None:
        """Put all members aside.

        Raises:
            UnsafeArchiveError: It is no archive, or asks for too much.
        """
        reader = TarReader(PlainStream(stream, limit_bytes=limits.stream_bytes), limits)
        for number, member in enumerate(reader):
            name = clean_name(member.name)
            if member.kind == tarformat.REGULAR:
                self._take_file(reader, name, self._dir / str(number))
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

    @contextmanager
    def opened(self, name: str) -> Iterator[BinaryIO]:
        """Give a file to be read.

        Raises:
            InvalidImageError: It is not there.
        """
        with self._path(name).open("rb") as file:
            yield file

    def size(self, name: str) -> int:
        """Return a file's length."""
        return self._path(name).stat().st_size

    def document(self, name: str) -> bytes:
        """Return the content of a small file.

        Raises:
            InvalidImageError: It is not there, or not small.
        """
        with self.opened(name) as file:
            content = file.read(MOST_DOCUMENT_BYTES + 1)
        if len(content) > MOST_DOCUMENT_BYTES:
            raise InvalidImageError(
                f"{_shown(name)} is longer than the {MOST_DOCUMENT_BYTES} bytes allowed"
            )
        return content

    def digest(self, name: str) -> str:
        """Return a file's digest as it is."""
        path = self._path(name)
        if path not in self._digests:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._digests[path] = f"sha256:{digest}"
        return self._digests[path]

    def plain_digest(self, name: str, limits: ArchiveLimits) -> str:
        """Return the digest of a layer's archive, uncompressed.

        Raises:
            UnsafeArchiveError: It cannot be uncompressed, or is too much then.
        """
        path = self._path(name)
        if path not in self._plain_digests:
            with path.open("rb") as file:
                stream = PlainStream(file, limit_bytes=limits.stream_bytes)
                stream.drain()
            self._plain_digests[path] = stream.digest
        return self._plain_digests[path]

    def _take_file(self, reader: TarReader, name: bytes, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file_fd = os.open(path, flags, 0o600)
        try:
            reader.copy_content(file_fd)
        finally:
            os.close(file_fd)
        self._links.pop(name, None)
        self._files[name] = path

    def _path(self, name: str) -> Path:
        path = self._find(name)
        if path is None:
            raise InvalidImageError(f"the archive has no file {_shown(name)}")
        return path

    def _find(self, name: str) -> Path | None:
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
def staged_archive(directory: Path, stream: ByteSource) -> Iterator[StagedArchive]:
    """Put an archive's members aside below *directory* for as long as the block runs.

    Raises:
        UnsafeArchiveError: It is no archive, or asks for too much.
        StorageError: There is no room.
    """
    with tempfile.TemporaryDirectory(dir=directory, prefix="load.") as name:
        staged = StagedArchive(Path(name))
        with opened_directories([Path(name)]) as (dir_fd,):
            unpacked_bytes = ArchiveLimits.for_directory(dir_fd).unpacked_bytes
        limits = ArchiveLimits(unpacked_bytes=unpacked_bytes, members=_MOST_MEMBERS)
        try:
            staged.take(stream, limits)
        except OSError as error:
            raise StorageError(f"cannot keep the archive: {error.strerror}") from error
        yield staged


def sweep_staging(directory: Path) -> None:
    """Remove what a crash left."""
    for path in directory.glob("load.*"):
        shutil.rmtree(path)


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
