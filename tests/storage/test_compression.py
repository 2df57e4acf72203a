# SPDX-License-Identifier: Apache-2.0
"""Compressed archives: told by their first bytes, bounded, and hashed as a whole."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
from functools import cache
from typing import TYPE_CHECKING, Final

import pytest

from toolkit.errors import UnsafeArchiveError
from toolkit.storage.compression import PlainStream

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT: Final = bytes(range(256)) * 4000 + b"end"
COMPRESSIONS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
COMPRESSED: Final = ["gzip", "bzip2", "xz"]


@cache
def packed(name: str) -> bytes:
    """Return the content as it is packed; bzip2 takes 100 ms for it."""
    return COMPRESSIONS[name](CONTENT)


class OneByteAtATime:
    """A source as slow as a bad connection."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int, /) -> bytes:
        return self._content.read(min(size, 1))


def opened(content: bytes, limit_bytes: int = 10**9) -> PlainStream:
    return PlainStream(io.BytesIO(content), limit_bytes=limit_bytes)


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_the_compression_is_told_by_the_first_bytes(name: str) -> None:
    """RT-184, rule 9.36."""
    stream = opened(packed(name))
    assert stream.read(100) == CONTENT[:100]
    stream.drain()
    assert stream.digest == f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    assert stream.bytes_seen == len(CONTENT)


def test_zstd_is_read_where_its_package_is_installed() -> None:
    zstandard = pytest.importorskip("zstandard")
    assert opened(zstandard.compress(CONTENT)).read(len(CONTENT) + 1) == CONTENT


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_a_slow_source_gives_the_same_bytes(name: str) -> None:
    content = CONTENT[:3000]
    stream = PlainStream(OneByteAtATime(COMPRESSIONS[name](content)), limit_bytes=10**6)
    assert stream.read(len(content) + 1) == content


@pytest.mark.parametrize("name", COMPRESSED)
def test_streams_in_a_row_are_one(name: str) -> None:
    compress = COMPRESSIONS[name]
    stream = opened(compress(b"a" * 20) + compress(b"b" * 20) + bytes(64))
    assert stream.read(100) == b"a" * 20 + b"b" * 20


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_truncated_archive_is_refused(name: str) -> None:
    with pytest.raises(UnsafeArchiveError, match=r"truncated|corrupt"):
        opened(packed(name)[:-20]).drain()


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_corrupt_archive_is_refused(name: str) -> None:
    damaged = bytearray(packed(name))
    damaged[len(damaged) // 2] ^= 0xFF
    with pytest.raises(UnsafeArchiveError, match=r"corrupt|truncated"):
        opened(bytes(damaged)).drain()


@pytest.mark.parametrize("name", COMPRESSED)
def test_garbage_behind_the_archive_is_refused(name: str) -> None:
    with pytest.raises(UnsafeArchiveError, match="follows the end"):
        opened(packed(name) + b"garbage").drain()


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_bomb_is_refused_at_the_limit(name: str) -> None:
    """Row S-56: the limit counts plain bytes, not the ratio."""
    stream = opened(COMPRESSIONS[name](bytes(5_000_000)), limit_bytes=1_000_000)
    with pytest.raises(UnsafeArchiveError, match="unpacks to more than the 1000000 bytes"):
        stream.drain()
    assert stream.bytes_seen < 2_000_000


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "Empty archive"), (b"123456789", "too short")]
)
def test_less_than_ten_bytes_are_no_archive(content: bytes, reason: str) -> None:
    """Rule 9.36."""
    with pytest.raises(UnsafeArchiveError, match=reason):
        opened(content).read(1)


def test_reading_past_the_end_gives_what_is_left_or_an_error() -> None:
    assert opened(b"0123456789").read(100) == b"0123456789"
    with pytest.raises(UnsafeArchiveError, match="truncated"):
        opened(b"0123456789").read_exactly(11)
