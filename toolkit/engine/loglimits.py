# SPDX-License-Identifier: Apache-2.0
"""How much of a container's output is kept: docker's options of the json-file log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIZE: Final = re.compile(r"([0-9]{1,15})([kmgt]?)i?b?", re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_FILES: Final = re.compile(r"[1-9][0-9]{0,3}")
_KNOWN_OPTIONS: Final = frozenset(("max-size", "max-file", "compress", "labels", "env", "tag"))


def check_log_options(options: Mapping[str, str]) -> None:
    """Refuse options that the json-file log does not have.

    Raises:
        InvalidRequestError: With the option's name.
    """
    for name in options:
        if name not in _KNOWN_OPTIONS:
            raise InvalidRequestError(f"unknown log opt '{name[:80]}' for json-file log driver")
    log_limits(options, default_bytes=1, default_files=1)


def log_limits(
    options: Mapping[str, str], *, default_bytes: int, default_files: int
) -> tuple[int, int]:
    """Return the largest size of one log file in bytes (0: none), and how many are kept."""
    size, files = options.get("max-size", ""), options.get("max-file", "")
    match = _SIZE.fullmatch(size)
    if size == "-1":
        return 0, 1
    if size and (not match or not int(match[1])):
        raise InvalidRequestError(f"invalid log opt max-size: {size[:80]!r}")
    if files and not _FILES.fullmatch(files):
        raise InvalidRequestError(f"invalid log opt max-file: {files[:80]!r}")
    largest = default_bytes
    if match:
        largest = int(match[1]) * 1024 ** _POWERS[match[2].lower()]
    return largest, int(files) if files else default_files
