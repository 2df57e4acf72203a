# SPDX-License-Identifier: Apache-2.0
"""Installing a system call filter: one call, no file opened, no library loaded.

The program comes from `toolkit.kernel.seccomp_compiler`, which runs in the engine.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Final

from toolkit.errors import KernelCallError
from toolkit.kernel.syscalls import NUMBERS, check, raw

SECCOMP_SET_MODE_FILTER: Final = 1
SECCOMP_GET_ACTION_AVAIL: Final = 2
SECCOMP_RET_KILL_PROCESS: Final = 0x80000000
SECCOMP_RET_ERRNO: Final = 0x00050000
INSTRUCTION_BYTES: Final = 8


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def is_available() -> bool:
    """Tell whether this kernel can filter system calls."""
    action = ctypes.create_string_buffer(struct.pack("<I", SECCOMP_RET_KILL_PROCESS), 4)
    number = NUMBERS.get("seccomp")
    return number is not None and raw(number, SECCOMP_GET_ACTION_AVAIL, 0, action) == 0


def install_filter(program: bytes) -> None:
    """Filter the calling thread, and all that it starts, for ever.

    Needs CAP_SYS_ADMIN or no_new_privs.

    Raises:
        KernelCallError: The kernel refused the program.
    """
    length = len(program) // INSTRUCTION_BYTES
    structure = _Program(length, program)
    result = raw(NUMBERS["seccomp"], SECCOMP_SET_MODE_FILTER, 0, structure)
    check(result, KernelCallError, "seccomp", f"{length} instructions")
