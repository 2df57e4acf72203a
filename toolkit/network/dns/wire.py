# SPDX-License-Identifier: Apache-2.0
"""Questions and answers as bytes (RFC 1035, RFC 6891), by dnspython where need be; no sockets.

Whatever the bytes, a function here returns: they come from programs in containers and from
resolvers outside (row S-88).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset

from toolkit.network.dns.plain import PlainQuestion, answer_plain, parse_plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toolkit.network.dns.table import Address, NameTable

TTL_SECONDS: Final = 0  # changes are visible at once: nobody is to keep an answer
HEADER_BYTES: Final = 12
LARGEST_QUERY_BYTES: Final = 4096
SMALLEST_LIMIT_BYTES: Final = 512
_LARGEST_LIMIT_BYTES: Final = 4096
_LARGEST_ANSWER_BYTES: Final = 65535
# A record of an answer whose name stands in the question: two bytes for the name, ten, the address.
_RECORD_BYTES: Final = {dns.rdatatype.A: 16, dns.rdatatype.AAAA: 28}
_ID: Final = struct.Struct("!H")
_QUESTIONS_AT: Final = 4
_FLAGS: Final = struct.Struct("!HH")
_QR: Final = 0x8000
_OPCODE: Final = 0x7800
_RD: Final = 0x0100
_BROKEN: Final = (dns.exception.DNSException, ValueError, IndexError, KeyError, struct.error)


@dataclass(frozen=True)
class Question:
    """One question, as it came.

    Attributes:
        name: In plain text, without the dot at the end; empty where it cannot be one of ours.
        limit_bytes: How much the client takes in one datagram.
        plain: Set where it is of the usual form.
    """

    raw: bytes
    name: str
    kind: int
    limit_bytes: int
    plain: PlainQuestion | None = None

    @cached_property
    def message(self) -> dns.message.Message:
        """The question as the library has it."""
        return dns.message.from_wire(self.raw[:LARGEST_QUERY_BYTES], ignore_trailing=True)


def parse_question(raw: bytes) -> Question | bytes | None:
    """Return the question in a packet, the answer to what is none, or None for silence."""
    plain = parse_plain(raw)
    if plain is not None:
        return Question(raw, plain.name, plain.kind, _limit_of(plain.payload_bytes), plain)
    if len(raw) < HEADER_BYTES or _FLAGS.unpack_from(raw)[1] & _QR:
        return None  # no question at all: an answer to it could go back and forth for ever
    if _FLAGS.unpack_from(raw)[1] & _OPCODE:  # only questions (opcode 0) are for us
        return _bare_answer(raw, dns.rcode.NOTIMP)
    return _parse_unusual(raw)


def _parse_unusual(raw: bytes) -> Question | bytes:
    """Return the question in a packet with options, say, or the answer to what is none."""
    try:
        message = dns.message.from_wire(raw[:LARGEST_QUERY_BYTES], ignore_trailing=True)
    except _BROKEN:
        return _bare_answer(raw, dns.rcode.FORMERR)
    if len(message.question) != 1:
        return _bare_answer(raw, dns.rcode.FORMERR)
    asked = message.question[0]
    if asked.rdclass != dns.rdataclass.IN:
        return _bare_answer(raw, dns.rcode.REFUSED)
    limit = _limit_of(message.payload if message.edns >= 0 else 0)
    question = Question(raw, _plain(asked.name), asked.rdtype, limit)
    question.__dict__["message"] = message  # it has been read already
    return question


def _limit_of(payload_bytes: int) -> int:
    return min(max(payload_bytes, SMALLEST_LIMIT_BYTES), _LARGEST_LIMIT_BYTES)


def answer_locally(
    question: Question, table: NameTable, container: str, *, over_tcp: bool = True
) -> bytes | None:
    """Return the answer to what the table knows; None: others are to be asked.

    One that is too long for the client's datagram is cut: `fitted`.
    """
    if question.kind == dns.rdatatype.PTR:
        answer = _answer_reverse(question, table, container)
        return None if answer is None else fitted(question, answer, over_tcp=over_tcp)
    addresses = table.lookup(container, question.name) if question.name else None
    if addresses is None:
        return None
    if question.plain is not None:
        most = _LARGEST_ANSWER_BYTES if over_tcp else question.limit_bytes
        answer = answer_plain(question.raw, question.plain, addresses, most)
        if answer is not None:
            return answer
    answer = _answer(question, _rrsets_of(question, addresses))
    return fitted(question, answer, over_tcp=over_tcp)


def _rrsets_of(question: Question, addresses: Iterable[Address]) -> list[dns.rrset.RRset]:
    asked = question.message.question[0]
    by_kind = {
        dns.rdatatype.A: [str(a) for a in addresses if a.version == 4],  # noqa: PLR2004 - IPv4
        dns.rdatatype.AAAA: [str(a) for a in addresses if a.version == 6],  # noqa: PLR2004 - IPv6
    }
    wanted = by_kind if asked.rdtype == dns.rdatatype.ANY else {asked.rdtype}
    return [
        dns.rrset.from_text(asked.name, TTL_SECONDS, dns.rdataclass.IN, kind, *by_kind[kind])
        for kind in wanted
        if by_kind.get(kind)
    ]


def failure(question: Question) -> bytes:
    """Return the answer where nobody could be asked."""
    return _bare_answer(question.raw, dns.rcode.SERVFAIL)


def for_upstream(question: Question, new_id: int) -> bytes:
    """Return a question as it is passed on: another id, and nothing of the client's network.

    The option of RFC 7871 is taken out; anything else stays as it came.
    """
    if question.plain is not None:
        return _ID.pack(new_id) + question.raw[_ID.size :]
    message = question.message
    options = [option for option in message.options if option.otype != dns.edns.ECS]
    raw = question.raw
    if len(options) != len(message.options):
        message.use_edns(message.edns, message.ednsflags, message.payload, options=options)
        raw = message.to_wire()
    return _ID.pack(new_id) + raw[_ID.size :]


def from_upstream(question: Question, raw: bytes, sent_id: int, *, over_tcp: bool) -> bytes | None:
    """Return a resolver's answer for the client; None if it is no answer to what was asked."""
    if not _answers(question, raw, sent_id):
        return None
    if not over_tcp and len(raw) > question.limit_bytes:
        return truncated(question)
    return question.raw[: _ID.size] + raw[_ID.size :]


