# SPDX-License-Identifier: Apache-2.0
"""The log of a container, read: a part of it, and what comes while the program runs.

A follower is woken by the kernel (inotify) when the log grows, and by the exit
when it does not any more; reading happens in the host's threads.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from toolkit.kernel.syscalls import LIBC
from toolkit.runtime.logfile import LogReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from toolkit.engine.context import EngineContext
    from toolkit.runtime.logfile import LogEntry

_BATCH_ENTRIES: Final = 512
_BATCH_BYTES: Final = 1024 * 1024
_IN_MODIFY: Final = 2
_IN_MOVED_TO: Final = 0x80
_IN_CREATE: Final = 0x100
_EVENT_BYTES: Final = 4096


@dataclass(frozen=True, kw_only=True)
class LogSelection:
    """Which part of a log is wanted.

    Attributes:
        since: RFC 3339 in UTC, as the log has it; empty for the beginning.
        tail_lines: None for all.
    """

    stdout: bool = True
    stderr: bool = True
    since: str = ""
    until: str = ""
    tail_lines: int | None = None


async def read_log(
    context: EngineContext,
    path: Path,
    selection: LogSelection,
    is_running: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[LogEntry]:
    """Give the entries of a log, in the order of the file; lines written at once are one entry.

    Args:
        context: Where to read.
        path: The log; a missing one reads as empty.
        selection: What is wanted of it.
        is_running: Returns when the program has ended; None does not follow.
    """
    watch = LogWatch(path) if is_running is not None else None
    ended = asyncio.ensure_future(is_running()) if is_running is not None else None
    reader = await context.on_host(_open, path, selection)
    try:
        while True:
            over = ended is None or ended.done()
            entries = reader.read_runs(
                stdout=selection.stdout,
                stderr=selection.stderr,
                since=selection.since,
                until=selection.until,
            )
            while batch := await context.on_host(_take, entries):
                for entry in batch:
                    yield entry
            if over or watch is None or ended is None:
                return
            await watch.changed_or(ended)
    finally:
        reader.close()
        if watch is not None:
            watch.close()
        if ended is not None:
            ended.cancel()


def _open(path: Path, selection: LogSelection) -> LogReader:
    return LogReader(path, tail_lines=selection.tail_lines, since=selection.since)


def _take(entries: Iterator[LogEntry]) -> list[LogEntry]:
    batch: list[LogEntry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += len(entry.data)
        if len(batch) >= _BATCH_ENTRIES or size >= _BATCH_BYTES:
            break
    return batch


class LogWatch:
    """The kernel's word that a file has grown, or that another one has its name."""

    def __init__(self, path: Path) -> None:
        self._fd = LIBC.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        mask = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE
        if self._fd < 0 or LIBC.inotify_add_watch(self._fd, os.fsencode(path.parent), mask) < 0:
            self.close()  # no watch to be had: the exit alone wakes the reader

    async def changed_or(self, ended: asyncio.Future[None]) -> None:
        """Return when the file has changed since the last call, or *ended* is done."""
        loop = asyncio.get_running_loop()
        changed: asyncio.Future[None] = loop.create_future()

        def on_readable() -> None:
            loop.remove_reader(self._fd)
            os.read(self._fd, _EVENT_BYTES)
            if not changed.done():
                changed.set_result(None)

        if self._fd >= 0:
            loop.add_reader(self._fd, on_readable)
        try:
            await asyncio.wait([changed, ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self._fd >= 0:
                loop.remove_reader(self._fd)

    def close(self) -> None:
        """Stop watching; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
