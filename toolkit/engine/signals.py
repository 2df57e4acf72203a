# SPDX-License-Identifier: Apache-2.0
"""Signals by number or by name, as `kill` and `StopSignal` give them."""

from __future__ import annotations

import re
import signal
from typing import Final

from toolkit.errors import InvalidRequestError

_HIGHEST: Final = 64
_REAL_TIME: Final = re.compile(r"RTM(IN|AX)(?:([+-])([0-9]{1,2}))?")
_FIRST_REAL_TIME: Final = 34  # what the libraries leave to programs
_NAMES: Final = {known.name.removeprefix("SIG"): known.value for known in signal.Signals}


def parse_signal(text: str, default: int = signal.SIGKILL) -> int:
    """Return the number of a signal: ``9``, ``KILL``, ``SIGKILL``, ``rtmin+3``.

    Raises:
        InvalidRequestError: There is no such signal.
    """
    if not text:
        return default
    name = text.upper().removeprefix("SIG")
    number = _NAMES.get(name, 0) or _real_time(name)
    if not number and name.isascii() and name.isdigit() and len(name) <= len(str(_HIGHEST)):
        number = int(name)
    if not 1 <= number <= _HIGHEST:
        raise InvalidRequestError(f"Invalid signal: {text}")
    return number


def _real_time(name: str) -> int:
    match = _REAL_TIME.fullmatch(name)
    if match is None:
        return 0
    start, sign, offset = match.groups()
    base = _FIRST_REAL_TIME if start == "IN" else _HIGHEST
    if sign is None:
        return base
    return base + int(offset) if sign == "+" else base - int(offset)