def _answers(question: Question, raw: bytes, sent_id: int) -> bool:
    if len(raw) < HEADER_BYTES:
        return False
    found_id, flags = _FLAGS.unpack_from(raw)
    if found_id != sent_id or not flags & _QR:
        return False
    if question.plain is not None and _echoes(raw, question.plain.section):
        return True
    try:
        echoed = dns.message.from_wire(raw, question_only=True, ignore_trailing=True).question
    except _BROKEN:
        return False
    if not echoed:  # a refusal may be a header alone
        return code_of(raw) != dns.rcode.NOERROR
    asked = question.message.question
    return [(q.name, q.rdtype, q.rdclass) for q in echoed] == [
        (q.name, q.rdtype, q.rdclass) for q in asked
    ]


def _echoes(raw: bytes, section: bytes) -> bool:
    """Return whether an answer repeats its one question to the letter."""
    questions = _ID.unpack_from(raw, _QUESTIONS_AT)[0]
    return questions == 1 and raw.startswith(section, HEADER_BYTES)


def code_of(raw: bytes) -> int:
    """Return the response code of an answer."""
    return raw[3] & 0x0F


def is_refusal(raw: bytes) -> bool:
    """Return whether an answer is a reason to ask the next resolver."""
    return code_of(raw) in {dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP}


def truncated(question: Question) -> bytes:
    """Return the answer that makes the client ask again by TCP."""
    response = dns.message.make_response(question.message, recursion_available=True)
    response.flags |= dns.flags.TC
    return response.to_wire()


def _answer_reverse(question: Question, table: NameTable, container: str) -> bytes | None:
    asked = question.message.question[0].name
    try:
        text = dns.reversename.to_address(asked)
        name = table.reverse(container, ip_address(text))
    except _BROKEN:
        return None
    if name is None:
        return None
    kind = dns.rdatatype.PTR
    rrset = dns.rrset.from_text(asked, TTL_SECONDS, dns.rdataclass.IN, kind, f"{name}.")
    return _answer(question, [rrset])


def _answer(question: Question, rrsets: list[dns.rrset.RRset]) -> bytes:
    response = dns.message.make_response(question.message, recursion_available=True)
    response.flags |= dns.flags.AA
    response.answer.extend(rrsets)
    # Not shuffled: whose turn it is, the table says.
    return response.to_wire(max_size=_LARGEST_ANSWER_BYTES, want_shuffle=False)


def fitted(question: Question, raw: bytes, *, over_tcp: bool) -> bytes:
    """Return an answer of ours; of one that is too long for the client, what it takes.

    That says that there is more by TCP. Some clients never ask by TCP (musl before 1.2.4).
    """
    excess = len(raw) - question.limit_bytes
    if over_tcp or excess <= 0:
        return raw
    answer = dns.message.from_wire(raw, ignore_trailing=True)
    if len(answer.answer) != 1:
        return truncated(question)
    [rrset] = answer.answer
    records = list(rrset)
    kept = len(records) - -(-excess // _RECORD_BYTES.get(rrset.rdtype, excess))
    answer.answer = [dns.rrset.from_rdata_list(rrset.name, rrset.ttl, records[: max(kept, 1)])]
    answer.flags |= dns.flags.TC
    fits = answer.to_wire(max_size=_LARGEST_ANSWER_BYTES, want_shuffle=False)
    return fits if len(fits) <= question.limit_bytes else truncated(question)


def _bare_answer(raw: bytes, code: int) -> bytes:
    """Return a header alone, with the id, opcode and wish for recursion that came."""
    found_id, flags = _FLAGS.unpack_from(raw)
    return struct.pack("!6H", found_id, _QR | (flags & (_OPCODE | _RD)) | 0x80 | code, 0, 0, 0, 0)


def _plain(name: dns.name.Name) -> str:
    """Return a name as text if its labels are plain ones: others are never ours."""
    labels = name.labels[:-1]
    try:
        texts = [label.decode("ascii") for label in labels]
    except UnicodeDecodeError:
        return ""
    return "" if any("." in text for text in texts) else ".".join(texts)
