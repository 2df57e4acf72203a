# SPDX-License-Identifier: Apache-2.0
"""What is done to a directory of our own: its entries to the disk, a socket in it."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def sync_directory(directory: Path | str) -> None:
    """Write a directory's entries to its disk."""
    dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(dir_fd)
    finally:
        os.close(dir_fd)


def listen_in(dir_fd: int, name: str, kind: socket.SocketKind, backlog: int) -> socket.socket:
    """Listen under a name in a directory, in the place of what a dead process left.

    By the directory's descriptor: its path may be longer than a socket's name can be.
    """
    listener = socket.socket(socket.AF_UNIX, kind)  # close-on-exec, as all that Python opens
    try:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=dir_fd)
        listener.bind(f"/proc/self/fd/{dir_fd}/{name}")
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener
