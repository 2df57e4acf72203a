# SPDX-License-Identifier: Apache-2.0
"""The one way into the kernel: a raw system call, and one path for its error.

Everything is bound when this module is imported, because launcher and shims
call it where nothing may be loaded any more. The GIL is kept during a call
(`ctypes.PyDLL`), so that a child made by clone3 finds it as it was.
"""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Final

from toolkit.errors import KernelCallError

LIBC: Final = ctypes.PyDLL(None, use_errno=True)

# The numbers that differ between the architectures; later calls share theirs.
_BY_MACHINE: Final = {
    "x86_64": {"pivot_root": 155, "seccomp": 317, "keyctl": 250, "bpf": 321, "setgroups": 116,
               "setresuid": 117, "setresgid": 119, "sethostname": 170, "setdomainname": 171},
    "aarch64": {"pivot_root": 41, "seccomp": 277, "keyctl": 219, "bpf": 280, "setgroups": 159,
                "setresuid": 147, "setresgid": 149, "sethostname": 161, "setdomainname": 162},
}  # fmt: skip
NUMBERS: Final[dict[str, int]] = {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "pidfd_open": 434,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "mount_setattr": 442,
    **_BY_MACHINE.get(platform.machine(), {}),
}

Argument = int | bytes | ctypes.Array[ctypes.c_char] | ctypes.Structure | None

_syscall = LIBC.syscall
_syscall.restype = ctypes.c_long


def raw(number: int, *arguments: Argument) -> int:
    """Make a system call and return what it returned; -1 leaves errno in ctypes."""
    return int(_syscall(ctypes.c_long(number), *(_as_c(value) for value in arguments)))


def check(
    result: int, error: type[KernelCallError], call: str, subject: str | bytes | int = ""
) -> int:
    """Return the result of a call, or raise *error* with the kernel's reason."""
    if result == -1:
        text = os.fsdecode(subject) if isinstance(subject, bytes) else str(subject)
        raise error(call, text, ctypes.get_errno())
    return result


def call(
    name: str,
    *arguments: Argument,
    subject: str | bytes | int = "",
    error: type[KernelCallError] = KernelCallError,
) -> int:
    """Make the system call *name*, retried when a signal interrupts it.

    Raises:
        KernelCallError: Or *error*, its subclass, with call, subject and errno.
    """
    number = NUMBERS[name]
    while True:
        result = raw(number, *arguments)
        if result != -1 or ctypes.get_errno() != _EINTR:
            return check(result, error, name, subject)


_EINTR: Final = 4


def _as_c(value: Argument) -> object:
    if isinstance(value, int):
        return ctypes.c_long(value)
    if isinstance(value, ctypes.Structure):
        return ctypes.byref(value)
    return value
