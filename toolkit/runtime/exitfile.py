# SPDX-License-Identifier: Apache-2.0
"""The exit status of a program as a file: on the disk before anybody hears of it.

The file is there before the program is, and blank. At the end it is written in place:
one sector, which a disk writes whole or not at all, so no space is needed, and no
journal of the file system is waited for.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

from toolkit.kernel.directories import sync_directory
from toolkit.runtime.protocol import ExitStatus

if TYPE_CHECKING:
    from pathlib import Path

_SECTOR_BYTES: Final = 512
_FLAGS: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def blank_exit_status(path: str | Path) -> None:
    """Make the file, or forget what it says of an earlier program."""
    fd = os.open(path, _FLAGS | os.O_CREAT, 0o600)
    try:
        os.pwrite(fd, bytes(_SECTOR_BYTES), 0)
    finally:
        os.close(fd)


def write_exit_status(path: str, status: ExitStatus) -> None:
    """Write *status* so that it is there after a power cut (row F-07)."""
    try:
        fd = os.open(path, _FLAGS)
        is_new = False
    except FileNotFoundError:
        fd = os.open(path, _FLAGS | os.O_CREAT, 0o600)
        is_new = True
    try:
        text = json.dumps(status.to_message()).encode()
        os.pwrite(fd, text.ljust(_SECTOR_BYTES - 1) + b"\n", 0)
        os.fdatasync(fd)
    finally:
        os.close(fd)
    if is_new:
        sync_directory(os.path.dirname(path))


def read_exit_status(path: Path) -> ExitStatus | None:
    """Return the status that a shim has written, or None if there is none to be read."""
    try:
        return ExitStatus.from_message(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
