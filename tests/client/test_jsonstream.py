# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.client import StreamError
from toolkit.client.jsonstream import check_progress, decode_objects

documents = st.lists(
    st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=9))), max_size=6
)


@given(documents, st.sampled_from(["", "\n", "\r\n"]), st.integers(1, 30))
def test_objects_come_out_whatever_separates_or_cuts_them(
    sent: list[dict[str, Any]], separator: str, size: int
) -> None:
    data = separator.join(json.dumps(one, ensure_ascii=False) for one in sent).encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert list(decode_objects(pieces)) == sent


def test_an_object_comes_before_the_next_chunk_is_asked_for() -> None:
    def chunks() -> Any:
        yield b'{"a":1}\r\n'
        pytest.fail("asked too early")

    assert next(decode_objects(chunks())) == {"a": 1}


@pytest.mark.parametrize("data", [b"<html>", b"[1]", b'{"a":', b"{} nonsense"])
def test_what_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(StreamError):
        list(decode_objects([data]))


def test_progress_stops_at_an_error_and_keeps_its_code() -> None:
    """API-106: an error in the stream carries its own number."""
    messages: list[dict[str, Any]] = [
        {"status": "a"},
        {"error": "bad", "errorDetail": {"code": 23, "message": "bad"}},
    ]
    progress = check_progress(messages)
    assert next(progress) == {"status": "a"}
    with pytest.raises(StreamError, match="bad") as caught:
        next(progress)
    assert caught.value.code == 23
