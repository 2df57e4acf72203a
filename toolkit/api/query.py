# SPDX-License-Identifier: Apache-2.0
"""Values in a query, as docker reads them: booleans, numbers, times, filters.

Knows the forms only; which names a route takes is the route's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import parse_qsl

import msgspec

from toolkit.errors import InvalidRequestError

_FALSE = frozenset({"", "0", "no", "false", "none"})
_MOST_FIELDS = 256
_UNIX_TIME = re.compile(r"(-?\d{1,12})(?:\.(\d{1,9}))?", re.ASCII)
_DURATION = re.compile(r"(?:\d{1,12}(?:\.\d{1,9})?(?:ns|us|\u00b5s|ms|s|m|h))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|\u00b5s|ms|s|m|h)", re.ASCII)
_UNIT_NS = {
    "ns": 1, "us": 1_000, "\u00b5s": 1_000, "ms": 1_000_000,
    "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_LAST_SECOND = 253_402_300_799  # of year 9999
_FRACTION = re.compile(r"\.(\d+)")

FilterTerms = Mapping[str, Sequence[str]]
_Filters = dict[str, list[str] | dict[str, bool]]
_filters_decoder = msgspec.json.Decoder(_Filters)
_NUMBER = re.compile(r"[+-]?\d{1,18}", re.ASCII)


class Query:
    """The query of one request."""

    __slots__ = ("_values",)

    def __init__(self, raw: str = "") -> None:
        self._values: dict[str, list[str]] = {}
        if not raw:
            return
        try:
            pairs = parse_qsl(
                raw, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
            )
        except ValueError as error:
            raise InvalidRequestError(f"the query cannot be read: {error}") from None
        for name, value in pairs:
            if "\0" in name or "\0" in value:
                raise InvalidRequestError("the query holds a NUL character")
            self._values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        """Return the first value of *name*."""
        values = self._values.get(name)
        return values[0] if values else default

    def texts(self, name: str) -> tuple[str, ...]:
        """Return every value of *name*."""
        return tuple(self._values.get(name, ()))

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a boolean: whatever is not one of docker's words for no means yes."""
        values = self._values.get(name)
        if values is None:
            return default
        return values[0].strip().lower() not in _FALSE

    def number(self, name: str, default: int | None = None) -> int | None:
        """Return a whole number, or *default* where there is none.

        Raises:
            InvalidRequestError: It is no number.
        """
        text = self.text(name).strip()
        if not text:
            return default
        if not _NUMBER.fullmatch(text):
            raise InvalidRequestError(
                f"invalid value {text!r} for {name!r}: expected a whole number"
            )
        return int(text)

    def time_ns(self, name: str, *, now_ns: int) -> int | None:
        """Return a point in time in nanoseconds since 1970, or None where there is none."""
        text = self.text(name).strip()
        return parse_time_ns(text, name=name, now_ns=now_ns) if text else None

    def filters(self, known: frozenset[str]) -> FilterTerms:
        """Return the ``filters``, in whichever of the two shapes they came.

        Raises:
            InvalidRequestError: Not JSON of that shape, or a key that is not *known*.
        """
        text = self.text("filters")
        if not text:
            return {}
        try:
            raw = _filters_decoder.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidRequestError(f"invalid filter: {error}") from None
        for key in raw:
            if key not in known:
                raise InvalidRequestError(f"invalid filter '{key}'")
        return {
            key: values if isinstance(values, list) else [text for text in values if values[text]]
            for key, values in raw.items()
        }


def parse_time_ns(text: str, *, name: str, now_ns: int) -> int:
    """Return what a text says about time, in nanoseconds since 1970.

    Taken are ``seconds[.fraction]``, RFC 3339, and a duration before now.

    Raises:
        InvalidRequestError: It is none of these.
    """
    if found := _UNIX_TIME.fullmatch(text):
        seconds, fraction = found.group(1), found.group(2) or ""
        sign = -1 if seconds.startswith("-") else 1
        if abs(int(seconds)) > _LAST_SECOND:
            raise InvalidRequestError(f"invalid value {text!r} for {name!r}: no such time")
        return int(seconds) * 10**9 + sign * int(fraction.ljust(9, "0"))
    if _DURATION.fullmatch(text):
        parts = _DURATION_PART.findall(text)
        return now_ns - int(sum(float(number) * _UNIT_NS[unit] for number, unit in parts))
    try:
        return _rfc3339_ns(text)
    except (ValueError, OverflowError):
        raise InvalidRequestError(
            f"invalid value {text!r} for {name!r}: "
            "expected seconds since 1970, an RFC 3339 time or a duration"
        ) from None


def _rfc3339_ns(text: str) -> int:
    """Return an RFC 3339 time in nanoseconds; Python's own reader stops at microseconds."""
    fraction = _FRACTION.search(text)
    nanoseconds = int(fraction.group(1)[:9].ljust(9, "0")) if fraction else 0
    moment = datetime.fromisoformat(_FRACTION.sub("", text, count=1))
    if moment.tzinfo is None:
        moment = moment.astimezone()
    return int(moment.timestamp()) * 10**9 + nanoseconds
