# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.client import StreamError
from toolkit.client.frames import MAX_FRAME_BYTES, STDERR, STDOUT, Chunk, FrameDecoder, encode_frame

frames = st.lists(st.tuples(st.sampled_from([0, 1, 2, 3]), st.binary(max_size=200)), max_size=8)


def joined(chunks: list[Chunk]) -> list[tuple[int, bytes]]:
    """Put chunks of one stream that follow each other together."""
    runs: list[tuple[int, bytes]] = []
    for kind, payload in chunks:
        if runs and runs[-1][0] == kind:
            runs[-1] = (kind, runs[-1][1] + payload)
        else:
            runs.append((kind, payload))
    return runs


@given(frames, st.lists(st.integers(min_value=1, max_value=40), max_size=60))
def test_frames_come_out_as_they_went_in_however_the_network_cuts_them(
    sent: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    data = b"".join(encode_frame(kind, payload) for kind, payload in sent)
    decoder = FrameDecoder()
    got: list[Chunk] = []
    for cut in cuts:
        got += decoder.feed(data[:cut])
        data = data[cut:]
    got += decoder.feed(data)
    decoder.finish()
    assert joined(got) == joined([Chunk(*one) for one in sent if one[1]])


def test_a_payload_is_handed_on_before_its_frame_is_complete() -> None:
    decoder = FrameDecoder()
    assert list(decoder.feed(encode_frame(STDERR, b"abcdef")[:10])) == [Chunk(STDERR, b"ab")]
    assert list(decoder.feed(b"cdef")) == [Chunk(STDERR, b"cdef")]


def test_an_empty_frame_is_nothing() -> None:
    decoder = FrameDecoder()
    data = encode_frame(STDOUT, b"") + encode_frame(STDOUT, b"x")
    assert list(decoder.feed(data)) == [Chunk(STDOUT, b"x")]


def test_a_frame_is_as_docker_writes_it() -> None:
    """API-020: eight bytes, then the payload."""
    assert encode_frame(STDOUT, b"hello\n") == b"\x01\0\0\0\0\0\0\x06hello\n"


@pytest.mark.parametrize(
    "head",
    [
        b"hello wo",
        struct.pack(">BBBBI", 1, 0, 1, 0, 3),
        struct.pack(">B3xI", 1, MAX_FRAME_BYTES + 1),
    ],
    ids=["text", "padding", "size"],
)
def test_a_stream_without_frames_is_refused(head: bytes) -> None:
    with pytest.raises(StreamError, match="no frames"):
        list(FrameDecoder().feed(head))


@pytest.mark.parametrize("cut", [3, 8, 12])
def test_a_stream_that_ends_inside_a_frame_is_an_error(cut: int) -> None:
    decoder = FrameDecoder()
    list(decoder.feed(encode_frame(STDOUT, b"abcdef")[:cut]))
    with pytest.raises(StreamError, match="inside a frame"):
        decoder.finish()
