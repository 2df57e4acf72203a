# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from toolkit.engine.model import NetworkId, NetworkRecord, NetworkSpec, PoolSpec
from toolkit.engine.network_index import NetworkIndex, predefined_id
from toolkit.errors import ConflictError, NetworkExistsError, NetworkNotFoundError


def network(name: str, network_id: str) -> NetworkRecord:
    return NetworkRecord(
        id=NetworkId(network_id), created=datetime.now(UTC), spec=NetworkSpec(name=name)
    )


@pytest.fixture
def index() -> NetworkIndex:
    made = NetworkIndex("test")
    made.put(network("one", "1a" + "0" * 62))
    made.put(network("two", "1b" + "0" * 62))
    return made


def test_every_instance_has_three_networks() -> None:
    assert [(each.name, each.spec.driver) for each in NetworkIndex("test").all()] == [
        ("bridge", "bridge"),
        ("host", "host"),
        ("none", "null"),
    ]
    assert predefined_id("test", "bridge") != predefined_id("other", "bridge")


def test_a_network_is_found_by_name_id_and_prefix(index: NetworkIndex) -> None:
    one = index.named("one")
    assert one is not None
    assert index.find("one") == index.find("1a") == index.find(one.id) == one


def test_a_name_wins_over_a_prefix(index: NetworkIndex) -> None:
    index.put(network("1a", "ff" + "0" * 62))
    assert index.find("1a").name == "1a"


def test_the_default_bridge_has_ipv6_as_it_is_set_now() -> None:
    """Whatever it had before; another network is as it was made."""
    pools = (PoolSpec(subnet="172.17.0.0/16"), PoolSpec(subnet="fd00:5::/64"))
    before = NetworkIndex("test", bridge_has_ipv6=True)
    had = before.find("bridge")
    assert had.spec.ipv6
    before.put(replace(had, subnets=pools))
    assert before.find("bridge").subnets == pools
    now = NetworkIndex("test")
    now.put(before.find("bridge"))
    assert not now.find("bridge").spec.ipv6
    assert now.find("bridge").subnets == pools[:1]
    now.put(replace(network("six", "6" * 64), spec=NetworkSpec(name="six", ipv6=True)))
    assert now.find("six").spec.ipv6


@pytest.mark.parametrize("reference", ["three", "", "zz"])
def test_an_unknown_network_is_not_found(index: NetworkIndex, reference: str) -> None:
    with pytest.raises(NetworkNotFoundError):
        index.find(reference)


def test_a_prefix_of_two_is_ambiguous(index: NetworkIndex) -> None:
    with pytest.raises(ConflictError, match="ambiguous"):
        index.find("1")


def test_a_taken_name_is_refused_until_it_is_dropped(index: NetworkIndex) -> None:
    with pytest.raises(NetworkExistsError):
        index.check_free("one")
    index.drop(NetworkId("1a" + "0" * 62))
    index.check_free("one")
