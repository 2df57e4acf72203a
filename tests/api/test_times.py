# SPDX-License-Identifier: Apache-2.0
"""Times as docker writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from toolkit.api.times import (
    human_duration,
    rfc3339_nano,
    rfc3339_nano_of_ns,
    unix_seconds,
)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (None, "0001-01-01T00:00:00Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 120000, tzinfo=UTC), "2026-01-02T03:04:05.12Z"),
        (datetime(2026, 1, 2, 3, 4, 10, tzinfo=UTC), "2026-01-02T03:04:10Z"),
        (datetime.min.replace(tzinfo=UTC), "0001-01-01T00:00:00Z"),
        (
            datetime(2026, 1, 2, 3, 4, 5, 1, tzinfo=timezone(timedelta(hours=2))),
            "2026-01-02T01:04:05.000001Z",
        ),
    ],
)
def test_inspect_times_have_no_zeros_at_the_end(moment: datetime | None, text: str) -> None:
    assert rfc3339_nano(moment) == text


def test_log_times_have_nine_digits() -> None:
    assert rfc3339_nano_of_ns(1136214245 * 10**9 + 5) == "2006-01-02T15:04:05.000000005Z"


def test_never_is_zero_seconds() -> None:
    assert unix_seconds(None) == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (45, "45 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (3 * 3600, "3 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_durations_are_told_in_dockers_words(seconds: float, words: str) -> None:
    assert human_duration(seconds) == words
