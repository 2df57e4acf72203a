# SPDX-License-Identifier: Apache-2.0
"""The log of one container, written by its shim: whole lines, by the chunk.

An unfinished last line waits here until it ends, grows too long, or the program
is over (defect D-6 of 0.7.2 is not repeated).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from toolkit.runtime.loglines import MAX_LINE_BYTES, encode_lines, now_text

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAMS: Final = ("stdout", "stderr")
_TOP_BITS, _CONTINUATION = 0b1100_0000, 0b1000_0000  # of a byte within a UTF-8 character


class LogWriter:
    """Appends to a log file and knows what is not in it yet.

    Attributes:
        offset: Bytes in the file.
        unfinished: For each stream, what came after its last newline.
        lost_lines: Lines that the disk had no room for.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.offset = self._drop_torn_line(os.fstat(self._fd).st_size)
        self.unfinished = dict.fromkeys(STREAMS, b"")
        self.lost_lines = 0

    def write(self, stream: str, data: bytes) -> None:
        """Take a chunk of a stream; its whole lines go to the file at once."""
        data = self.unfinished[stream] + data
        if _may_hold_long_line(data):
            *pieces, waiting = _cut_lines(data)
        else:
            end = data.rfind(b"\n") + 1
            pieces, waiting = [data[:end]] if end else [], data[end:]
        if pieces:
            time = now_text()
            self._append(b"".join([encode_lines(piece, stream, time) for piece in pieces]))
        self.unfinished[stream] = waiting

    def finish(self) -> None:
        """Write what has no newline; nothing more comes."""
        for stream, data in self.unfinished.items():
            if data:
                self._append(encode_lines(data, stream, now_text()))
                self.unfinished[stream] = b""

    def read(self, offset: int, limit_bytes: int) -> bytes:
        """Return whole lines from *offset* on, about *limit_bytes* of them."""
        lines = os.pread(self._fd, limit_bytes, offset)
        end = lines.rfind(b"\n") + 1
        while lines and not end and offset + len(lines) < self.offset:
            lines = os.pread(self._fd, len(lines) * 2, offset)
            end = lines.rfind(b"\n") + 1
        return lines[:end]

    def unlink(self) -> None:
        """Let the file live only as long as it is open here."""
        os.unlink(self._path)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _append(self, lines: bytes) -> None:
        """Append whole lines; on a full disk drop those that do not fit, never a half (F-05)."""
        try:
            written = os.write(self._fd, lines)
        except OSError:
            written = 0
        if written < len(lines):
            kept = lines.rfind(b"\n", 0, written) + 1
            os.ftruncate(self._fd, self.offset + kept)
            self.lost_lines += lines.count(b"\n", kept)
            written = kept
        self.offset += written

    def _drop_torn_line(self, size: int) -> int:
        """Cut off a last line that a crash of the machine left half written."""
        kept = size
        while kept:
            tail_bytes = min(kept, 8 * MAX_LINE_BYTES)
            tail = os.pread(self._fd, tail_bytes, kept - tail_bytes)
            end = tail.rfind(b"\n") + 1
            kept -= tail_bytes - end
            if end:
                break
        if kept < size:
            os.ftruncate(self._fd, kept)
        return kept


def _may_hold_long_line(data: bytes) -> bool:
    """Say whether half a line's length somewhere has no newline; a few look-ups a chunk."""
    half = MAX_LINE_BYTES // 2
    return any(
        data.find(b"\n", start, start + half) < 0 for start in range(0, len(data) - half, half)
    )


def _cut_lines(data: bytes) -> Iterator[bytes]:
    """Give lines, long ones in parts; what comes last has no newline and may be empty."""
    *ended, last = data.split(b"\n")
    for line in (*(line + b"\n" for line in ended), last):
        rest = line
        while len(rest) > MAX_LINE_BYTES:
            cut = _character_start(rest, MAX_LINE_BYTES)
            yield rest[:cut]
            rest = rest[cut:]
        yield rest


def _character_start(data: bytes, at: int) -> int:
    """Return the nearest position up to *at* where a UTF-8 character begins."""
    for position in range(at, at - 4, -1):
        if data[position] & _TOP_BITS != _CONTINUATION:
            return position
    return at
