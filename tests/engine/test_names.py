# SPDX-License-Identifier: Apache-2.0
"""What a name is, and how one is made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.engine.names import LEFT, RIGHT, checked_name, made_up_name
from toolkit.errors import InvalidNameError


@given(st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}", fullmatch=True))
def test_a_name_is_kept_without_its_slash(name: str) -> None:
    """RT-008."""
    assert checked_name(name) == name
    assert checked_name(f"/{name}") == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "x",
        "-ab",
        ".ab",
        "a b",
        "a/b",
        "//ab",
        "ab\n",
        "a\x1b[31m",
        "..",
        "ä" * 3,
        "a" * 129,
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    """Row S-76."""
    with pytest.raises(InvalidNameError) as caught:
        checked_name(text)
    assert caught.value.status == 400


def test_a_made_up_name_is_two_words_of_the_lists() -> None:
    """RT-010, RT-011."""
    left, right = made_up_name(lambda _: False).split("_")
    assert left in LEFT
    assert right in RIGHT


def test_the_lists_are_those_of_0_7_2() -> None:
    """Rule 7.29."""
    assert (len(LEFT), LEFT[0], LEFT[-1]) == (49, "happy", "evil")
    assert (len(RIGHT), RIGHT[0], RIGHT[-1]) == (41, "lovelace", "shockley")


def test_a_taken_name_grows_by_a_digit_five_times_at_most() -> None:
    asked: list[str] = []

    def is_taken(name: str) -> bool:
        asked.append(name)
        return True

    assert made_up_name(is_taken) == ""
    assert [len(name) - len(asked[0]) for name in asked] == [0, 1, 2, 3, 4, 5]


@given(st.integers(0, 5))
def test_the_first_free_form_is_taken(taken: int) -> None:
    asked: list[str] = []

    def is_taken(name: str) -> bool:
        asked.append(name)
        return len(asked) <= taken

    name = made_up_name(is_taken)
    assert name == asked[-1]
    assert checked_name(name) == name
