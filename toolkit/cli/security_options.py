# SPDX-License-Identifier: Apache-2.0
"""`--security-opt`: a filter's file is read here, because the engine may be elsewhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORDS: Final = frozenset(("", "unconfined", "builtin", "default"))


def read_security_options(options: Iterable[str]) -> list[str]:
    """Return the options with each ``seccomp=FILE`` replaced by what the file holds.

    Raises:
        InvalidRequestError: A file cannot be read, or holds no profile.
    """
    return [_read(option) for option in options]


def _read(option: str) -> str:
    name, separator, value = option.partition("=" if "=" in option else ":")
    if name != "seccomp" or not separator or value in _WORDS:
        return option
    try:
        with open(value, encoding="utf-8") as file:  # noqa: PTH123  # pathlib costs an import
            profile = json.load(file)
    except (OSError, ValueError) as error:
        raise InvalidRequestError(f"opening seccomp profile ({value}) failed: {error}") from error
    return f"seccomp={json.dumps(profile, separators=(',', ':'))}"
