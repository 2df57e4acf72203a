# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from toolkit.cli.moments import ago, human_duration, parse_moment
from toolkit.errors import InvalidRequestError

HOUR = 3600
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (59 * 60, "59 minutes"),
        (HOUR, "About an hour"),
        (1.6 * HOUR, "2 hours"),
        (47 * HOUR, "47 hours"),
        (3 * DAY, "3 days"),
        (15 * DAY, "2 weeks"),
        (61 * DAY, "2 months"),
        (3 * 365 * DAY, "3 years"),
    ],
)
def test_durations_are_in_dockers_words(seconds: float, words: str) -> None:
    assert human_duration(seconds) == words


def test_ago_counts_from_now() -> None:
    assert ago(100, now=220) == "2 minutes ago"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", ""),
        ("12.5", "12.5"),
        ("10m", "400.000000000"),
        ("1m30s", "910.000000000"),
        ("1970-01-01T00:00:01Z", "1.000000"),
        ("1970-01-01T00:00:01.123456789Z", "1.123456"),
        ("1970-01-01T01:00:01+01:00", "1.000000"),
    ],
)
def test_moments_become_seconds(text: str, seconds: str) -> None:
    assert parse_moment(text, now=1000) == seconds


@pytest.mark.parametrize("text", ["yesterday", "10x", "2020-13-01"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="invalid time"):
        parse_moment(text)
