# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.cli.detach import DetachScanner, parse_detach_keys
from toolkit.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", b"\x10\x11"),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("a", b"a"),
        ("ctrl-@,ctrl-[,x", b"\0\x1bx"),
    ],
)
def test_keys_are_parsed(text: str, keys: bytes) -> None:
    assert parse_detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "a,,b", "ctrl-P", "é"])
def test_bad_keys_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="invalid detach key"):
        parse_detach_keys(text)


def test_the_keys_detach_even_in_two_reads() -> None:
    """API-044: byte 16, then byte 17."""
    scanner = DetachScanner(b"\x10\x11")
    assert scanner.feed(b"ab\x10") == (b"ab", False)
    assert scanner.feed(b"\x11cd") == (b"", True)


def test_a_first_key_alone_is_sent_on_with_what_follows() -> None:
    scanner = DetachScanner(b"\x10\x11")
    assert scanner.feed(b"\x10") == (b"", False)
    assert scanner.feed(b"x") == (b"\x10x", False)


@given(st.text("ab", max_size=30), st.text("ab", min_size=1, max_size=4), st.integers(1, 5))
def test_all_that_is_typed_before_the_keys_is_sent(text: str, keys: str, size: int) -> None:
    typed, wanted = text.encode(), keys.encode()
    scanner = DetachScanner(wanted)
    sent, detached = b"", False
    for at in range(0, len(typed), size):
        if not detached:
            more, detached = scanner.feed(typed[at : at + size])
            sent += more
    found = typed.find(wanted)
    assert detached == (found >= 0)
    assert sent == typed[:found] if detached else typed.startswith(sent)
