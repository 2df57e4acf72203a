# SPDX-License-Identifier: Apache-2.0
"""Reading a container's log: a span of time, the last lines, and what comes while one reads.

A tail is found from the end of the file, so it costs the same on a log of any
size. Lines that are not ours (a torn disk) are passed over.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from toolkit.runtime.loglines import LogEntry, decode_readable_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LogEntry", "LogReader"]

_CHUNK_BYTES: Final = 256 * 1024


class LogReader:
    """Reads one log file from a position on; call `read` again when the file has grown.

    Args:
        path: The log; a missing one reads as empty.
        tail_lines: Start so many lines before the end; None starts at the beginning.
    """

    def __init__(self, path: Path, *, tail_lines: int | None = None) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._fd = -1
        self._offset = 0
        if tail_lines is not None and self._fd >= 0:
            self._offset = _tail_offset(self._fd, tail_lines)

    def read(
        self, *, stdout: bool = True, stderr: bool = True, since: str = "", until: str = ""
    ) -> Iterator[LogEntry]:
        """Give the entries that are there now.

        Args:
            stdout: Give the entries of standard output.
            stderr: Give those of standard error.
            since: RFC 3339 time in UTC as the log has it; earlier entries are left out.
            until: Entries later than this are left out.
        """
        since, until = _comparable(since), _comparable(until)
        wanted = {"stdout": stdout, "stderr": stderr}
        while lines := self._next_lines():
            for entry in decode_readable_lines(lines):
                moment = _comparable(entry.time) if since or until else ""
                if since and moment < since:
                    continue
                if until and moment > until:
                    return
                if wanted.get(entry.stream, False):
                    yield entry

    def _next_lines(self) -> bytes:
        if self._fd < 0:
            return b""
        size = _CHUNK_BYTES
        lines = os.pread(self._fd, size, self._offset)
        while len(lines) == size and b"\n" not in lines:
            size *= 2
            lines = os.pread(self._fd, size, self._offset)
        lines = lines[: lines.rfind(b"\n") + 1]
        self._offset += len(lines)
        return lines

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _tail_offset(log_fd: int, tail_lines: int) -> int:
    """Return where the last *tail_lines* lines begin, reading from the end."""
    position = os.fstat(log_fd).st_size
    wanted = tail_lines + 1  # the newline before the first of them
    if tail_lines <= 0:
        return position
    while position > 0:
        size = min(_CHUNK_BYTES, position)
        position -= size
        chunk = os.pread(log_fd, size, position)
        found = chunk.count(b"\n")
        if found < wanted:
            wanted -= found
            continue
        at = len(chunk)
        for _ in range(wanted):
            at = chunk.rfind(b"\n", 0, at)
        return position + at + 1
    return 0


def _comparable(time: str) -> str:
    """Give a UTC time all nine digits, so that texts compare as times do."""
    if not time:
        return ""
    whole, _, fraction = time.removesuffix("Z").partition(".")
    return f"{whole}.{fraction:0<9}"
