# SPDX-License-Identifier: Apache-2.0
"""Times as docker writes them: RFC 3339 with nanoseconds, and words for people."""

from __future__ import annotations

from datetime import UTC, datetime

NEVER = "0001-01-01T00:00:00Z"

_SECOND_WORDS = ((1, "Less than a second"), (2, "1 second"), (60, "{} seconds"))
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_WEEKS_FROM, _MONTHS_FROM, _YEARS_FROM = 14 * _DAY, 60 * _DAY, 730 * _DAY


def rfc3339_nano(moment: datetime | None) -> str:
    """Return a time as Go's RFC3339Nano does: UTC, no zeros at the end; never is year 1."""
    if moment is None:
        return NEVER
    text = moment.astimezone(UTC).isoformat().removesuffix("+00:00")
    return f"{text.rstrip('0') if moment.microsecond else text}Z"


def rfc3339_nano_of_ns(time_ns: int) -> str:
    """Return nanoseconds since 1970 with exactly nine fraction digits, as in logs."""
    seconds, nanoseconds = divmod(time_ns, 10**9)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def unix_seconds(moment: datetime | None) -> int:
    """Return whole seconds since 1970; 0 for never."""
    return 0 if moment is None else int(moment.timestamp())


def human_duration(seconds: float) -> str:
    """Return a length of time in docker's words (``About a minute``, ``3 weeks``)."""
    whole = int(seconds)
    for below, words in _SECOND_WORDS:
        if whole < below:
            return words.format(whole)
    minutes = whole // _MINUTE
    if minutes == 1:
        return "About a minute"
    if minutes < _HOUR // _MINUTE:
        return f"{minutes} minutes"
    hours = int(seconds / _HOUR + 0.5)
    if hours == 1:
        return "About an hour"
    return _long_duration(whole, hours)


def _long_duration(whole: int, hours: int) -> str:
    """Return the words for two hours and more."""
    if hours < 2 * _DAY // _HOUR:
        return f"{hours} hours"
    if whole < _WEEKS_FROM:
        return f"{whole // _DAY} days"
    if whole < _MONTHS_FROM:
        return f"{whole // (7 * _DAY)} weeks"
    if whole < _YEARS_FROM:
        return f"{whole // (30 * _DAY)} months"
    return f"{whole // (365 * _DAY)} years"
