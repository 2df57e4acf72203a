# SPDX-License-Identifier: Apache-2.0
"""Reading a container's log: a span of time, the last lines, and what comes while one reads.

A tail is found from the end, and where a span begins by halving, so both cost
the same on a log of any size. A log is one file or several (``log`` is the
newest, ``log.1`` the one before it); the writer may put the newest aside at any
moment. Lines that are not ours (a torn disk) are passed over.
"""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from toolkit.runtime.loglines import LogEntry, decode_runs, split_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LogEntry", "LogReader"]

_CHUNK_BYTES: Final = 256 * 1024
_LOOK_BYTES: Final = 64 * 1024  # two of the longest lines


class LogReader:
    """Reads one log from a position on; call `read` again when it has grown.

    Args:
        path: The log's newest file; a missing one reads as empty.
        tail_lines: Start so many lines before the end; None starts at the beginning.
        since: Start near the first entry of that time (RFC 3339 in UTC as the log has it).
    """

    def __init__(self, path: Path, *, tail_lines: int | None = None, since: str = "") -> None:
        self._path = os.fspath(path)
        self._fd = -1
        self._offset = 0
        self._is_closed = False
        if tail_lines is not None:
            self._begin_at_tail(tail_lines)
        elif since:
            self._begin_at(_comparable(since))
        else:
            self._advance()

    def read(
        self, *, stdout: bool = True, stderr: bool = True, since: str = "", until: str = ""
    ) -> Iterator[LogEntry]:
        """Give the entries that are there now, a line each; see `read_runs`."""
        for entry in self.read_runs(stdout=stdout, stderr=stderr, since=since, until=until):
            for line in split_lines(entry.data):
                yield LogEntry(entry.time, entry.stream, line)

    def read_runs(
        self, *, stdout: bool = True, stderr: bool = True, since: str = "", until: str = ""
    ) -> Iterator[LogEntry]:
        """Give the entries that are there now; lines written at once are one entry.

        Args:
            stdout: Give the entries of standard output.
            stderr: Give those of standard error.
            since: RFC 3339 time in UTC as the log has it; earlier entries are left out.
            until: Entries later than this are left out.
        """
        since, until = _comparable(since), _comparable(until)
        wanted = {"stdout": stdout, "stderr": stderr}
        while lines := self._next_lines():
            for entry in decode_runs(lines):
                moment = _comparable(entry.time) if since or until else ""
                if since and moment < since:
                    continue
                if until and moment > until:
                    return
                if wanted.get(entry.stream, False):
                    yield entry

    def _next_lines(self) -> bytes:
        while not self._is_closed:
            if self._fd >= 0 and (lines := self._read_on()):
                return lines
            follower_fd = self._open_follower()
            if follower_fd < 0:
                return b""
            if self._fd >= 0 and (lines := self._read_on()):  # came just before the change
                os.close(follower_fd)
                return lines
            self._go_on_with(follower_fd, 0)
        return b""

    def _read_on(self) -> bytes:
        size = _CHUNK_BYTES
        lines = os.pread(self._fd, size, self._offset)
        while len(lines) == size and b"\n" not in lines:
            size *= 2
            lines = os.pread(self._fd, size, self._offset)
        lines = lines[: lines.rfind(b"\n") + 1]
        self._offset += len(lines)
        return lines

    def _advance(self) -> None:
        self._go_on_with(self._open_follower(), 0)

    def _go_on_with(self, log_fd: int, offset: int) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._offset = log_fd, offset

    def _open_follower(self) -> int:
        """Open the file that comes after the present one; the oldest, if that is gone."""
        present = os.fstat(self._fd).st_ino if self._fd >= 0 else -1
        while True:
            files = _files_of(self._path)
            inodes = [inode for _, inode in files]
            at = inodes.index(present) - 1 if present in inodes else len(files) - 1
            if at < 0:
                return -1
            log_fd = _open_file(*files[at])
            if log_fd >= 0:
                return log_fd

    def _begin_at_tail(self, tail_lines: int) -> None:
        """Begin where the last *tail_lines* lines begin."""
        for name, inode in _files_of(self._path):
            log_fd = _open_file(name, inode)
            if log_fd < 0:
                continue
            offset, found = _tail_offset(log_fd, tail_lines)
            self._go_on_with(log_fd, offset)
            tail_lines -= found
            if tail_lines <= 0:
                return

    def _begin_at(self, since: str) -> None:
        """Begin at or a little before the first entry of a time."""
        for name, inode in _files_of(self._path):
            log_fd = _open_file(name, inode)
            if log_fd < 0:
                continue
            offset = _offset_of_time(log_fd, since)
            self._go_on_with(log_fd, offset)
            if offset:
                return

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._is_closed = True
        self._go_on_with(-1, 0)


def _files_of(path: str) -> list[tuple[str, int]]:
    """Return the files of a log with their inodes, the newest first, each once."""
    found: dict[int, str] = {}
    with suppress(FileNotFoundError):
        for number in itertools.count():
            name = f"{path}.{number}" if number else path
            found.setdefault(os.stat(name).st_ino, name)
    return [(name, inode) for inode, name in found.items()]


def _open_file(name: str, inode: int) -> int:
    """Open a file, if that name still means it; else return -1."""
    try:
        log_fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    if os.fstat(log_fd).st_ino == inode:
        return log_fd
    os.close(log_fd)
    return -1


def _tail_offset(log_fd: int, tail_lines: int) -> tuple[int, int]:
    """Return where the last *tail_lines* lines begin, or 0, and how many there are from there."""
    position = os.fstat(log_fd).st_size
    if tail_lines <= 0:
        return position, 0
    found = -1  # the newline before the first of them is one more
    while position > 0:
        size = min(_CHUNK_BYTES, position)
        position -= size
        chunk = os.pread(log_fd, size, position)
        count = chunk.count(b"\n")
        if found + count < tail_lines:
            found += count
            continue
        at = len(chunk)
        for _ in range(tail_lines - found):
            at = chunk.rfind(b"\n", 0, at)
        return position + at + 1, tail_lines
    return 0, found + 1


def _offset_of_time(log_fd: int, since: str) -> int:
    """Return where an entry begins before which none is as late as *since*; by halving."""
    low, high = 0, os.fstat(log_fd).st_size
    while high - low > _CHUNK_BYTES:
        middle = (low + high) // 2
        begins, moment = _first_entry(log_fd, middle)
        if moment and moment < since:
            low = begins
        else:
            high = middle
    return low


def _first_entry(log_fd: int, position: int) -> tuple[int, str]:
    """Return where the first whole line behind a position begins, and its time."""
    chunk = os.pread(log_fd, _LOOK_BYTES, position)
    begins = chunk.find(b"\n") + 1
    ends = chunk.find(b"\n", begins) + 1
    entries = decode_runs(chunk[begins:ends]) if begins and ends else []
    return position + begins, _comparable(entries[0].time) if entries else ""


def _comparable(time: str) -> str:
    """Give a UTC time all nine digits, so that texts compare as times do."""
    if not time:
        return ""
    whole, _, fraction = time.removesuffix("Z").partition(".")
    return f"{whole}.{fraction:0<9}"
