# SPDX-License-Identifier: Apache-2.0
"""Frames of a stream without a terminal: eight bytes of head, then the payload.

Pure: no I/O. A payload is handed on as it comes, so memory does not depend on what
a head claims.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from toolkit.client.errors import StreamError

if TYPE_CHECKING:
    from collections.abc import Iterator

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
SYSTEM_ERROR: Final = 3

# Engines send 32 KiB; a head that claims far more belongs to a stream without frames.
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024

_HEAD = struct.Struct(">B3xI")
_HEAD_BYTES: Final = _HEAD.size


class Chunk(NamedTuple):
    """Some bytes of one of the streams."""

    kind: int
    payload: bytes


def encode_frame(kind: int, payload: bytes) -> bytes:
    """Return one frame."""
    return _HEAD.pack(kind, len(payload)) + payload


class FrameDecoder:
    """Take a framed stream apart, however the network has cut it."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._kind = STDOUT
        self._missing_bytes = 0

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """Return what these bytes complete; heads and payloads may be cut anywhere.

        Raises:
            StreamError: The stream is not framed.
        """
        start, end = 0, len(data)
        while start < end:
            if not self._missing_bytes:
                start = self._take_head(data, start)
                continue
            stop = min(end, start + self._missing_bytes)
            self._missing_bytes -= stop - start
            yield Chunk(self._kind, data[start:stop])
            start = stop

    def finish(self) -> None:
        """Check that the stream ended between two frames.

        Raises:
            StreamError: It ended inside one.
        """
        if self._missing_bytes or self._head:
            raise StreamError("the stream ended inside a frame")

    def _take_head(self, data: bytes, start: int) -> int:
        stop = start + _HEAD_BYTES - len(self._head)
        self._head += data[start:stop]
        if len(self._head) == _HEAD_BYTES:
            kind, size = _HEAD.unpack(self._head)
            if kind > SYSTEM_ERROR or any(self._head[1:4]) or size > MAX_FRAME_BYTES:
                raise StreamError(f"the stream has no frames: {bytes(self._head)!r}")
            self._kind, self._missing_bytes = kind, size
            self._head.clear()
        return min(stop, len(data))
