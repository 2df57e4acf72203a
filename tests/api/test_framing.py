# SPDX-License-Identifier: Apache-2.0
"""Docker's frames."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from toolkit.api.framing import frame


def test_a_frame_is_kind_length_and_data() -> None:
    assert frame("stdout", b"hello\n") == b"\x01\0\0\0\0\0\0\x06hello\n"
    assert frame("stderr", b"") == b"\x02\0\0\0\0\0\0\0"


@given(st.integers(0, 200_000))
def test_frames_are_short_and_lose_nothing(size: int) -> None:
    framed = frame("stdout", bytes(size))
    seen = 0
    while framed:
        length = int.from_bytes(framed[4:8], "big")
        assert length <= 32 * 1024
        seen += length
        framed = framed[8 + length :]
    assert seen == size
