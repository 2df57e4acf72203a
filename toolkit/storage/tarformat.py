# SPDX-License-Identifier: Apache-2.0
"""Tar headers as bytes: ustar, pax and GNU tar, in both directions. No I/O.

Own code, because `tarfile` takes a third of GNU tar's speed and reads any
extended header into memory, however long it says it is (row S-56).
Format: pax(1) of POSIX, and "Basic Tar Format" of GNU tar's manual.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from toolkit.errors import UnsafeArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BLOCK_BYTES: Final = 512
END_OF_ARCHIVE: Final = bytes(2 * BLOCK_BYTES)

REGULAR: Final = b"0"
HARD_LINK: Final = b"1"
SYMLINK: Final = b"2"
CHARACTER_DEVICE: Final = b"3"
BLOCK_DEVICE: Final = b"4"
DIRECTORY: Final = b"5"
FIFO: Final = b"6"
PAX_HEADER: Final = b"x"
PAX_GLOBAL_HEADER: Final = b"g"
GNU_LONG_NAME: Final = b"L"
GNU_LONG_LINK: Final = b"K"
GNU_SPARSE: Final = b"S"
GNU_VOLUME_LABEL: Final = b"V"
_OLD_REGULAR: Final = b"\0"
_CONTIGUOUS: Final = b"7"

MOST_DIGITS: Final = 20  # a longer number is nothing that a kernel can store
XATTR_PREFIX: Final = b"SCHILY.xattr."
NANOSECONDS: Final = 1_000_000_000

_HEADER: Final = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_CHECKSUM: Final = slice(148, 156)
_MAX_ID: Final = 0xFFFFFFFE  # the last one means "leave as it is" to chown(2)
_LATEST_SECOND: Final = 1 << 34  # what ext4 can store; anything else becomes the epoch
_OCTAL_ID_END: Final = 8**7
_OCTAL_LONG_END: Final = 8**11
_NAME_BYTES: Final = 100
_OLD_SPARSE_AT: Final = 386


@dataclass(slots=True)
class Member:
    """One member of an archive.

    Attributes:
        size: Bytes in the file, holes included.
        stored_bytes: Bytes of content that follow the header.
        segments: Where content goes, ``(offset, length)``; None for a file without holes.
        xattrs: Extended attributes by their full names.
    """

    name: bytes
    kind: bytes = REGULAR
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    stored_bytes: int = 0
    mtime_ns: int = 0
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    segments: list[tuple[int, int]] | None = None


def parse_header(block: bytes) -> Member:
    """Return what one header block says; only the block itself is looked at.

    Raises:
        ValueError: The block is no header.
    """
    (name, mode, uid, gid, size, mtime, checksum, kind, link, magic, _, _, major, minor,
     prefix) = _HEADER.unpack(block)  # fmt: skip
    found = sum(block) - sum(block[_CHECKSUM]) + 256
    if found != _number(checksum):
        raise ValueError("checksum")
    name = name.partition(b"\0")[0]
    if magic[:6] == b"ustar\0" and prefix[0]:
        name = prefix.partition(b"\0")[0] + b"/" + name
    if kind in (_OLD_REGULAR, _CONTIGUOUS):
        kind = REGULAR
    stored = _number(size) if kind not in _WITHOUT_CONTENT else 0
    member = Member(
        name,
        DIRECTORY if kind == REGULAR and name.endswith(b"/") else kind,
        _number(mode) & 0o7777,
        _number(uid),
        _number(gid),
        stored,
        stored,
        bounded_time_ns(_number(mtime) * NANOSECONDS),
        link.partition(b"\0")[0],
    )
    if kind in (CHARACTER_DEVICE, BLOCK_DEVICE):
        member.device = (_number(major), _number(minor))
    if kind == GNU_SPARSE:
        member.size = _number(block[483:495])
        member.segments = old_sparse_segments(block[_OLD_SPARSE_AT:482])
    if stored < 0 or member.size < 0:
        raise ValueError("size")
    return member


_WITHOUT_CONTENT: Final = frozenset(
    {HARD_LINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO}
)


def old_sparse_segments(table: bytes) -> list[tuple[int, int]]:
    """Return the segments of GNU tar's old sparse header or of one of its extensions."""
    segments = []
    for at in range(0, len(table) - 23, 24):
        if table[at + 12] == 0:
            break
        segments.append((_number(table[at : at + 12]), _number(table[at + 12 : at + 24])))
    return segments


def _number(text: bytes) -> int:
    if text[0] & 0x80:  # GNU tar's binary numbers, two's complement behind a flag
        value = int.from_bytes(text, "big")
        bits = 8 * len(text)
        return value - (1 << bits) if text[0] & 0x40 else value - (1 << (bits - 1))
    digits = text.partition(b"\0")[0].strip()
    if not digits:
        return 0
    if not digits.isdigit():
        raise ValueError("number")
    return int(digits, 8)


def bounded_time_ns(time_ns: int) -> int:
    """Return a time that every file system can keep; the epoch stands for all others."""
    return time_ns if 0 <= time_ns < _LATEST_SECOND * NANOSECONDS else 0


def parse_pax_records(text: bytes) -> list[tuple[bytes, bytes]]:
    """Return the records of a pax header, in order.

    Raises:
        ValueError: They are not well formed.
    """
    records = []
    at = 0
    while at < len(text):
        space = text.find(b" ", at, at + 20)
        digits = text[at:space]
        if space < 0 or not digits.isdigit():
            if not text[at:].strip(b"\0"):
                break
            raise ValueError("pax record")
        end = at + int(digits)
        key, equals, value = text[space + 1 : end - 1].partition(b"=")
        if end > len(text) or end <= space or text[end - 1] != ord("\n") or not equals:
            raise ValueError("pax record")
        records.append((key, value))
        at = end
    return records


