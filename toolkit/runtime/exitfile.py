# SPDX-License-Identifier: Apache-2.0
"""The exit status of a program as a file: written by the shim, durable before anybody hears of it.

Temporary file, fsync, rename, fsync of the directory: the only order that was
seen to survive a power cut.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from toolkit.runtime.protocol import ExitStatus

if TYPE_CHECKING:
    from pathlib import Path


def write_exit_status(path: str, status: ExitStatus) -> None:
    """Write *status* so that it is there after a power cut, whole or not at all."""
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.new")
    file_fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(file_fd, json.dumps(status.to_message()).encode() + b"\n")
        os.fsync(file_fd)
    finally:
        os.close(file_fd)
    os.rename(temporary, path)
    directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory_fd)
    finally:
        os.close(directory_fd)


def read_exit_status(path: Path) -> ExitStatus | None:
    """Return the status that a shim has written, or None if there is none to be read."""
    try:
        return ExitStatus.from_message(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
