# SPDX-License-Identifier: Apache-2.0
"""Values in a query."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.api.query import Query, parse_time_ns
from toolkit.errors import InvalidRequestError

KNOWN = frozenset({"name", "status"})


@pytest.mark.parametrize("text", ["", "0", "no", "FALSE", "False", "none", " 0 "])
def test_dockers_words_for_no(text: str) -> None:
    """API-089."""
    assert not Query(f"x={text}").flag("x", default=True)


@pytest.mark.parametrize("text", ["1", "True", "true", "yes", "faux"])
def test_anything_else_means_yes(text: str) -> None:
    """API-089: what was refused in 0.7.2 counts as true today."""
    assert Query(f"x={text}").flag("x")


def test_a_flag_that_is_not_there_has_its_default() -> None:
    assert Query().flag("x", default=True)
    assert not Query("y=1").flag("x")


@pytest.mark.parametrize("text", ["x", "1.5", "9" * 30, "1e3"])
def test_a_number_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="whole number"):
        Query(f"t={text}").number("t")


def test_numbers_may_be_negative_or_missing() -> None:
    assert Query("limit=-1").number("limit") == -1
    assert Query("limit=").number("limit", 3) == 3


@pytest.mark.parametrize(
    "raw",
    [
        "filters=%7B%22name%22%3A%5B%22a%22%5D%7D",
        "filters=%7B%22name%22%3A%7B%22a%22%3Atrue%2C%22b%22%3Afalse%7D%7D",
    ],
)
def test_filters_come_in_two_shapes(raw: str) -> None:
    assert Query(raw).filters(KNOWN) == {"name": ["a"]}


@pytest.mark.parametrize("raw", ["filters=x", "filters=[1]", "filters=%7B%22name%22%3A1%7D"])
def test_filters_of_another_shape_are_refused(raw: str) -> None:
    with pytest.raises(InvalidRequestError, match="invalid filter"):
        Query(raw).filters(KNOWN)


def test_an_unknown_filter_is_named() -> None:
    with pytest.raises(InvalidRequestError, match="invalid filter 'x'"):
        Query("filters=%7B%22x%22%3A%5B%5D%7D").filters(KNOWN)


@pytest.mark.parametrize("raw", ["a=%00", "a=%ff", "&".join(f"a{n}=1" for n in range(1000))])
def test_a_hostile_query_is_refused(raw: str) -> None:
    """S-94."""
    with pytest.raises(InvalidRequestError):
        Query(raw)


NOW_NS = 1_000_000_000 * 10**9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("12", 12 * 10**9),
        ("12.5", 12_500_000_000),
        ("1136073600.000000001", 1136073600 * 10**9 + 1),
        ("2006-01-02T15:04:05Z", 1136214245 * 10**9),
        ("2006-01-02T15:04:05.123456789Z", 1136214245 * 10**9 + 123456789),
        ("2006-01-02T17:04:05+02:00", 1136214245 * 10**9),
        ("10s", NOW_NS - 10 * 10**9),
        ("1h30m", NOW_NS - 5400 * 10**9),
    ],
)
def test_times_come_as_seconds_rfc3339_or_durations(text: str, expected: int) -> None:
    assert parse_time_ns(text, name="since", now_ns=NOW_NS) == expected


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_a_named_error(text: str) -> None:
    try:
        parse_time_ns(text, name="since", now_ns=NOW_NS)
    except InvalidRequestError as error:
        assert "since" in str(error)  # noqa: PT017 - a property: either way is right
