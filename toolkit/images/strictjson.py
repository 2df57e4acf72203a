# SPDX-License-Identifier: Apache-2.0
"""JSON from strangers: bounded in length and depth, and meaning one thing only (row S-55)."""

from __future__ import annotations

import json
from typing import Any, Final

from toolkit.images.image import InvalidImageError

_DEEPEST: Final = 64


def parse_object(content: bytes, subject: str, *, limit_bytes: int) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        InvalidImageError: It is none, or too long, too deep or ambiguous; *subject* is named.
    """
    value = parse(content, subject, limit_bytes=limit_bytes)
    if not isinstance(value, dict):
        raise InvalidImageError(f"{subject} is not a JSON object")
    return value


def parse(content: bytes, subject: str, *, limit_bytes: int) -> Any:
    """Return a JSON value.

    Raises:
        InvalidImageError: It is none, or too long, too deep or ambiguous; *subject* is named.
    """
    if len(content) > limit_bytes:
        raise InvalidImageError(f"{subject} is longer than the {limit_bytes} bytes allowed")
    try:
        value = json.loads(
            content.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_distinct
        )
        _check(value)
    except (ValueError, RecursionError) as error:
        reason = str(error)[:200] or "it is too deep"
        raise InvalidImageError(f"{subject} is not usable JSON: {reason}") from error
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return value


def _check(value: Any) -> None:
    """Refuse what is too deep, and texts that no file or terminal can hold."""
    level = [value]
    for _ in range(_DEEPEST):
        deeper: list[Any] = []
        for each in level:
            if isinstance(each, str):
                each.encode()  # half of a surrogate pair is a UnicodeEncodeError
            elif isinstance(each, list):
                deeper += each
            elif isinstance(each, dict):
                deeper += each.keys()
                deeper += each.values()
        if not deeper:
            return
        level = deeper
    raise ValueError("it is too deep")
