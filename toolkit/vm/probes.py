# SPDX-License-Identifier: Apache-2.0
"""Whether this kernel and this machine know something, asked without changing anything.

Owns single questions with a yes or no. What the answers mean together is
`toolkit.vm.doctor`'s. (`toolkit.kernel` makes the same calls in earnest, below
the process boundary; a doctor has to run where none of that can.)
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

# Same numbers on every architecture: they came after the kernel unified its tables.
SYSTEM_CALLS: Final[dict[str, int]] = {
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsmount": 432,
    "pidfd_open": 434,
    "clone3": 435,
    "openat2": 437,
    "mount_setattr": 442,
}

_ELF_MAGIC: Final = b"\x7fELF"
_ELF_64_BIT: Final = 2
_PROGRAM_INTERPRETER: Final = 3  # PT_INTERP


def has_system_call(name: str) -> bool:
    """Tell whether the kernel has a system call, by a call that it must refuse.

    Every argument is out of range, so a kernel that knows the call answers
    EINVAL, EBADF, EFAULT or EPERM; one that does not answers ENOSYS.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    ctypes.set_errno(0)
    nowhere = ctypes.c_long(-1)
    arguments = [nowhere] * 5
    if name == "clone3":  # a null structure of size 0: refused before anything is made
        arguments = [ctypes.c_long(0), ctypes.c_long(0)]
    result = libc.syscall(ctypes.c_long(SYSTEM_CALLS[name]), *arguments)
    if result >= 0:
        os.close(result)
        return True
    return ctypes.get_errno() != errno.ENOSYS


def has_library(name: str) -> bool:
    """Tell whether the dynamic linker finds a shared library."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def is_static_program(path: Path) -> bool:
    """Tell whether a file is an ELF program that asks for no dynamic linker."""
    try:
        with path.open("rb") as program:
            head = program.read(64)
            if len(head) < 64 or head[:4] != _ELF_MAGIC or head[4] != _ELF_64_BIT:  # noqa: PLR2004 - size of Elf64_Ehdr
                return False
            table_offset = int.from_bytes(head[32:40], "little")
            entry_bytes = int.from_bytes(head[54:56], "little")
            entries = int.from_bytes(head[56:58], "little")
            program.seek(table_offset)
            table = program.read(entry_bytes * entries)
    except OSError:
        return False
    kinds = [
        int.from_bytes(table[start : start + 4], "little")
        for start in range(0, len(table), max(entry_bytes, 1))
    ]
    return bool(kinds) and _PROGRAM_INTERPRETER not in kinds
