# SPDX-License-Identifier: Apache-2.0
"""Docker's frames: eight bytes of kind and length before each chunk without a terminal."""

from __future__ import annotations

import struct
from typing import Final

MULTIPLEXED: Final = "application/vnd.docker.multiplexed-stream"
RAW: Final = "application/vnd.docker.raw-stream"

_KINDS: Final = {"stdin": 0, "stdout": 1, "stderr": 2}
_HEAD: Final = struct.Struct(">BxxxL")
_LONGEST: Final = 32 * 1024
_MULTIPLEXED_SINCE: Final = (1, 42)


def stream_type(*, has_tty: bool, version: tuple[int, int]) -> str:
    """Return the Content-Type of a container's output."""
    return RAW if has_tty or version < _MULTIPLEXED_SINCE else MULTIPLEXED


def frame(stream: str, data: bytes) -> bytes:
    """Return *data* in frames of at most 32 KiB."""
    kind = _KINDS[stream]
    if len(data) <= _LONGEST:
        return _HEAD.pack(kind, len(data)) + data
    parts = (data[start : start + _LONGEST] for start in range(0, len(data), _LONGEST))
    return b"".join(_HEAD.pack(kind, len(part)) + part for part in parts)
