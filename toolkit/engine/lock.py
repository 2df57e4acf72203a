# SPDX-License-Identifier: Apache-2.0
"""Who owns an instance: a lock that the kernel drops when its holder dies."""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from toolkit.errors import InstanceLockedError

if TYPE_CHECKING:
    from pathlib import Path


class InstanceLock:
    """The one engine's hold on an instance.

    The file stays when the lock is released: removing it would let two engines
    lock two files of one name.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def acquire(cls, path: Path) -> Self:
        """Take the lock, or say who has it and since when.

        Raises:
            InstanceLockedError: Another process holds it.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            since = datetime.now(UTC).isoformat(timespec="seconds")
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()} {since}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(fd, 100, 0).decode(errors="replace").split()
            os.close(fd)
            raise InstanceLockedError(_describe(path, holder)) from None
        except BaseException:
            os.close(fd)
            raise
        return cls(fd)

    def release(self) -> None:
        """Give the instance up; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _describe(path: Path, holder: list[str]) -> str:
    match holder:
        case [pid, since]:
            return f"instance is in use: process {pid} holds {path} since {since}"
        case _:
            return f"instance is in use: another process holds {path}"
