# SPDX-License-Identifier: Apache-2.0
"""Durations and times as people write and read them; docker's formats. Pure."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Final

from toolkit.errors import InvalidRequestError

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)
_UNIX_SECONDS = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_FRACTION = re.compile(r"\.(\d+)")
_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_DAY_HOURS: Final = 24


def parse_duration(text: str) -> float:
    """Return the seconds that ``1h30m`` or ``250ms`` mean.

    Raises:
        InvalidRequestError: It is not a duration.
    """
    if not _DURATION.fullmatch(text):
        raise InvalidRequestError(f"invalid duration {text!r}: use ms, s, m and h, as 1h30m")
    parts = _DURATION_PART.findall(text)
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)


def parse_moment(text: str, now: float | None = None) -> str:
    """Return a moment as seconds for the wire: from seconds, RFC 3339, or so long ago.

    Raises:
        InvalidRequestError: It is none of these.
    """
    if not text or _UNIX_SECONDS.fullmatch(text):
        return text
    if _DURATION.fullmatch(text):
        return f"{(time.time() if now is None else now) - parse_duration(text):.9f}"
    try:
        return f"{parse_time(text).timestamp():.6f}"
    except ValueError:
        raise InvalidRequestError(
            f"invalid time {text!r}: use RFC 3339, unix seconds, or how long ago, as 10m"
        ) from None


def parse_time(text: str) -> datetime:
    """Return an RFC 3339 time, nanoseconds cut; without a zone it is local.

    Raises:
        ValueError: It is not a time.
    """
    cut = _FRACTION.sub(lambda match: "." + match[1][:6].ljust(6, "0"), text)
    moment = datetime.fromisoformat(cut)
    return moment if moment.tzinfo else moment.astimezone()


def human_duration(seconds: float) -> str:
    """Return docker's words for a length of time, e.g. ``About an hour``."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole < 60:  # noqa: PLR2004  # seconds of a minute
        return "1 second" if whole == 1 else f"{whole} seconds"
    if whole < 3600:  # noqa: PLR2004  # seconds of an hour
        minutes = whole // 60
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(whole / 3600 + 0.5)
    return "About an hour" if hours == 1 else _many_hours(hours, whole // 3600)


def _many_hours(hours: int, whole_hours: int) -> str:
    for unit_hours, word, below in (
        (1, "hours", 2 * _DAY_HOURS),
        (_DAY_HOURS, "days", 14 * _DAY_HOURS),
        (7 * _DAY_HOURS, "weeks", 60 * _DAY_HOURS),
        (30 * _DAY_HOURS, "months", 730 * _DAY_HOURS),
    ):
        if hours < below:
            return f"{hours // unit_hours} {word}"
    return f"{whole_hours // (365 * _DAY_HOURS)} years"


def ago(moment: datetime | float, now: float | None = None) -> str:
    """Return how long ago a moment was."""
    then = moment.timestamp() if isinstance(moment, datetime) else moment
    return human_duration((time.time() if now is None else now) - then) + " ago"


def local_time(seconds: float) -> str:
    """Return a moment as docker's ``CreatedAt``."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z")
