# SPDX-License-Identifier: Apache-2.0
"""How values become part of a request's target.

`urllib.parse` does more than is needed and costs an import.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

QueryValue = str | int | bool | Sequence[str] | Mapping[str, Any] | None
Query = Mapping[str, QueryValue]

_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:@")


def quote(text: str) -> str:
    """Return a text as it may stand in a path or a query."""
    raw = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in raw)


def encode_query(query: Query | None) -> str:
    """Return a query with its ``?``; None is left out, a list is repeated, a map is JSON."""
    pairs = [
        f"{quote(key)}={quote(text)}"
        for key, value in (query or {}).items()
        for text in _texts(value)
    ]
    return "?" + "&".join(pairs) if pairs else ""


def _texts(value: QueryValue) -> Iterator[str]:
    if value is None:
        return
    if isinstance(value, bool):
        yield "1" if value else "0"
    elif isinstance(value, Mapping):
        yield json.dumps(value)
    elif isinstance(value, (str, int)):
        yield str(value)
    else:
        yield from value
