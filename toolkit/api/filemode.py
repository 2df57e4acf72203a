# SPDX-License-Identifier: Apache-2.0
"""Go's FileMode, which the copy protocol's stat header speaks (api-and-cli 1.9)."""

from __future__ import annotations

import base64
import json
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from toolkit.engine.tree import PathStat

PATH_STAT_HEADER: Final = "X-Docker-Container-Path-Stat"

_DIRECTORY: Final = 1 << 31
_SYMLINK: Final = 1 << 27
_DEVICE: Final = 1 << 26
_FIFO: Final = 1 << 25
_SOCKET: Final = 1 << 24
_CHARACTER: Final = 1 << 21
_KINDS: Final = {
    stat.S_IFDIR: _DIRECTORY,
    stat.S_IFLNK: _SYMLINK,
    stat.S_IFBLK: _DEVICE,
    stat.S_IFCHR: _DEVICE | _CHARACTER,
    stat.S_IFIFO: _FIFO,
    stat.S_IFSOCK: _SOCKET,
}
_SPECIAL: Final = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


def go_file_mode(mode: int) -> int:
    """Return what Go's ``os.FileMode`` is for a mode of stat(2)."""
    special = sum(theirs for ours, theirs in _SPECIAL.items() if mode & ours)
    return (mode & 0o777) | _KINDS.get(stat.S_IFMT(mode), 0) | special


def path_stat_header(found: PathStat) -> tuple[str, str]:
    """Return the header that tells what is at a path."""
    document = {
        "name": found.name,
        "size": found.size_bytes,
        "mode": go_file_mode(found.mode),
        "mtime": _rfc3339(found.mtime_ns),
        "linkTarget": found.link_target,
    }
    return PATH_STAT_HEADER, base64.b64encode(json.dumps(document).encode()).decode()


def _rfc3339(time_ns: int) -> str:
    seconds, nanoseconds = divmod(time_ns, 10**9)
    moment = datetime.fromtimestamp(min(max(seconds, 0), 253402300799), UTC)
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"
