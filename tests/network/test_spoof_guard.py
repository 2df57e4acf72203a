# SPDX-License-Identifier: Apache-2.0
"""Row S-84, as far as it is data; `integration/network/test_endpoint.py` sends the packets."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tests.fakes.firewall import FakeNft, FakeSets
from toolkit.network.spoof_guard import NftGuard

FOUR, SIX = ip_address("172.17.0.2"), ip_address("fd00::2")


@pytest.fixture
def nft() -> FakeNft:
    return FakeNft()


@pytest.fixture
def sets(nft: FakeNft) -> FakeSets:
    return FakeSets(nft)


@pytest.fixture(params=["nft", "sets"])
def guard(nft: FakeNft, sets: FakeSets, request: pytest.FixtureRequest) -> NftGuard:
    guard = NftGuard("tkt", nft, sets if request.param == "sets" else None)
    guard.reset()
    return guard


def elements(nft: FakeNft) -> int:
    objects = nft.tables["bridge", "toolkit_tkt"]
    bags = [entry.get("set") or entry.get("map") or {} for entry in objects]
    return sum(len(bag.get("elem", ())) for bag in bags)


def test_a_link_is_admitted_and_dismissed(nft: FakeNft, guard: NftGuard) -> None:
    guard.admit("tktA", "02:42:ac:11:00:02", [FOUR, SIX])
    assert guard.is_whole()
    assert elements(nft) == 6
    guard.dismiss("tktA")
    guard.dismiss("tktA")
    assert guard.is_whole()
    assert elements(nft) == 0


def test_a_link_that_is_admitted_again_has_its_new_address_alone(
    nft: FakeNft, guard: NftGuard
) -> None:
    guard.admit("tktA", "02:42:ac:11:00:02", [FOUR])
    guard.admit("tktA", "02:42:ac:11:00:03", [ip_address("172.17.0.3")])
    assert elements(nft) == 3
    assert "172.17.0.2" not in str(nft.tables)


def test_what_somebody_flushed_comes_back_with_reset(nft: FakeNft, guard: NftGuard) -> None:
    """S-82, F-13."""
    guard.admit("tktA", "02:42:ac:11:00:02", [FOUR])
    nft.flush()
    assert not guard.is_whole()
    guard.reset()
    assert guard.is_whole()
    assert elements(nft) == 3


def test_a_link_can_be_dismissed_after_somebody_flushed(nft: FakeNft, guard: NftGuard) -> None:
    guard.admit("tktA", "02:42:ac:11:00:02", [FOUR])
    nft.flush()
    guard.dismiss("tktA")
    guard.reset()
    assert elements(nft) == 0


def test_flush_leaves_the_tables_of_others(nft: FakeNft, guard: NftGuard) -> None:
    nft.tables["bridge", "foreign"] = []
    guard.flush()
    assert list(nft.tables) == [("bridge", "foreign")]


def test_a_link_without_ipv6_costs_no_transaction_of_nft(nft: FakeNft, sets: FakeSets) -> None:
    guard = NftGuard("tkt", nft, sets)
    guard.reset()
    before = len(nft.transactions)
    guard.admit("tktA", "02:42:ac:11:00:02", [FOUR])
    guard.dismiss("tktA")
    assert (len(nft.transactions) - before, sets.changes) == (0, 2)
    guard.admit("tktA", "02:42:ac:11:00:02", [FOUR, SIX])
    assert (len(nft.transactions) - before, sets.changes) == (1, 2)


def test_a_link_is_admitted_where_nothing_was_written_yet(nft: FakeNft, sets: FakeSets) -> None:
    guard = NftGuard("tkt", nft, sets)
    guard.admit("tktA", "02:42:ac:11:00:02", [FOUR])
    assert guard.is_whole()
    assert elements(nft) == 3


def test_nothing_is_missing_before_the_first_admission(nft: FakeNft, sets: FakeSets) -> None:
    """A change of the firewall while the first bridge is made is compared too."""
    guard = NftGuard("tkt", nft, sets)
    assert guard.is_whole()
    guard.admit("tktA", "02:42:ac:11:00:02", [FOUR])
    guard.dismiss("tktA")
    nft.flush()
    assert not guard.is_whole()
