# SPDX-License-Identifier: Apache-2.0
"""A container's root as its mounts show it, in a mount namespace that a helper process holds."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolkit.storage.driver import RootfsSource

# As the runtime mounts it: from the store's directory, by relative names (rows S-33 and S-34).
_MOUNT_OVERLAY = """
cd "$1" && mount -t overlay overlay \
  -o "lowerdir=$2,upperdir=$3,workdir=$4,redirect_dir=nofollow,metacopy=off,index=off" "$5" &&
echo ready && cat
"""
_MOUNT_BIND = """
cd "$1" && mount --bind "$2" "$3" && echo ready && cat
"""


@contextmanager
def shown_root(source: RootfsSource, target: Path) -> Iterator[Path]:
    """Mount *source* where only this process tree sees it; the mount ends with the block."""
    target.mkdir(exist_ok=True)
    if source.kind == "overlay":
        script = _MOUNT_OVERLAY
        arguments = [":".join(source.lower_dirs), source.upper_dir, source.work_dir]
    else:
        script, arguments = _MOUNT_BIND, [source.bind_dir]
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
        source.base_dir,
        *arguments,
        str(target),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        yield Path(f"/proc/{holder.pid}/root{target}")
