# SPDX-License-Identifier: Apache-2.0
"""The members of a tar archive, one after the other, in bounded memory.

Reads only forwards. What a member's name and kind lead to is decided by
`toolkit.storage.unpack`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from toolkit.errors import UnsafeArchiveError
from toolkit.storage import tarformat
from toolkit.storage.names import printable
from toolkit.storage.tarformat import BLOCK_BYTES, Member

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolkit.storage.compression import PlainStream
    from toolkit.storage.limits import ArchiveLimits

_CHUNK_BYTES: Final = 1024 * 1024
_ZERO_BLOCK: Final = bytes(BLOCK_BYTES)
_EXTENSION_FLAG: Final = 482  # in a header; an extension of the sparse map has its own
_EXTENSION_FLAG_AGAIN: Final = 504

_Records = list[tuple[bytes, bytes]]


class TarReader:
    """Iterates over the members of one archive.

    Between two members, `copy_content` may be called once for the last one.
    """

    def __init__(self, stream: PlainStream, limits: ArchiveLimits) -> None:
        self._stream = stream
        self._limits = limits
        self._headers = 0
        self._size_bytes = 0
        self._left = 0  # content and padding of the present member not yet read
        self._member = Member(b"")

    def __iter__(self) -> Iterator[Member]:
        while True:
            self._skip_rest()
            member = self._next_member()
            if member is None:
                self._stream.drain()
                return
            self._member = member
            yield member

    def copy_content(self, file_fd: int) -> None:
        """Write the present member's content, with its holes, to a new file."""
        member = self._member
        if self._stream.recipe is not None:
            self._stream.recipe.add_file(member)
        if member.segments is None:
            self._copy(file_fd, member.stored_bytes)
            return
        for offset, length in member.segments:
            os.lseek(file_fd, offset, os.SEEK_SET)
            self._copy(file_fd, length)
        os.ftruncate(file_fd, member.size)

    def _copy(self, file_fd: int, size: int) -> None:
        while size > 0:
            piece = memoryview(self._stream.read_content(min(size, _CHUNK_BYTES)))
            size -= len(piece)
            self._left -= len(piece)
            while piece:
                piece = piece[os.write(file_fd, piece) :]

    def _skip_rest(self) -> None:
        """Skip what is left of the present member.

        The last one's padding may be missing: docker's command sends such contexts.
        """
        if self._left < BLOCK_BYTES:
            self._stream.read(self._left)
            self._left = 0
        else:
            self._skip(self._left)

    def _skip(self, size: int) -> None:
        while size > 0:
            size -= len(self._stream.read_exactly(min(size, _CHUNK_BYTES)))
        self._left = 0

    def _next_member(self) -> Member | None:
        records: _Records = []
        long_name = long_link = b""
        while True:
            read = self._read_header(pending=bool(records or long_name or long_link))
            if read is None:
                return None
            member, block = read
            if member.kind == tarformat.PAX_HEADER:
                records = self._read_records(member)
            elif member.kind == tarformat.GNU_LONG_NAME:
                long_name = self._read_extension(member).partition(b"\0")[0]
            elif member.kind == tarformat.GNU_LONG_LINK:
                long_link = self._read_extension(member).partition(b"\0")[0]
            elif member.kind == tarformat.PAX_GLOBAL_HEADER:
                self._read_extension(member)  # as docker: nobody's defaults apply here
            elif member.kind == tarformat.GNU_VOLUME_LABEL:
                self._skip(_padded(member.stored_bytes))
            else:
                member.name = long_name or member.name
                member.link = long_link or member.link
                return self._complete(member, block, records)

    def _read_header(self, *, pending: bool) -> tuple[Member, bytes] | None:
        at = self._headers
        block = self._stream.read(BLOCK_BYTES)
        if block == _ZERO_BLOCK or (not block and at):
            if pending:
                raise UnsafeArchiveError("", "the archive is truncated")
            return None
        self._headers += 1
        if self._headers > self._limits.members:
            raise UnsafeArchiveError(
                "", f"the archive has more than the {self._limits.members} members allowed"
            )
        if len(block) < BLOCK_BYTES:
            reason = "the archive is truncated" if at else "this is not a tar archive"
            raise UnsafeArchiveError("", reason)
        try:
            return tarformat.parse_header(block), block
        except ValueError as error:
            reason = f"member {at + 1} of the archive is corrupt ({error})"
            raise UnsafeArchiveError("", reason if at else "this is not a tar archive") from error

    def _read_extension(self, member: Member) -> bytes:
        if member.stored_bytes > self._limits.header_bytes:
            raise UnsafeArchiveError(
                printable(member.name),
                f"its extended header is longer than the {self._limits.header_bytes} bytes allowed",
            )
        text = self._stream.read_exactly(_padded(member.stored_bytes))
        return text[: member.stored_bytes]

    def _read_records(self, member: Member) -> _Records:
        try:
            return tarformat.parse_pax_records(self._read_extension(member))
        except ValueError as error:
            raise UnsafeArchiveError(
                printable(member.name), f"its extended header is corrupt ({error})"
            ) from error

    def _complete(self, member: Member, block: bytes, records: _Records) -> Member:
        try:
            if member.kind == tarformat.GNU_SPARSE:
                self._read_old_sparse_map(member, block)
            if records:
                tarformat.apply_pax_records(member, records)
            self._left = _padded(member.stored_bytes)
            if records:
                self._read_pax_sparse_map(member, records)
        except ValueError as error:
            raise UnsafeArchiveError(
                printable(member.name), f"its header is corrupt ({error})"
            ) from error
        tarformat.check_member(member)
        self._size_bytes += member.size
        if self._size_bytes > self._limits.unpacked_bytes:
            raise UnsafeArchiveError(
                printable(member.name),
                f"the archive unpacks to more than the {self._limits.unpacked_bytes} bytes allowed",
            )
        return member

    def _read_old_sparse_map(self, member: Member, block: bytes) -> None:
        segments = member.segments or []
        more = block[_EXTENSION_FLAG]
        while more:
            extension = self._stream.read_exactly(BLOCK_BYTES)
            segments += tarformat.old_sparse_segments(extension[:_EXTENSION_FLAG_AGAIN])
            self._check_segments(len(segments))
            more = extension[_EXTENSION_FLAG_AGAIN]
        member.segments = segments
        member.kind = tarformat.REGULAR

    def _read_pax_sparse_map(self, member: Member, records: _Records) -> None:
        sparse = {key[11:]: value for key, value in records if key.startswith(b"GNU.sparse.")}
        if not sparse or member.kind != tarformat.REGULAR:
            return
        member.name = sparse.get(b"name", member.name)
        size = sparse.get(b"realsize", sparse.get(b"size"))
        if size is None or not size.isdigit() or len(size) > tarformat.MOST_DIGITS:
            raise ValueError("sparse size")
        member.size = int(size)
        if sparse.get(b"major") == b"1":
            numbers = self._read_sparse_numbers()
        elif b"map" in sparse:
            numbers = [_natural(text) for text in sparse[b"map"].split(b",") if text]
        else:
            wanted = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
            numbers = [_natural(value) for key, value in records if key in wanted]
        self._check_segments(len(numbers) // 2)
        member.segments = list(zip(numbers[::2], numbers[1::2], strict=True))
        member.stored_bytes = min(member.stored_bytes, self._left)

    def _read_sparse_numbers(self) -> list[int]:
        """Read the map at the start of the content (GNU tar's format 1.0)."""
        blocks = [self._read_map_block()]
        count = _natural(blocks[0].partition(b"\n")[0])
        self._check_segments(count)
        missing = 1 + 2 * count - blocks[0].count(b"\n")
        while missing > 0:
            blocks.append(self._read_map_block())
            missing -= blocks[-1].count(b"\n")
        numbers = b"".join(blocks).split(b"\n")
        return [_natural(number) for number in numbers[1 : 1 + 2 * count]]

    def _read_map_block(self) -> bytes:
        if self._left < BLOCK_BYTES:
            raise ValueError("sparse map")
        self._left -= BLOCK_BYTES
        return self._stream.read_exactly(BLOCK_BYTES)

    def _check_segments(self, count: int) -> None:
        if count > self._limits.sparse_segments:
            raise ValueError("sparse map too long")


def _natural(text: bytes) -> int:
    if not text.isdigit() or len(text) > tarformat.MOST_DIGITS:
        raise ValueError("sparse map")
    return int(text)


def _padded(size: int) -> int:
    return size + -size % BLOCK_BYTES
