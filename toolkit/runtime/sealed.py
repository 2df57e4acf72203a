# SPDX-License-Identifier: Apache-2.0
"""The launcher's interpreter: a sealed copy in memory, which no process can write to.

A container's program can make its `/proc/self/exe` be the interpreter that
started it (CVE-2019-5736 and its Python twin, row S-01). What it reaches then
is this copy, and the kernel refuses to change it (memfd_create(2), F_ADD_SEALS).
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_CODE: Final = (
    "import os, sys; os.close(int(sys.argv[2])); sys.path.insert(0, sys.argv[3]); "
    "from toolkit.runtime.launcher import main; main(int(sys.argv[1]))"
)
_COPY_BYTES: Final = 1 << 30


def sealed_copy(path: str) -> int:
    """Return a descriptor of an unchangeable copy of a file, in memory."""
    copy_fd = os.memfd_create("toolkit-interpreter", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(path, "rb") as source:
        while os.sendfile(copy_fd, source.fileno(), None, _COPY_BYTES):
            pass
    fcntl.fcntl(copy_fd, fcntl.F_ADD_SEALS, _SEALS)
    return copy_fd


def start_launcher(engine_fd: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the launcher in its own session, with *engine_fd* as its way to the engine."""
    interpreter: str = getattr(sys, "_base_executable", "") or sys.executable
    copy_fd = sealed_copy(os.path.realpath(interpreter))
    package_parent = str(Path(__file__).resolve().parents[2])
    arguments: Sequence[str] = (
        interpreter, "-I", "-S", "-X", "utf8", "-c", _CODE,
        str(engine_fd), str(copy_fd), package_parent,
    )  # fmt: skip
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and our own words
            arguments,
            executable=f"/proc/self/fd/{copy_fd}",
            pass_fds=(engine_fd, copy_fd),
            stdin=subprocess.DEVNULL,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(copy_fd)
