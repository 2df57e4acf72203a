# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from urllib.parse import parse_qs, unquote

from hypothesis import given
from hypothesis import strategies as st

from toolkit.client.query import encode_query, quote


@given(st.text())
def test_a_quoted_text_reads_back_and_cannot_end_the_request_line(text: str) -> None:
    quoted = quote(text.encode("utf-8", "replace").decode())
    assert unquote(quoted) == text.encode("utf-8", "replace").decode()
    assert not set(quoted) & set(" \r\n?#&")


def test_none_is_left_out_a_list_is_repeated_and_a_map_is_json() -> None:
    query = encode_query(
        {"all": True, "link": False, "t": 0, "x": None, "changes": ["A b", "C"], "f": {"k": ["v"]}}
    )
    assert parse_qs(query[1:]) == {
        "all": ["1"],
        "link": ["0"],
        "t": ["0"],
        "changes": ["A b", "C"],
        "f": ['{"k": ["v"]}'],
    }


def test_no_values_leave_no_question_mark() -> None:
    assert encode_query({"a": None}) == encode_query(None) == ""
