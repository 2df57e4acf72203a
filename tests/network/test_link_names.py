# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.network.interfaces import Link
from toolkit.network.link_names import LinkOwner, belongs_to, find_leftovers

NETWORK, CONTAINER = "n" * 64, "c" * 64
instances = st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)
ids = st.text(alphabet="0123456789abcdef", min_size=1, max_size=64)


@given(instances, ids, ids)
def test_names_fit_the_kernel_and_say_whose_they_are(
    instance: str, network: str, container: str
) -> None:
    owner = LinkOwner(instance, network, container)
    assert len(owner.link_name()) == 15
    assert belongs_to(instance, Link(index=1, name=owner.link_name()))
    assert LinkOwner.of(owner.alias) == owner
    assert len(owner.alias) < 256


@given(instances, instances)
def test_an_instance_does_not_take_the_links_of_another(one: str, other: str) -> None:
    if one != other:
        link = Link(index=1, name=LinkOwner(one, NETWORK, CONTAINER).link_name())
        assert not belongs_to(other, link)
        assert not belongs_to(other, Link(index=1, name=f"{one}0"))


def test_another_attempt_is_another_name() -> None:
    owner = LinkOwner("tkt", NETWORK, CONTAINER)
    assert len({owner.link_name(attempt) for attempt in range(4)}) == 4


@pytest.mark.parametrize("alias", ["", "eth", "toolkit", "toolkit:a", "toolkit:a:b:c:d", "x:a:b"])
def test_an_alias_of_others_names_nobody(alias: str) -> None:
    assert LinkOwner.of(alias) is None


@pytest.mark.parametrize("text", ["a:b", "a b", "a\n", "a" * 65])
def test_an_id_cannot_break_an_alias(text: str) -> None:
    with pytest.raises(ValueError, match="no id"):
        LinkOwner("tkt", NETWORK, text)


def test_links_that_nobody_known_should_have_are_leftovers() -> None:
    known, gone = LinkOwner("tkt", NETWORK, CONTAINER), LinkOwner("tkt", NETWORK, "d" * 64)
    bridge = LinkOwner("tkt", NETWORK)
    links = [
        Link(index=1, name="eth0"),
        Link(index=2, name=known.link_name(), alias=known.alias),
        Link(index=3, name=gone.link_name(), alias=gone.alias),
        Link(index=4, name=LinkOwner("tkt", "x", "y").link_name()),
        Link(index=5, name="tkt0", alias=bridge.alias),
        Link(index=6, name="other0", alias=LinkOwner("other", "x").alias),
    ]
    found = find_leftovers("tkt", links, networks={NETWORK}, containers={(NETWORK, CONTAINER)})
    assert [link.index for link in found] == [3, 4]
