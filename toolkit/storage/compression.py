# SPDX-License-Identifier: Apache-2.0
"""An archive's plain bytes, whatever it was compressed with, with their digest.

Everything is decompressed in this process: no program is looked up in any PATH
(row S-57). Memory is bounded whatever the input claims, and so is the output.
"""

from __future__ import annotations

import bz2
import hashlib
import importlib
import lzma
import zlib
from typing import TYPE_CHECKING, Final, Protocol

from toolkit.errors import UnsafeArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from toolkit.storage.recipe import RecipeWriter

_CHUNK_BYTES: Final = 256 * 1024
_SHORTEST_ARCHIVE: Final = 10  # rule 9.36
_XZ_MEMORY_BYTES: Final = 96 * 1024 * 1024  # xz -9 takes 65 MiB
_ZSTD_WINDOW_BYTES: Final = 128 * 1024 * 1024
_GZIP_WINDOW: Final = 31  # zlib's number for "15 bits of window in a gzip frame"


class ByteSource(Protocol):
    """Anything with the `read` of a binary file; short reads are fine."""

    def read(self, size: int, /) -> bytes:
        """Return up to *size* bytes, none at the end."""


class PlainStream:
    """The uncompressed bytes of an archive, read in order exactly once.

    Args:
        source: The archive as it came.
        limit_bytes: More than this is refused.
        recipe: Takes down everything but the content of files.
    """

    def __init__(
        self, source: ByteSource, *, limit_bytes: int, recipe: RecipeWriter | None = None
    ) -> None:
        self.recipe = recipe
        self._chunks = _plain_chunks(source)
        self._digest = hashlib.sha256()
        self._buffer = b""
        self._position = 0
        self._limit_bytes = limit_bytes
        self.bytes_seen = 0

    @property
    def digest(self) -> str:
        """Digest of everything seen so far, as ``sha256:<hex>``; of all after `drain`."""
        return f"sha256:{self._digest.hexdigest()}"

    def read(self, size: int) -> bytes:
        """Return *size* bytes, fewer only at the end."""
        piece = self._read(size)
        if self.recipe is not None:
            self.recipe.add_literal(piece)
        return piece

    def _read(self, size: int) -> bytes:
        end = self._position + size
        if end <= len(self._buffer):
            piece = self._buffer[self._position : end]
            self._position = end
            return piece
        pieces = [self._buffer[self._position :]]
        missing = size - len(pieces[0])
        self._buffer, self._position = b"", 0
        while missing > 0 and self._fill():
            piece = self._buffer[:missing]
            self._position = len(piece)
            missing -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def read_exactly(self, size: int) -> bytes:
        """Return *size* bytes.

        Raises:
            UnsafeArchiveError: The archive ends before.
        """
        piece = self.read(size)
        if len(piece) < size:
            raise UnsafeArchiveError("", "the archive is truncated")
        return piece

    def read_content(self, size: int) -> bytes:
        """Return *size* bytes that a file takes, and no recipe.

        Raises:
            UnsafeArchiveError: The archive ends before.
        """
        piece = self._read(size)
        if len(piece) < size:
            raise UnsafeArchiveError("", "the archive is truncated")
        return piece

    def drain(self) -> None:
        """Read what is left, so that the digest covers the whole archive."""
        if self.recipe is not None:
            self.recipe.add_literal(self._buffer[self._position :])
        while self._fill():
            if self.recipe is not None:
                self.recipe.add_literal(self._buffer)
        self._buffer, self._position = b"", 0

    def _fill(self) -> bool:
        chunk = next(self._chunks, b"")
        self._buffer, self._position = chunk, 0
        self._digest.update(chunk)
        self.bytes_seen += len(chunk)
        if self.bytes_seen > self._limit_bytes:
            raise UnsafeArchiveError(
                "", f"the archive unpacks to more than the {self._limit_bytes} bytes allowed"
            )
        return bool(chunk)


class _Decompressor(Protocol):
    """What bz2, lzma and compression.zstd have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gunzip:
    """zlib's decompressor with the manners of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(_GZIP_WINDOW)
        self._tail = b""
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        plain = self._inner.decompress(self._tail + data, max_length)
        self._tail = self._inner.unconsumed_tail
        self.needs_input = not self._tail and len(plain) < max_length
        return plain


def _new_unxz() -> _Decompressor:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)


def _plain_chunks(source: ByteSource) -> Iterator[bytes]:
    head = b""
    while len(head) < _SHORTEST_ARCHIVE and (piece := source.read(_CHUNK_BYTES)):
        head += piece
    if not head:
        raise UnsafeArchiveError("", "Empty archive")
    if len(head) < _SHORTEST_ARCHIVE:
        raise UnsafeArchiveError("", "Tarball too short")
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return _unzstd(source, head)
    for magic, new in _BY_MAGIC:
        if head.startswith(magic):
            return _decompress(source, head, magic, new)
    return _copy(source, head)


_BY_MAGIC: Final[tuple[tuple[bytes, Callable[[], _Decompressor]], ...]] = (
    (b"\x1f\x8b", _Gunzip),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", _new_unxz),
)


def _copy(source: ByteSource, head: bytes) -> Iterator[bytes]:
    piece = head
    while piece:
        yield piece
        piece = source.read(_CHUNK_BYTES)


def _decompress(
    source: ByteSource, head: bytes, magic: bytes, new: Callable[[], _Decompressor]
) -> Iterator[bytes]:
    """Yield the content of one compressed stream after the other; zeros between are padding."""
    data = head
    while data:
        if not data.startswith(magic[: len(data)]):
            raise UnsafeArchiveError("", "something follows the end of the compressed archive")
        decompressor = new()
        while not decompressor.eof:
            try:
                plain = decompressor.decompress(data, _CHUNK_BYTES)
            except (zlib.error, OSError, lzma.LZMAError, EOFError) as error:
                raise UnsafeArchiveError(
                    "", f"the compressed archive is corrupt: {error}"
                ) from error
            if plain:
                yield plain
            data = b""
            if decompressor.needs_input and not decompressor.eof:
                data = source.read(_CHUNK_BYTES)
                if not data:
                    raise UnsafeArchiveError("", "the compressed archive is truncated")
        data = decompressor.unused_data.lstrip(b"\0")
        while len(data) < len(magic) and (piece := source.read(_CHUNK_BYTES)):
            data = (data + piece).lstrip(b"\0")


def _unzstd(source: ByteSource, head: bytes) -> Iterator[bytes]:
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError:
        raise UnsafeArchiveError(
            "", "the archive is compressed with zstd: install the Python package zstandard"
        ) from None
    opened = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).stream_reader(
        _Rejoined(head, source), read_across_frames=True
    )
    while True:
        try:
            plain: bytes = opened.read(_CHUNK_BYTES)
        except zstandard.ZstdError as error:
            raise UnsafeArchiveError("", f"the compressed archive is corrupt: {error}") from error
        if not plain:
            return
        yield plain


class _Rejoined:
    """A source whose first bytes had been read already."""

    def __init__(self, head: bytes, source: ByteSource) -> None:
        self._head = head
        self._source = source

    def read(self, size: int, /) -> bytes:
        if not self._head:
            return self._source.read(size)
        piece, self._head = self._head[:size], self._head[size:]
        return piece
