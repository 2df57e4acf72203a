# SPDX-License-Identifier: Apache-2.0
"""Questions and answers as bytes."""

from __future__ import annotations

from ipaddress import ip_address

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.network.dns import wire
from toolkit.network.dns.table import NameRecord, NameTable
from toolkit.network.dns.wire import Question, answer_locally, parse_question

TABLE = NameTable()
TABLE.publish(
    "n", "back", NameRecord("1", ("web",), (ip_address("172.18.0.2"), ip_address("fd00::2")))
)
TABLE.publish("n", "back", NameRecord("3", ("four",), (ip_address("172.18.0.4"),)))
TABLE.seat("2", ["n"])


def question(name: str, kind: str = "A", **options: object) -> Question:
    parsed = parse_question(dns.message.make_query(name, kind, **options).to_wire())  # type: ignore[arg-type]  # dnspython's own options
    assert isinstance(parsed, Question)
    return parsed


def local(name: str, kind: str = "A") -> dns.message.Message | None:
    raw = answer_locally(question(name, kind), TABLE, "2")
    return dns.message.from_wire(raw) if raw is not None else None


@pytest.mark.parametrize(
    ("name", "kind", "texts"),
    [
        ("web", "A", ["172.18.0.2"]),
        ("WEB.back", "AAAA", ["fd00::2"]),
        ("four", "AAAA", []),
        ("web", "TXT", []),
        ("four", "ANY", ["172.18.0.4"]),
        ("2.0.18.172.in-addr.arpa", "PTR", ["web.back."]),
    ],
)
def test_what_the_table_knows_is_answered(name: str, kind: str, texts: list[str]) -> None:
    answer = local(name, kind)
    assert answer is not None
    assert answer.rcode() == dns.rcode.NOERROR
    assert [str(rdata) for rrset in answer.answer for rdata in rrset] == texts
    assert answer.flags & dns.flags.RA
    assert all(rrset.ttl == 0 for rrset in answer.answer)


def test_the_turn_of_an_alias_is_kept_on_the_wire() -> None:
    """The writer of packets would shuffle the addresses."""
    table = NameTable()
    for number in range(1, 9):
        address = ip_address(f"172.18.0.{number}")
        table.publish("n", "back", NameRecord(str(number), ("pool",), (address,)))
    table.seat("2", ["n"])
    firsts = []
    for _ in range(8):
        raw = answer_locally(question("pool"), table, "2")
        assert raw is not None
        [rrset] = dns.message.from_wire(raw).answer
        firsts.append(int(str(rrset[0]).rpartition(".")[2]))
        assert [str(each) for each in rrset] == [
            f"172.18.0.{(firsts[-1] + step - 1) % 8 + 1}" for step in range(8)
        ]
    assert sorted(firsts) == list(range(1, 9))


@pytest.mark.parametrize(("kind", "limit"), [("A", 512), ("AAAA", 512), ("A", 1232), ("ANY", 512)])
def test_a_long_answer_has_what_fits_and_says_so(kind: str, limit: int) -> None:
    """Clients that never ask by TCP find somebody; the others find all."""
    table = NameTable()
    for number in range(1, 101):
        addresses = ip_address(f"172.18.0.{number}"), ip_address(f"fd00::{number}")
        table.publish("n", "back", NameRecord(str(number), ("pool",), addresses))
    table.seat("2", ["n"])
    options = {"use_edns": 0, "payload": limit} if limit > 512 else {}
    asked = question("pool", kind, **options)
    whole = answer_locally(asked, table, "2")
    assert whole is not None
    assert wire.fitted(asked, whole, over_tcp=True) == whole
    raw = wire.fitted(asked, whole, over_tcp=False)
    assert len(raw) <= limit
    answer = dns.message.from_wire(raw)
    assert answer.flags & dns.flags.TC
    shown = [str(record) for rrset in answer.answer for record in rrset]
    first = [str(record) for rrset in dns.message.from_wire(whole).answer for record in rrset]
    if kind == "ANY":
        assert shown == []
        return
    assert shown == first[: len(shown)]
    per_record = 16 if kind == "A" else 28
    assert limit - len(raw) < per_record


@pytest.mark.parametrize(
    ("name", "kind"), [("example.com", "A"), ("9.0.18.172.in-addr.arpa", "PTR"), (".", "NS")]
)
def test_what_it_does_not_know_is_left_to_others(name: str, kind: str) -> None:
    assert local(name, kind) is None


