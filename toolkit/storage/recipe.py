# SPDX-License-Identifier: Apache-2.0
"""A layer's archive, byte for byte as it came, without keeping it.

A layer is named by the digest of its archive, and only that archive can be
saved or pushed under its name. The recipe holds what the unpacked tree cannot
give back (headers, padding, their order) and refers to the tree's files for the
rest: about 1 % of the archive. Docker does the same (tar-split).

The file: ``TKR1``, the archive's length, then a gzip stream of frames.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import struct
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from toolkit.errors import KernelCallError, StorageError, UnsafeArchiveError
from toolkit.kernel.paths import open_in_root
from toolkit.storage.names import clean_name, printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from toolkit.storage.tarformat import Member

RECIPE_NAME: Final = "recipe"

_MAGIC: Final = b"TKR1"
_HEAD: Final = struct.Struct(">4sQ")
_FRAME: Final = struct.Struct(">cI")  # kind, bytes that follow
_SEGMENT: Final = struct.Struct(">QQ")  # offset, length
_LITERAL: Final = b"L"
_FILE: Final = b"F"
_END: Final = b"E"
_LITERAL_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 1024 * 1024
_MOST_FRAME_BYTES: Final = 16 * 1024 * 1024  # a literal as it was read, or a long sparse map


class RecipeWriter:
    """Takes down an archive while it is being unpacked."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("xb")
        self._file.write(_HEAD.pack(_MAGIC, 0))
        self._frames = gzip.GzipFile("", "wb", 1, self._file, mtime=0)
        self._literal = bytearray()
        self._archive_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add_literal(self, piece: bytes) -> None:
        """Take bytes that no file of the tree holds."""
        self._literal += piece
        self._archive_bytes += len(piece)
        if len(self._literal) >= _LITERAL_BYTES:
            self._flush()

    def add_file(self, member: Member) -> None:
        """Note that a member's content follows here in the archive."""
        segments = member.segments
        if segments is None:
            segments = [(0, member.stored_bytes)]
        self._flush()
        self._archive_bytes += sum(length for _, length in segments)
        packed = b"".join(_SEGMENT.pack(*segment) for segment in segments)
        name = struct.pack(">H", len(member.name)) + member.name
        self._write(_FILE, name + packed)

    def finish(self) -> None:
        """Write what is left; without this the recipe is no recipe."""
        self._flush()
        self._write(_END, b"")
        self._frames.close()
        self._file.seek(0)
        self._file.write(_HEAD.pack(_MAGIC, self._archive_bytes))
        self._file.close()

    def _flush(self) -> None:
        if self._literal:
            self._write(_LITERAL, bytes(self._literal))
            self._literal.clear()

    def _write(self, kind: bytes, content: bytes) -> None:
        self._frames.write(_FRAME.pack(kind, len(content)) + content)


class LayerArchive:
    """The archive of one layer, to be read as often as wanted.

    Attributes:
        diff_id: The archive's digest; what is read is held against it.
        size_bytes: The archive's length.
    """

    def __init__(self, layer_dir: Path, tree_dir: Path, diff_id: str) -> None:
        self.diff_id = diff_id
        self.size_bytes: int
        self._recipe_path = layer_dir / RECIPE_NAME
        self._tree_dir = tree_dir
        try:
            with self._recipe_path.open("rb") as file:
                magic, self.size_bytes = _HEAD.unpack(file.read(_HEAD.size))
        except (OSError, struct.error) as error:
            raise StorageError(
                f"the archive of layer {diff_id} cannot be made again: {error}"
            ) from error
        if magic != _MAGIC:
            raise StorageError(f"the archive of layer {diff_id} cannot be made again")

    def chunks(self) -> Iterator[bytes]:
        """Yield the archive's bytes.

        Raises:
            StorageError: The layer's files are no longer what they were; told at the
                latest behind the last byte.
        """
        digest = hashlib.sha256()
        for chunk in self._assembled():
            digest.update(chunk)
            yield chunk
        if f"sha256:{digest.hexdigest()}" != self.diff_id:
            raise StorageError(f"the files of layer {self.diff_id} were changed on disk")

    def _assembled(self) -> Iterator[bytes]:
        tree_fd = os.open(self._tree_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with self._recipe_path.open("rb") as file:
                file.seek(_HEAD.size)
                yield from self._follow(gzip.GzipFile(fileobj=file, mode="rb"), tree_fd)
        except (EOFError, gzip.BadGzipFile, struct.error, UnsafeArchiveError) as error:
            raise StorageError(f"the recipe of layer {self.diff_id} is damaged") from error
        finally:
            os.close(tree_fd)

    def _follow(self, frames: gzip.GzipFile, tree_fd: int) -> Iterator[bytes]:
        while True:
            kind, length = _FRAME.unpack(frames.read(_FRAME.size))
            if length > _MOST_FRAME_BYTES:
                raise EOFError
            content = frames.read(length)
            if kind == _LITERAL:
                yield content
            elif kind == _FILE:
                yield from self._file_content(tree_fd, content)
            elif kind == _END:
                return
            else:
                raise EOFError

    def _file_content(self, tree_fd: int, frame: bytes) -> Iterator[bytes]:
        (name_length,) = struct.unpack(">H", frame[:2])
        name = frame[2 : 2 + name_length]
        try:
            file_fd = open_in_root(tree_fd, clean_name(name), os.O_RDONLY | os.O_NOFOLLOW)
        except KernelCallError as error:
            raise self._lost(name) from error
        try:
            if not stat.S_ISREG(os.fstat(file_fd).st_mode):
                raise self._lost(name)
            for offset, length in _SEGMENT.iter_unpack(frame[2 + name_length :]):
                yield from self._piece(file_fd, name, offset, length)
        finally:
            os.close(file_fd)

    def _piece(self, file_fd: int, name: bytes, offset: int, length: int) -> Iterator[bytes]:
        while length:
            chunk = os.pread(file_fd, min(length, _CHUNK_BYTES), offset)
            if not chunk:
                raise self._lost(name)
            offset += len(chunk)
            length -= len(chunk)
            yield chunk

    def _lost(self, name: bytes) -> StorageError:
        return StorageError(
            f"the archive of layer {self.diff_id} cannot be made again: "
            f"the content of {printable(name)!r} is not in the layer any more"
        )
