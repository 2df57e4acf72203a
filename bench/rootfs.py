# SPDX-License-Identifier: Apache-2.0
"""The same small file system for every peer: a static busybox and what it needs.

Owns its making, as a directory and as a tar. It is not the toolkit's own image:
a peer measures the same even where no toolkit runs.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from typing import TYPE_CHECKING

from toolkit.bootstrap.busybox import find_static_busybox

if TYPE_CHECKING:
    from pathlib import Path

_DIRECTORIES = ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "var", "sbin", "run")
_APPLETS = ("true", "false", "sh", "echo", "sleep", "cat", "ls")


def make_rootfs(directory: Path) -> Path:
    """Make the file system in a directory and return it.

    Raises:
        BusyboxMissingError: There is no static busybox here.
    """
    for name in _DIRECTORIES:
        (directory / name).mkdir(parents=True)
    shutil.copy(find_static_busybox(), directory / "bin/busybox")
    for applet in _APPLETS:
        (directory / "bin" / applet).symlink_to("busybox")
    (directory / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (directory / "etc/group").write_text("root:x:0:\n")
    return directory


def pack(directory: Path) -> bytes:
    """Return a directory as an uncompressed tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in sorted(os.listdir(directory)):  # noqa: PTH208 - names, not paths
            archive.add(directory / name, arcname=name)
    return buffer.getvalue()
