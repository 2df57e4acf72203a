# SPDX-License-Identifier: Apache-2.0
"""Two trees compared by all that is known of them."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Mapping

# What every engine puts into the containers, and what that changes of its directories.
_MADE = {
    ".dockerenv", "dev", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab", "proc", "run",
    "sys",
}  # fmt: skip
_TOUCHED = {"", "etc", "dev", "proc", "sys", "run"}
_NANOSECONDS = 10**9


@dataclass(frozen=True)
class Known:
    """All that is known of one thing in a tree.

    Attributes:
        linked_to: The first name of the same file.
        content: Digest of a file, or what a link says.
    """

    mode: int
    owner: tuple[int, int]
    device: int
    mtime_ns: int
    linked_to: str
    xattrs: Mapping[str, bytes]
    content: str


def described(root: Path) -> dict[str, Known]:
    """Return what a tree holds, but for what engines make in each."""
    found: dict[str, Known] = {}
    first_names: dict[tuple[int, int], str] = {}
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted((*names, *files)):
            path = Path(directory) / name
            key = str(path.relative_to(root))
            if key in _MADE or key.partition("/")[0] in _MADE:
                continue
            status = path.lstat()
            is_linked = status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode)
            inode = (status.st_dev, status.st_ino)
            found[key] = Known(
                mode=status.st_mode,
                owner=(status.st_uid, status.st_gid),
                device=status.st_rdev,
                mtime_ns=0 if key in _TOUCHED else status.st_mtime_ns,
                linked_to=first_names.setdefault(inode, key) if is_linked else "",
                xattrs=_xattrs(path),
                content=_content(path, status),
            )
    return found


def _xattrs(path: Path) -> dict[str, bytes]:
    names = (name for name in os.listxattr(path, follow_symlinks=False))
    wanted = (name for name in names if not name.startswith("trusted.overlay."))
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in sorted(wanted)}


def _content(path: Path, status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return str(path.readlink())
    return hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""


def by_the_second(tree: Mapping[str, Known]) -> dict[str, Known]:
    """Return a tree as docker's export tells it: whole seconds, and file capabilities alone."""
    return {
        key: replace(
            known,
            mtime_ns=known.mtime_ns // _NANOSECONDS,
            xattrs={name: one for name, one in known.xattrs.items() if name.startswith("security")},
        )
        for key, known in tree.items()
    }


def differences(left: Mapping[str, Known], right: Mapping[str, Known]) -> list[str]:
    """Return what differs, a line a path, for people."""
    return [
        f"{key}: {left.get(key)} against {right.get(key)}"
        for key in sorted({*left, *right})
        if left.get(key) != right.get(key)
    ][:20]


def extracted(archive: Path | BinaryIO, target: Path) -> Path:
    """Unpack an archive with GNU tar, with all that it knows."""
    target.mkdir()
    command = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", "-"]
    with archive.open("rb") if isinstance(archive, Path) else archive as stream:
        subprocess.run(
            [*command, "--delay-directory-restore", "-C", str(target)], stdin=stream, check=True
        )
    return target
