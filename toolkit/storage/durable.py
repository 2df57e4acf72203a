# SPDX-License-Identifier: Apache-2.0
"""Making what was written survive a power cut.

Only "write, fsync, rename, fsync the directory" does; and for a tree of many
files one syncfs(2) instead of an fsync for each.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Final

from toolkit.errors import StorageError
from toolkit.kernel.directories import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

# Not `toolkit.kernel.syscalls`: this may take seconds and must release the GIL.
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_UNFINISHED: Final = ".new"  # ends the name of a file that is being written


def sync_file_system(directory: Path) -> None:
    """Write everything of the file system that holds *directory* to its disk.

    Raises:
        StorageError: The kernel could not.
    """
    dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _LIBC.syncfs(dir_fd) == -1:
            reason = os.strerror(ctypes.get_errno())
            raise StorageError(f"cannot write {directory} to disk: {reason}")
    finally:
        os.close(dir_fd)


def write_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a new file; it is on disk only after a later sync."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        file.write(content)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it has the old content or the new, whole."""
    new_path = path.with_name(f".{path.name}{_UNFINISHED}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(new_path, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new_path.rename(path)
    sync_directory(path.parent)


def remove_unfinished(directory: Path) -> None:
    """Take away what `replace_file` had begun in a directory when a crash came."""
    for path in directory.glob(f".*{_UNFINISHED}"):
        path.unlink(missing_ok=True)
