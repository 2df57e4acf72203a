# SPDX-License-Identifier: Apache-2.0
"""The keys that detach from a terminal."""

from __future__ import annotations

import pytest

from toolkit.api.detach_keys import read_detach_keys
from toolkit.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", b"\x10\x11"),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("a", b"a"),
        ("a,ctrl-X", b"a\x18"),
        ("ctrl-@,ctrl-[,ctrl-\\,ctrl-_", b"\x00\x1b\x1c\x1f"),
    ],
)
def test_keys_have_dockers_names(text: str, keys: bytes) -> None:
    assert read_detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-1", "ab", "ctrl-", "ctrl-ab", "a,,b", "é"])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="Invalid detach keys"):
        read_detach_keys(text)
