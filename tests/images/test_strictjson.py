# SPDX-License-Identifier: Apache-2.0
"""JSON from strangers means one thing, or nothing (row S-55)."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.images.image import InvalidImageError
from toolkit.images.strictjson import parse, parse_object

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_is_sound_comes_back(value: Any) -> None:
    assert parse(json.dumps(value).encode(), "it", limit_bytes=1 << 20) == value


@given(st.binary(max_size=200))
def test_everything_else_is_refused(content: bytes) -> None:
    try:
        expected = json.loads(content)
    except ValueError:
        with pytest.raises(InvalidImageError, match=r"^it "):
            parse(content, "it", limit_bytes=1000)
    else:
        with suppress(InvalidImageError):
            assert parse(content, "it", limit_bytes=1000) == expected


@pytest.mark.parametrize(
    "content",
    [
        b'{"a":1,"a":2}', b'[{"x":{"a":1,"a":1}}]', b"NaN", b"Infinity", b'"\\ud800"',
        b'{"\\udfff":1}', b"9" * 5000, b"[" * 65 + b"]" * 65, b"[" * 10**6, b'{"a":' * 10**5,
        b"\xff", b"", b'"' + b"x" * 100_000 + b'"',
    ],
)  # fmt: skip
def test_what_is_ambiguous_or_too_much_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidImageError):
        parse(content, "it", limit_bytes=50_000 if content[:2] == b'"x' else 1 << 24)


def test_an_object_is_an_object() -> None:
    with pytest.raises(InvalidImageError, match="it is not a JSON object"):
        parse_object(b"[]", "it", limit_bytes=10)
