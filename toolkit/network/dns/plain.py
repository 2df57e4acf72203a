# SPDX-License-Identifier: Apache-2.0
"""The questions that programs ask nearly always, read and answered by hand.

A name, a kind, perhaps a size (RFC 6891), nothing beside that. It takes a tenth of what a
library takes, and a container that asks without end takes that much less from the others
(row S-88). What is not of this form is left to `toolkit.network.dns.wire`; the bytes of an
answer are the same.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address

A: Final = 1
PTR: Final = 12
AAAA: Final = 28
ANY: Final = 255
_LEFT_OUT: Final = frozenset((PTR, ANY))  # others make their answers
_HEADER: Final = struct.Struct("!6H")
_PAIR: Final = struct.Struct("!HH")
_TRAILER: Final = struct.Struct("!BHHIH")  # name, type, payload, flags, length (RFC 6891, 6.1.2)
_OPT: Final = 41
_IN: Final = 1
_ONE: Final = 1
_LONGEST_LABEL: Final = 63
_LONGEST_NAME: Final = 255
_NOT_PLAIN: Final = 0xFA00  # an answer, another opcode, cut off
_RD: Final = 0x0100
_TC: Final = 0x0200
_ANSWER: Final = 0x8480  # an answer, authoritative, recursion available
_DNSSEC: Final = 0x8000  # the client would take signatures
_PAYLOAD_BYTES: Final = 8192  # what we take in one datagram, as dnspython says it
_OUR_TRAILER: Final = _TRAILER.pack(0, _OPT, _PAYLOAD_BYTES, 0, 0)
_LARGEST_ANSWER_BYTES: Final = 65535
# Before the address: the name in the question, type, class, no time to live, length.
_RECORD_HEADS: Final = {
    A: struct.pack("!HHHIH", 0xC00C, A, _IN, 0, 4),
    AAAA: struct.pack("!HHHIH", 0xC00C, AAAA, _IN, 0, 16),
}


class PlainQuestion(NamedTuple):
    """A question of the usual form.

    Attributes:
        name: In plain text, without the dot at the end.
        section: The question as it came, to be given back.
        payload_bytes: How much the client says that it takes; 0 where it says nothing.
    """

    name: str
    kind: int
    section: bytes
    payload_bytes: int
    has_trailer: bool
    flags: int


def parse_plain(raw: bytes) -> PlainQuestion | None:
    """Return the question in a packet of the usual form; None for any other packet."""
    if len(raw) < _HEADER.size:
        return None
    _, flags, questions, answers, authorities, additional = _HEADER.unpack_from(raw)
    if flags & _NOT_PLAIN or questions != _ONE or answers or authorities or additional > _ONE:
        return None
    at = _end_of_name(raw)
    end = at + _PAIR.size
    if at < 0 or len(raw) < end:
        return None
    kind, its_class = _PAIR.unpack_from(raw, at)
    name, payload = _text_of(raw), _payload_of(raw[end:], is_there=bool(additional))
    if its_class != _IN or name is None or payload < 0:
        return None
    return PlainQuestion(name, kind, raw[_HEADER.size : end], payload, bool(additional), flags)


def _payload_of(trailer: bytes, *, is_there: bool) -> int:
    """Return what a trailer says that the client takes, 0 without one; -1: of no usual form."""
    if len(trailer) != (_TRAILER.size if is_there else 0):
        return -1
    if not is_there:
        return 0
    root, kind, payload, flags, length = _TRAILER.unpack(trailer)
    is_usual = kind == _OPT and not (root or flags & ~_DNSSEC or length)
    return int(payload) if is_usual else -1


def _end_of_name(raw: bytes) -> int:
    """Return where the name of the question ends; -1 if it is cut off, too long or points."""
    at, size = _HEADER.size, len(raw)
    while at < size:
        length = raw[at]
        at += 1 + length
        if not length:
            return at if at - _HEADER.size <= _LONGEST_NAME else -1
        if length > _LONGEST_LABEL:
            return -1
    return -1


def _text_of(raw: bytes) -> str | None:
    """Return a name as text; None if a label holds a dot or is not ASCII: it is never ours."""
    labels = []
    at = _HEADER.size
    while length := raw[at]:
        labels.append(raw[at + 1 : at + 1 + length])
        at += 1 + length
    name = b".".join(labels)
    if not name.isascii() or name.count(b".") >= max(len(labels), 1):
        return None
    return name.decode("ascii")


def answer_plain(
    raw: bytes,
    question: PlainQuestion,
    addresses: Iterable[IPv4Address | IPv6Address],
    limit_bytes: int = _LARGEST_ANSWER_BYTES,
) -> bytes | None:
    """Return the answer with those addresses that are of the kind; None if others make it.

    Where not all go into *limit_bytes* it says that there are more by TCP.
    """
    if question.kind in _LEFT_OUT:
        return None
    head = _RECORD_HEADS.get(question.kind, b"")
    records = [
        head + address.packed
        for address in addresses
        if head and isinstance(address, IPv4Address) is (question.kind == A)
    ]
    trailer = _OUR_TRAILER if question.has_trailer else b""
    flags = _ANSWER | (question.flags & _RD)
    if records:
        room = limit_bytes - _HEADER.size - len(question.section) - len(trailer)
        most = room // len(records[0])
        if most < len(records):
            flags |= _TC
            del records[max(most, 0) :]
    counts = (_ONE, len(records), 0, bool(trailer))
    header = raw[:2] + _HEADER.pack(0, flags, *counts)[2:]
    return b"".join((header, question.section, *records, trailer))
