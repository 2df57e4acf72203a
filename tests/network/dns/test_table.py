# SPDX-License-Identifier: Apache-2.0
"""Names of networks."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from toolkit.network.dns.table import NameRecord, NameTable

WEB = NameRecord("1", ("web", "site", "111111111111"), (ip_address("172.18.0.2"),))
DB = NameRecord("2", ("db",), (ip_address("172.18.0.3"), ip_address("fd00::3")))


@pytest.fixture
def table() -> NameTable:
    made = NameTable()
    made.publish("n1", "back", WEB)
    made.publish("n1", "back", DB)
    made.seat("1", ["n1"])
    made.seat("2", ["n1"], {"store": "web"})
    return made


@pytest.mark.parametrize("name", ["web", "WEB", "site", "111111111111", "web.back", "Web.Back"])
def test_a_container_has_names_aliases_and_a_short_id(table: NameTable, name: str) -> None:
    assert table.lookup("2", name) == WEB.addresses


def test_both_kinds_of_addresses_are_known(table: NameTable) -> None:
    assert table.lookup("1", "db") == DB.addresses


def test_names_are_those_of_the_asker_s_networks(table: NameTable) -> None:
    table.publish("n2", "other", NameRecord("3", ("secret",), (ip_address("10.0.0.1"),)))
    assert table.lookup("1", "secret") is None
    assert table.reverse("1", ip_address("10.0.0.1")) is None
    table.seat("1", ["n1", "n2"])
    assert table.lookup("1", "secret") == (ip_address("10.0.0.1"),)
    table.unseat("1")
    assert table.lookup("1", "web") is None


def test_the_first_network_that_knows_a_name_answers(table: NameTable) -> None:
    other = NameRecord("9", ("web",), (ip_address("10.0.0.9"),))
    table.publish("n2", "other", other)
    table.seat("5", ["n2", "n1"])
    assert table.lookup("5", "web") == other.addresses
    assert table.lookup("5", "web.back") == WEB.addresses


def test_an_alias_of_several_goes_round(table: NameTable) -> None:
    for number in (4, 5):
        address = ip_address(f"172.18.0.{number}")
        table.publish("n1", "back", NameRecord(str(number), ("pool",), (address,)))
    answers = [table.lookup("1", "pool") for _ in range(4)]
    assert all(answer and len(answer) == 2 for answer in answers)
    firsts = [answer[0] for answer in answers if answer]
    assert firsts[0] != firsts[1]
    assert firsts[:2] == firsts[2:]


def test_a_link_s_alias_is_its_user_s_alone(table: NameTable) -> None:
    assert table.lookup("2", "store") == WEB.addresses
    assert table.lookup("1", "store") is None


def test_addresses_have_names(table: NameTable) -> None:
    assert table.reverse("1", ip_address("fd00::3")) == "db.back"
    assert table.reverse("1", ip_address("172.18.0.9")) is None


def test_a_change_is_visible_at_once(table: NameTable) -> None:
    moved = NameRecord("1", ("renamed",), (ip_address("172.18.0.7"),))
    table.publish("n1", "back", moved)
    assert table.lookup("2", "web") is None
    assert table.lookup("2", "renamed") == moved.addresses
    assert table.reverse("2", ip_address("172.18.0.2")) is None
    table.withdraw("n1", "1")
    assert table.lookup("2", "renamed") is None
    assert table.published() == {"n1": ["2"]}
    table.withdraw("n1", "2")
    table.withdraw("n1", "2")
    assert table.published() == {}
