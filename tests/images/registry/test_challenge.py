# SPDX-License-Identifier: Apache-2.0
"""What registries ask for, in all spellings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.images.registry.challenge import Challenge, parse_challenges

_NAME = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
_VALUE = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=30)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("Basic", [("basic", {})]),
        ('Basic realm="x y"', [("basic", {"realm": "x y"})]),
        (
            'Bearer realm="https://a/t",service="s",scope="repository:a/b:pull,push"',
            [("bearer", {"realm": "https://a/t", "service": "s",
                         "scope": "repository:a/b:pull,push"})],
        ),
        ('BEARER Realm = "x" , service=plain', [("bearer", {"realm": "x", "service": "plain"})]),
        ('Basic realm="a", Bearer realm="b"',
         [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})]),
        (r'Basic realm="a\"b\\c"', [("basic", {"realm": r'a"b\c'})]),
        ('Bearer realm="a",realm="b"', [("bearer", {"realm": "a"})]),
        ("", []),
        ('="x"', []),
    ],
)  # fmt: skip
def test_a_header_is_read(header: str, found: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges([header]) == [Challenge(scheme, values) for scheme, values in found]


def test_several_headers_are_read_in_order() -> None:
    assert [one.scheme for one in parse_challenges(["Negotiate", 'Basic realm="x"'])] == [
        "negotiate",
        "basic",
    ]


@given(st.text(max_size=200))
def test_no_header_is_an_error(header: str) -> None:
    """S-59"""
    for challenge in parse_challenges([header]):
        assert challenge.scheme == challenge.scheme.lower()


@given(_NAME, st.dictionaries(_NAME, _VALUE, max_size=5))
def test_what_is_quoted_comes_back(scheme: str, values: dict[str, str]) -> None:
    quoted = (
        '{}="{}"'.format(key, value.replace("\\", r"\\").replace('"', r"\""))
        for key, value in values.items()
    )

    assert parse_challenges([f"{scheme} {', '.join(quoted)}"]) == [Challenge(scheme, values)]


def test_a_long_header_takes_no_time() -> None:
    parse_challenges(['Bearer realm="' + "\\" * 1_000_000, "a " * 1_000_000, "," * 1_000_000])
