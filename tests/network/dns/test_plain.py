# SPDX-License-Identifier: Apache-2.0
"""Questions read and answered by hand: the same bytes as dnspython's, whatever came."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.network.dns.plain import answer_plain, parse_plain

Address = IPv4Address | IPv6Address

labels = st.text("abcXYZ019-_", min_size=1, max_size=63)
names = st.lists(labels, min_size=1, max_size=3).map(".".join)
kinds = st.sampled_from(["A", "AAAA", "MX", "TXT", "HTTPS"])
addresses = st.lists(st.ip_addresses(), max_size=40)


def rendered(query: dns.message.Message, found: list[Address]) -> bytes:
    """Return dnspython's answer."""
    response = dns.message.make_response(query, recursion_available=True)
    response.flags |= dns.flags.AA
    [asked] = query.question
    version = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}.get(asked.rdtype)
    texts = [str(each) for each in dict.fromkeys(found) if each.version == version]
    if texts:
        rrset = dns.rrset.from_text(asked.name, 0, dns.rdataclass.IN, asked.rdtype, *texts)
        response.answer.append(rrset)
    return response.to_wire(max_size=65535, want_shuffle=False)


@st.composite
def queries(draw: st.DrawFn) -> dns.message.Message:
    """Return a question as some program may ask it."""
    payload = draw(st.none() | st.integers(512, 65535))
    options: dict[str, Any] = {}
    if payload is not None:
        options = {"use_edns": 0, "payload": payload, "want_dnssec": draw(st.booleans())}
    query = dns.message.make_query(draw(names), draw(kinds), **options)
    if draw(st.booleans()):
        query.flags &= ~dns.flags.RD
    return query


@given(queries(), addresses)
def test_an_answer_is_the_librarys_to_the_byte(
    query: dns.message.Message, found: list[Address]
) -> None:
    raw = query.to_wire()
    question = parse_plain(raw)
    assert question is not None
    [asked] = query.question
    assert f"{question.name}." == asked.name.to_text()
    assert question.kind == asked.rdtype
    assert question.payload_bytes == (query.payload if query.edns >= 0 else 0)
    once = list(dict.fromkeys(found))
    assert answer_plain(raw, question, once) == rendered(query, once)


@given(st.integers(512, 1500), st.integers(1, 120))
def test_an_answer_that_is_too_long_is_cut_at_a_record_and_says_so(limit: int, count: int) -> None:
    raw = dns.message.make_query("pool.lan", "A", use_edns=0, payload=limit).to_wire()
    question = parse_plain(raw)
    assert question is not None
    found = [ip_address("10.0.0.0") + number for number in range(count)]
    answer = answer_plain(raw, question, found, limit)
    assert answer is not None
    assert len(answer) <= limit
    read = dns.message.from_wire(answer)
    given_back = [str(record) for rrset in read.answer for record in rrset]
    assert given_back == [str(each) for each in found[: len(given_back)]]
    is_cut = len(given_back) < count
    assert bool(read.flags & dns.flags.TC) is is_cut
    assert not is_cut or len(answer) + 16 > limit


@pytest.mark.parametrize("kind", ["PTR", "ANY"])
def test_some_kinds_are_answered_by_others(kind: str) -> None:
    raw = dns.message.make_query("db", kind).to_wire()
    question = parse_plain(raw)
    assert question is not None
    assert answer_plain(raw, question, [ip_address("10.0.0.1")]) is None


def unusual() -> dict[str, bytes]:
    plain = dns.message.make_query("db.lan", "A")
    cookie = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")
    with_option = dns.message.make_query("db.lan", "A", use_edns=0, options=[cookie])
    raw, sized = plain.to_wire(), dns.message.make_query("db.lan", "A", use_edns=0).to_wire()
    dotted = raw[:12] + b"\x03a.b\x00\x00\x01\x00\x01"
    return {
        "nothing": b"",
        "header alone": raw[:12],
        "cut in the name": raw[:15],
        "cut behind the name": raw[:-4],
        "cut in the class": raw[:-1],
        "more behind": raw + b"x",
        "an answer": raw[:2] + b"\x81\x00" + raw[4:],
        "another opcode": raw[:2] + b"\x28\x00" + raw[4:],
        "two questions": raw[:4] + b"\x00\x02" + raw[6:],
        "no question": raw[:4] + b"\x00\x00" + raw[6:],
        "a record before": raw[:6] + b"\x00\x01" + raw[8:],
        "chaos": raw[:-2] + b"\x00\x03",
        "a pointer": raw[:12] + b"\xc0\x0c\x00\x01\x00\x01",
        "a name too long": raw[:12] + (b"\x3f" + b"a" * 63) * 4 + b"\x00\x00\x01\x00\x01",
        "a dot in a label": dotted,
        "no ascii": raw[:12] + b"\x02\xc3\xa4\x00\x00\x01\x00\x01",
        "an option": with_option.to_wire(),
        "another version": sized[:-5] + b"\x01" + sized[-4:],
        "a trailer that is cut": sized[:-1],
        "another record behind": sized[:-10] + b"\x00\x01" + sized[-8:],
    }


@pytest.mark.parametrize("what", unusual())
def test_what_is_of_no_usual_form_is_left_to_the_library(what: str) -> None:
    assert parse_plain(unusual()[what]) is None


@given(st.binary(max_size=300))
def test_no_bytes_do_harm(raw: bytes) -> None:
    """Row S-88."""
    for packet in (raw, b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + raw):
        question = parse_plain(packet)
        if question is not None:
            assert len(dns.message.from_wire(packet).question) == 1
            answer = answer_plain(packet, question, [ip_address("10.0.0.1")], 512)
            assert answer is None or len(answer) <= 512
