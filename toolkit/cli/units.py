# SPDX-License-Identifier: Apache-2.0
"""Sizes and shares as people write and read them; docker's formats. Pure."""

from __future__ import annotations

import re

from toolkit.errors import InvalidRequestError

_MEMORY = re.compile(r"(\d+(?:\.\d+)?)([kmgtp]?)i?b?", re.IGNORECASE | re.ASCII)
_DECIMAL = re.compile(r"\d*\.?\d+|\d+\.", re.ASCII)
_BILLION_DIGITS = 9


def parse_memory(text: str) -> int:
    """Return the bytes that ``64m``, ``1.5g`` or ``32768`` mean; powers of 1024.

    Raises:
        InvalidRequestError: It is not a size.
    """
    match = _MEMORY.fullmatch(text)
    if not match:
        raise InvalidRequestError(f"invalid size: {text!r}: use a number, then b, k, m or g")
    whole, _, fraction = match[1].partition(".")
    power = "bkmgtp".index(match[2].lower() or "b")
    return (int(whole + fraction) << 10 * power) // int("1" + "0" * len(fraction))


def parse_cpus(text: str) -> int:
    """Return billionths of a CPU.

    Raises:
        InvalidRequestError: It is not a number, or finer than a billionth.
    """
    if not _DECIMAL.fullmatch(text):
        raise InvalidRequestError(f"failed to parse {text!r} as a number of CPUs")
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    if len(fraction) > _BILLION_DIGITS:
        raise InvalidRequestError(f"number of CPUs {text} is too precise")
    return int((whole or "0") + fraction.ljust(_BILLION_DIGITS, "0"))


def human_size(size_bytes: float, digits: int = 4) -> str:
    """Return a size in powers of 1000, e.g. ``1.024kB``."""
    return _scaled(size_bytes, 1000, ("B", "kB", "MB", "GB", "TB", "PB"), digits)


def human_memory(size_bytes: float, digits: int = 4) -> str:
    """Return a size in powers of 1024, e.g. ``64MiB``."""
    return _scaled(size_bytes, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"), digits)


def _scaled(size: float, base: int, units: tuple[str, ...], digits: int) -> str:
    step = 0
    while size >= base and step < len(units) - 1:
        size /= base
        step += 1
    return f"{size:.{digits}g}{units[step]}"
