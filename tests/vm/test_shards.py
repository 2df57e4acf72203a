# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import InvalidRequestError
from toolkit.vm.shards import Shard

GROUPS = st.lists(st.sampled_from("abcdefgh"), max_size=60)


def parts(count: int) -> list[Shard]:
    return [Shard(number=number + 1, count=count) for number in range(count)]


@given(GROUPS, st.integers(1, 5))
def test_every_group_is_exactly_one_parts(groups: list[str], count: int) -> None:
    shares = [part.groups(groups) for part in parts(count)]
    assert sorted(name for share in shares for name in share) == sorted(set(groups))


@given(GROUPS, st.integers(1, 5))
def test_no_part_is_heavier_than_another_by_more_than_one_group(
    groups: list[str], count: int
) -> None:
    loads = [sum(groups.count(name) for name in part.groups(groups)) for part in parts(count)]
    largest = max((groups.count(name) for name in set(groups)), default=0)
    assert max(loads) - min(loads) <= largest


def test_the_order_of_the_tests_does_not_matter() -> None:
    groups = list("aaabbc")
    assert Shard(number=1, count=2).groups(groups) == Shard(number=1, count=2).groups(groups[::-1])


def test_a_part_is_written_as_it_is_read() -> None:
    assert str(Shard.parse("2/3")) == "2/3"


@pytest.mark.parametrize("text", ["", "2", "0/3", "4/3", "a/b", "1/2/3"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="TOOLKIT_SHARD"):
        Shard.parse(text)
