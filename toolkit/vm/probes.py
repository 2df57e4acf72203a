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
from typing import Final

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