def test_packets_that_are_no_questions_are_told_so() -> None:
    query = dns.message.make_query("web", "A")
    raw = query.to_wire()
    query.set_opcode(dns.opcode.UPDATE)
    cases = [
        (raw[:-3], dns.rcode.FORMERR),
        (raw[:12], dns.rcode.FORMERR),
        (query.to_wire(), dns.rcode.NOTIMP),
        (dns.message.make_query("version.bind", "TXT", "CH").to_wire(), dns.rcode.REFUSED),
    ]
    for packet, code in cases:
        answer = parse_question(packet)
        assert isinstance(answer, bytes)
        assert answer[:2] == packet[:2]
        assert wire.code_of(answer) == code


def test_an_answer_is_never_answered() -> None:
    """Row S-88: no loops."""
    response = dns.message.make_response(dns.message.make_query("web", "A"))
    assert parse_question(response.to_wire()) is None
    assert parse_question(b"\0" * 11) is None


def test_a_question_is_passed_on_without_the_client_s_network() -> None:
    subnet = dns.edns.ECSOption("10.1.2.0", 24)
    asked = question("a.b", use_edns=0, options=[subnet], payload=1400)
    passed = dns.message.from_wire(wire.for_upstream(asked, 4711))
    assert (passed.id, passed.edns, passed.payload, passed.options) == (4711, 0, 1400, ())
    plain = question("a.b")
    assert wire.for_upstream(plain, 1)[2:] == plain.raw[2:]


def test_only_an_answer_to_the_question_is_taken() -> None:
    """Row S-88: cache poisoning."""
    asked = question("a.b")
    answer = dns.message.make_response(dns.message.from_wire(wire.for_upstream(asked, 7)))
    good = answer.to_wire()
    taken = wire.from_upstream(asked, good, 7, over_tcp=False)
    assert taken is not None
    assert dns.message.from_wire(taken).id == asked.message.id
    other = dns.message.make_response(dns.message.make_query("evil.b", "A", id=7)).to_wire()
    for bad in (good[:11], wire.for_upstream(asked, 7), other, good[:20]):
        assert wire.from_upstream(asked, bad, 7, over_tcp=False) is None
    assert wire.from_upstream(asked, good, 8, over_tcp=False) is None


def test_an_answer_that_is_too_long_for_a_datagram_asks_for_tcp() -> None:
    """Row S-88: 64 kB answers."""
    asked = question("a.b")
    answer = dns.message.make_response(dns.message.from_wire(wire.for_upstream(asked, 7)))
    long = answer.to_wire() + bytes(60_000)
    short = wire.from_upstream(asked, long, 7, over_tcp=False)
    assert short is not None
    assert dns.message.from_wire(short).flags & dns.flags.TC
    assert len(short) < 100
    whole = wire.from_upstream(asked, long, 7, over_tcp=True)
    assert whole is not None
    assert len(whole) == len(long)
    assert (
        len(wire.fitted(question("a.b", use_edns=0, payload=65000), bytes(5000), over_tcp=False))
        < 100
    )


@given(st.binary(max_size=300))
def test_any_bytes_are_answered_or_passed_over(raw: bytes) -> None:
    """Row S-88: malformed packets."""
    parsed = parse_question(raw)
    if isinstance(parsed, Question):
        answer_locally(parsed, TABLE, "2")
        wire.for_upstream(parsed, 1)
        wire.truncated(parsed)
        wire.failure(parsed)


@given(st.binary(max_size=120), st.integers(0, 60), st.binary(min_size=1, max_size=6))
def test_a_damaged_question_is_answered_or_passed_over(
    tail: bytes, position: int, damage: bytes
) -> None:
    """Row S-88: bytes that are nearly right reach further into the parser."""
    raw = bytearray(
        dns.message.make_query(
            "web.back", "A", use_edns=0, options=[dns.edns.ECSOption("10.1.2.0", 24)]
        ).to_wire()
        + tail
    )
    raw[position : position + len(damage)] = damage
    parsed = parse_question(bytes(raw))
    if isinstance(parsed, Question):
        answer_locally(parsed, TABLE, "2")
        wire.for_upstream(parsed, 1)
        wire.from_upstream(parsed, bytes(raw), 1, over_tcp=False)


@given(st.binary(max_size=200))
def test_any_bytes_may_come_from_a_resolver(raw: bytes) -> None:
    asked = question("a.b")
    wire.from_upstream(asked, b"\x00\x07\x80\x00" + raw, 7, over_tcp=False)
