# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from toolkit.errors import InvalidRequestError
from toolkit.kernel import capabilities
from toolkit.kernel.capabilities import CAPABILITIES, CapabilitySets

LAST = 40


def test_numbers_are_the_kernels() -> None:
    numbers = {name: CAPABILITIES.index(name) for name in CAPABILITIES}
    assert numbers["CAP_CHOWN"] == 0
    assert numbers["CAP_SYS_ADMIN"] == 21
    assert numbers["CAP_AUDIT_READ"] == 37
    assert numbers["CAP_CHECKPOINT_RESTORE"] == 40


@pytest.mark.parametrize("name", ["CAP_NET_RAW", "NET_RAW", "net_raw", "Cap_Net_Raw"])
def test_a_name_is_read_with_and_without_prefix_in_any_case(name: str) -> None:
    assert capabilities.parse_capability(name) == 13


def test_an_unknown_name_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequestError, match="CAP_FLY"):
        capabilities.numbers(["CHOWN", "CAP_FLY"])


def test_all_stands_for_what_this_kernel_knows() -> None:
    assert capabilities.parse_capabilities(["all"], 37) == frozenset(range(38))


def test_what_this_kernel_does_not_know_is_left_out() -> None:
    assert capabilities.parse_capabilities(["BPF", "KILL"], 37) == {5}


def test_a_missing_set_of_a_document_is_empty() -> None:
    """Row S-08: inheritable and ambient are empty unless they are asked for."""
    sets = CapabilitySets.from_document({"bounding": ["CAP_KILL"], "permitted": ["KILL"]}, LAST)
    assert sets == CapabilitySets(bounding=frozenset({5}), permitted=frozenset({5}))


def test_sets_are_limited_to_what_is_held() -> None:
    """Row S-09: a capability that we lack (CAP_SYS_RESOURCE) fails nothing."""
    held = CapabilitySets(
        bounding=frozenset({5, 7}), permitted=frozenset({5, 7}), effective=frozenset({5, 7})
    )
    asked = frozenset({5, 24})
    limited = CapabilitySets(
        bounding=asked, permitted=asked, effective=asked, inheritable=asked, ambient=asked
    ).limited_to(held)
    assert limited == CapabilitySets(
        bounding=frozenset({5}),
        permitted=frozenset({5}),
        effective=frozenset({5}),
        inheritable=frozenset({5}),
        ambient=frozenset({5}),
    )


def test_held_capabilities_are_those_of_proc() -> None:
    with open("/proc/thread-self/status", encoding="ascii") as file:  # noqa: PTH123 - one line
        status = dict(line.split(":", 1) for line in file)
    held = capabilities.held_capabilities()
    for key, numbers in (
        ("CapBnd", held.bounding),
        ("CapEff", held.effective),
        ("CapPrm", held.permitted),
        ("CapInh", held.inheritable),
        ("CapAmb", held.ambient),
    ):
        assert int(status[key], 16) == sum(1 << number for number in numbers)


def test_last_capability_is_one_that_the_kernel_answers_for() -> None:
    assert capabilities.last_capability() >= max(capabilities.held_capabilities().bounding)