def apply_pax_records(member: Member, records: Iterable[tuple[bytes, bytes]]) -> None:
    """Change a member as its pax header says.

    Raises:
        ValueError: A value cannot be what its key says.
    """
    for key, value in records:
        if key.startswith(XATTR_PREFIX):
            member.xattrs[key[len(XATTR_PREFIX) :]] = value
        elif value and key in _SETTERS:
            _SETTERS[key](member, value)


def _set_path(member: Member, value: bytes) -> None:
    member.name = value
    if member.kind == REGULAR and value.endswith(b"/"):
        member.kind = DIRECTORY


def _set_size(member: Member, value: bytes) -> None:
    member.stored_bytes = _decimal(value)
    if member.segments is None:
        member.size = member.stored_bytes


def _set_link(member: Member, value: bytes) -> None:
    member.link = value


def _set_uid(member: Member, value: bytes) -> None:
    member.uid = _decimal(value)


def _set_gid(member: Member, value: bytes) -> None:
    member.gid = _decimal(value)


def _set_mtime(member: Member, value: bytes) -> None:
    whole, _, fraction = value.partition(b".")
    nanoseconds = int(fraction[:9].ljust(9, b"0")) if fraction.isdigit() else 0
    negative = whole.startswith(b"-")
    member.mtime_ns = 0
    if not negative and len(whole) < MOST_DIGITS:
        member.mtime_ns = bounded_time_ns(_decimal(whole or b"0") * NANOSECONDS + nanoseconds)


_SETTERS: Final = {
    b"path": _set_path,
    b"linkpath": _set_link,
    b"size": _set_size,
    b"uid": _set_uid,
    b"gid": _set_gid,
    b"mtime": _set_mtime,
}


def _decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > MOST_DIGITS:
        raise ValueError("decimal number")
    return int(value)


def check_member(member: Member) -> None:
    """Refuse what no file can have.

    Raises:
        UnsafeArchiveError: An owner or a size out of range, or overlapping segments.
    """
    shown = member.name[:200].decode("utf-8", "backslashreplace")
    if not (0 <= member.uid <= _MAX_ID and 0 <= member.gid <= _MAX_ID):
        raise UnsafeArchiveError(shown, "the owner is no possible id")
    if member.segments is None:
        return
    end = content = 0
    for offset, length in member.segments:
        if offset < end or length < 0 or offset + length > member.size:
            raise UnsafeArchiveError(shown, "the sparse map is wrong")
        end = offset + length
        content += length
    if content > member.stored_bytes:
        raise UnsafeArchiveError(shown, "the sparse map is wrong")


def format_member(member: Member) -> bytes:
    """Return the header blocks of a member: a pax header where ustar is too narrow."""
    extra: dict[bytes, bytes] = {}
    if len(member.name) > _NAME_BYTES:
        extra[b"path"] = member.name
    if len(member.link) > _NAME_BYTES:
        extra[b"linkpath"] = member.link
    if member.stored_bytes >= _OCTAL_LONG_END:
        extra[b"size"] = b"%d" % member.stored_bytes
    if member.uid >= _OCTAL_ID_END:
        extra[b"uid"] = b"%d" % member.uid
    if member.gid >= _OCTAL_ID_END:
        extra[b"gid"] = b"%d" % member.gid
    second, nanosecond = divmod(member.mtime_ns, NANOSECONDS)
    if nanosecond or not 0 <= second < _OCTAL_LONG_END:
        extra[b"mtime"] = (b"%d.%09d" % (second, nanosecond)).rstrip(b"0").rstrip(b".")
    for name, value in sorted(member.xattrs.items()):
        extra[XATTR_PREFIX + name] = value
    if member.segments is not None:
        extra |= {
            b"GNU.sparse.major": b"1",
            b"GNU.sparse.minor": b"0",
            b"GNU.sparse.name": member.name,
            b"GNU.sparse.realsize": b"%d" % member.size,
        }
    blocks = b""
    if extra:
        records = format_pax_records(extra)
        holder = Member(
            b"PaxHeaders/" + member.name.rpartition(b"/")[2][:80],
            PAX_HEADER,
            stored_bytes=len(records),
        )
        blocks = _format_block(holder) + records + padding(len(records))
    return blocks + _format_block(member)


def _format_block(member: Member) -> bytes:
    second = member.mtime_ns // NANOSECONDS
    block = bytearray(
        _HEADER.pack(
            member.name[:_NAME_BYTES],
            b"%07o\0" % member.mode,
            b"%07o\0" % (member.uid if member.uid < _OCTAL_ID_END else 0),
            b"%07o\0" % (member.gid if member.gid < _OCTAL_ID_END else 0),
            b"%011o\0" % (member.stored_bytes if member.stored_bytes < _OCTAL_LONG_END else 0),
            b"%011o\0" % (second if 0 <= second < _OCTAL_LONG_END else 0),
            b" " * 8,
            member.kind,
            member.link[:_NAME_BYTES],
            b"ustar\x0000",
            b"",
            b"",
            b"%07o\0" % member.device[0],
            b"%07o\0" % member.device[1],
            b"",
        )
    )
    block[_CHECKSUM] = b"%06o\0 " % sum(block)
    return bytes(block)


def format_pax_records(records: Mapping[bytes, bytes]) -> bytes:
    """Return the content of a pax header; each record begins with its own length."""
    return b"".join(_format_pax_record(key, value) for key, value in records.items())


def _format_pax_record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while length != len(rest) + len(b"%d" % length):
        length = len(rest) + len(b"%d" % length)
    return b"%d" % length + rest


def padding(size: int) -> bytes:
    """Return the zeros that fill the last block of *size* bytes."""
    return bytes(-size % BLOCK_BYTES)
