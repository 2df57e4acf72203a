# SPDX-License-Identifier: Apache-2.0
"""The log of one container, written by its shim: whole lines, by the chunk.

An unfinished last line waits here until it ends, grows too long, or the program
is over (defect D-6 of 0.7.2 is not repeated). With a largest size the log is
kept in several files, as docker names them: ``log``, ``log.1`` (older), ...
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from toolkit.runtime.loglines import MAX_LINE_BYTES, encode_lines, now_text

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAMS: Final = ("stdout", "stderr")
_TOP_BITS, _CONTINUATION = 0b1100_0000, 0b1000_0000  # of a byte within a UTF-8 character


class LogWriter:
    """Appends to a log file and knows what is not in it yet.

    Args:
        path: The newest file.
        max_bytes: A file that is full is put aside, and a new one begun; 0 for one that grows.
        max_files: How many are kept, the newest one included.

    Attributes:
        offset: Bytes of the log until now, of all its files.
        unfinished: For each stream, what came after its last newline.
        lost_lines: Lines that the disk had no room for.
    """

    def __init__(self, path: str, *, max_bytes: int = 0, max_files: int = 1) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._older_bytes = _sizes_of_older(path) if max_bytes else []  # the oldest first
        self._fd = self._open()
        size = self._drop_torn_line(os.fstat(self._fd).st_size)
        self._began = sum(self._older_bytes)
        self.offset = self._began + size
        self.unfinished = dict.fromkeys(STREAMS, b"")
        self.lost_lines = 0

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

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

    def read(self, offset: int, limit_bytes: int) -> tuple[bytes, int]:
        """Return whole lines, about *limit_bytes* of them, and the offset they begin at.

        They begin at *offset*, or where the log begins by now.
        """
        began = self._began - sum(self._older_bytes)
        offset = max(offset, began)
        for older, size in enumerate(self._older_bytes):
            if offset < began + size:
                name = f"{self._path}.{len(self._older_bytes) - older}"
                with suppress(FileNotFoundError):  # somebody removed it: go on behind it
                    log_fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
                    try:
                        if lines := _read_lines(log_fd, offset - began, limit_bytes, size):
                            return lines, offset
                    finally:
                        os.close(log_fd)
                offset = began + size
            began += size
        size = self.offset - self._began
        return _read_lines(self._fd, offset - self._began, limit_bytes, size), offset

    def unlink(self) -> None:
        """Let the file live only as long as it is open here."""
        os.unlink(self._path)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _append(self, lines: bytes) -> None:
        """Append whole lines, to as many files as it takes."""
        while self._max_bytes:
            room = self._max_bytes - (self.offset - self._began)
            if len(lines) <= room:
                break
            kept = lines.rfind(b"\n", 0, max(room, 0)) + 1
            if not kept and self.offset == self._began:
                kept = lines.index(b"\n") + 1  # longer than a whole file may be
            if kept and not self._append_here(lines[:kept]):
                self.lost_lines += lines.count(b"\n", kept)
                return
            lines = lines[kept:]
            if not lines or not self._rotate():
                break
        if lines:
            self._append_here(lines)

    def _append_here(self, lines: bytes) -> bool:
        """Append to this file; on a full disk drop lines that do not fit, never a half (F-05)."""
        try:
            written = os.write(self._fd, lines)
        except OSError:
            written = 0
        is_whole = written == len(lines)
        if not is_whole:
            kept = lines.rfind(b"\n", 0, written) + 1
            os.ftruncate(self._fd, self.offset - self._began + kept)
            self.lost_lines += lines.count(b"\n", kept)
            written = kept
        self.offset += written
        return is_whole

    def _rotate(self) -> bool:
        """Put the file aside and begin a new one; who has the old one open can read on."""
        older = min(len(self._older_bytes), self._max_files - 1)
        try:
            for number in range(older, 0, -1):
                with suppress(FileNotFoundError):
                    os.replace(f"{self._path}.{number}", f"{self._path}.{number + 1}")
            os.replace(self._path, f"{self._path}.1")
            new_fd = self._open()
        except OSError:  # a disk that takes no name: the file grows on
            return False
        os.close(self._fd)
        self._fd = new_fd
        self._older_bytes.append(self.offset - self._began)
        self._began = self.offset
        while len(self._older_bytes) >= self._max_files:
            with suppress(FileNotFoundError):
                os.unlink(f"{self._path}.{len(self._older_bytes)}")
            del self._older_bytes[0]
        return True

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


def _sizes_of_older(path: str) -> list[int]:
    sizes: list[int] = []
    with suppress(FileNotFoundError):
        while True:
            sizes.insert(0, os.stat(f"{path}.{len(sizes) + 1}").st_size)
    return sizes


def _read_lines(log_fd: int, position: int, limit_bytes: int, size: int) -> bytes:
    """Return whole lines from a position on; a line longer than the limit is read whole."""
    if position >= size:
        return b""
    lines = os.pread(log_fd, limit_bytes, position)
    end = lines.rfind(b"\n") + 1
    while lines and not end and position + len(lines) < size:
        lines = os.pread(log_fd, len(lines) * 2, position)
        end = lines.rfind(b"\n") + 1
    return lines[:end]


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
