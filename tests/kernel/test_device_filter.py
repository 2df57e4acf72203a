# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.bpf import evaluate_device_program
from toolkit.errors import InvalidRequestError
from toolkit.kernel.device_filter import (
    BPF_DEVCG_ACC_MKNOD,
    BPF_DEVCG_ACC_READ,
    BPF_DEVCG_ACC_WRITE,
    BPF_DEVCG_DEV_BLOCK,
    BPF_DEVCG_DEV_CHAR,
    DeviceRules,
)

CHAR, BLOCK = BPF_DEVCG_DEV_CHAR, BPF_DEVCG_DEV_BLOCK
READ, WRITE, MKNOD = BPF_DEVCG_ACC_READ, BPF_DEVCG_ACC_WRITE, BPF_DEVCG_ACC_MKNOD

_numbers = st.sampled_from([None, 0, 1, 3, 136, 4095])
_rules = st.lists(
    st.fixed_dictionaries(
        {
            "allow": st.booleans(),
            "type": st.sampled_from(["a", "b", "c"]),
            "major": _numbers,
            "minor": _numbers,
            "access": st.sampled_from(["r", "w", "m", "rw", "rwm"]),
        }
    ),
    max_size=8,
)
_questions = st.tuples(
    st.sampled_from([CHAR, BLOCK]),
    st.sampled_from([0, 1, 3, 136, 4095]),
    st.sampled_from([0, 1, 3, 9]),
    st.integers(1, 7),
)


def deny_all_but(*allowed: dict[str, Any]) -> DeviceRules:
    return DeviceRules.reduce([{"allow": False, "access": "rwm"}, *allowed])


@given(_rules, _questions)
def test_program_decides_as_the_rules(
    rules: list[dict[str, Any]], question: tuple[int, int, int, int]
) -> None:
    reduced = DeviceRules.reduce(rules)
    assert evaluate_device_program(reduced.program(), *question) == reduced.permits(*question)


def test_an_allowed_device_may_be_used_as_far_as_its_rule_goes() -> None:
    """The default denies mknod: security.md section 3, devices cgroup."""
    rules = deny_all_but({"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"})
    assert rules.permits(CHAR, 1, 3, READ | WRITE)
    assert not rules.permits(CHAR, 1, 3, MKNOD)
    assert not rules.permits(BLOCK, 1, 3, READ)
    assert not rules.permits(CHAR, 1, 4, READ)


def test_rules_for_the_same_device_add_up() -> None:
    device = {"allow": True, "type": "c", "major": 1, "minor": 3}
    rules = deny_all_but({**device, "access": "r"}, {**device, "access": "w"})
    assert rules.permits(CHAR, 1, 3, READ | WRITE)


def test_a_later_rule_takes_an_earlier_one_back() -> None:
    device = {"type": "b", "major": 8, "minor": 0}
    rules = deny_all_but(
        {**device, "allow": True, "access": "rwm"}, {**device, "allow": False, "access": "w"}
    )
    assert rules.permits(BLOCK, 8, 0, READ)
    assert not rules.permits(BLOCK, 8, 0, WRITE)


def test_one_device_can_be_denied_where_all_are_allowed() -> None:
    rules = DeviceRules.reduce([{"allow": False, "type": "b", "major": 8, "access": "w"}])
    assert not rules.permits(BLOCK, 8, 1, READ | WRITE)
    assert rules.permits(BLOCK, 8, 1, READ)


def test_v1_lines_reset_the_group_and_then_name_the_exceptions() -> None:
    rules = deny_all_but({"allow": True, "type": "c", "major": 136, "access": "rw"})
    assert rules.v1_lines() == [("devices.deny", "a"), ("devices.allow", "c 136:* rw")]


def test_v1_lines_of_a_privileged_group_allow_everything() -> None:
    rules = DeviceRules.reduce([{"allow": True, "type": "a", "access": "rwm"}])
    assert rules.v1_lines() == [("devices.allow", "a")]


@pytest.mark.parametrize("wrong", [{"type": "p"}, {"type": "c", "access": "rx"}])
def test_an_unknown_word_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        DeviceRules.reduce([{"allow": True, **wrong}])
