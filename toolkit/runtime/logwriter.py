# SPDX-License-Identifier: Apache-2.0
"""The log of one container, written by its shim: whole lines, by the chunk.

An unfinished last line waits here until it ends, grows too long, or the program
is over (defect D-6 of 0.7.2 is not repeated).
"""

from __future__ import annotations

import os
from typing import Final

from toolkit.runtime.loglines import MAX_LINE_BYTES, encode_lines, now_text

STREAMS: Final = ("stdout", "stderr")


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
        end = data.rfind(b"\n") + 1
        waiting = self.unfinished[stream]
        if end:
            self._append(encode_lines(waiting + data[:end], stream, now_text()))
            waiting = data[end:]
        else:
            waiting += data
        while len(waiting) >= MAX_LINE_BYTES:
            cut = _character_start(waiting, MAX_LINE_BYTES)
            self._append(encode_lines(waiting[:cut], stream, now_text()))
            waiting = waiting[cut:]
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
        while not end and offset + len(lines) < self.offset:
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
        tail_bytes = min(size, 8 * MAX_LINE_BYTES)
        tail = os.pread(self._fd, tail_bytes, size - tail_bytes)
        if tail and not tail.endswith(b"\n"):
            size -= len(tail) - (tail.rfind(b"\n") + 1)
            os.ftruncate(self._fd, size)
        return size


def _character_start(data: bytes, at: int) -> int:
    """Return the nearest position up to *at* where a UTF-8 character begins."""
    if at >= len(data):
        return at
    for position in range(at, at - 4, -1):
        if data[position] & 0xC0 != 0x80:
            return position
    return at
