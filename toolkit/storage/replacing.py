# SPDX-License-Identifier: Apache-2.0
"""What a member of an archive may take the place of, or be a link to."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from toolkit.errors import UnsafeArchiveError
from toolkit.storage import tarformat
from toolkit.storage.metadata import is_whiteout
from toolkit.storage.names import printable

if TYPE_CHECKING:
    from toolkit.storage.tarformat import Member


def check_kind(member: Member, parent_fd: int, name: bytes) -> None:
    """Refuse a member that would make a directory of something else, or the reverse.

    Raises:
        UnsafeArchiveError: It would.
    """
    try:
        existing = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    is_directory = stat.S_ISDIR(existing.st_mode)
    if is_directory and member.kind != tarformat.DIRECTORY:
        raise UnsafeArchiveError(printable(member.name), "it would replace a directory")
    if not is_directory and member.kind == tarformat.DIRECTORY:
        raise UnsafeArchiveError(printable(member.name), "a directory would replace what is none")


def is_linkable(dir_fd: int, name: bytes) -> bool:
    """Tell whether a hard link can be made to what is there; to a whiteout none may be."""
    try:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return not stat.S_ISDIR(status.st_mode) and not is_whiteout(status)
