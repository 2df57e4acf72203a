# SPDX-License-Identifier: Apache-2.0
"""Order as people count: ``2`` before ``10``, also inside of a text."""

from __future__ import annotations

import re
from typing import Final

_DIGITS: Final = re.compile(r"([0-9]+)")


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Return what to sort a text by; numbers in it count, and stand before letters."""
    return [
        (0, int(part), part) if part.isdecimal() else (1, 0, part)
        for part in _DIGITS.split(text)
        if part
    ]
