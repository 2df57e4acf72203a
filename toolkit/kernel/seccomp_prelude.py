# SPDX-License-Identifier: Apache-2.0
"""What a filter says before libseccomp's part of it: a few instructions of our own.

Numbers that no name stands for, and arguments that no filter can see. The rest of
a filter is `toolkit.kernel.seccomp_compiler`'s.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Any, Final

from toolkit.kernel.seccomp import SECCOMP_RET_ERRNO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# include/uapi/linux/audit.h
_AUDIT_ARCH_I386: Final = 0x40000003
ARCHITECTURES: Final = {
    "SCMP_ARCH_X86_64": 0xC000003E,
    "SCMP_ARCH_X86": _AUDIT_ARCH_I386,
    "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_AARCH64": 0xC00000B7,
    "SCMP_ARCH_ARM": 0x40000028,
    "SCMP_ARCH_RISCV64": 0xC00000F3,
    "SCMP_ARCH_PPC64LE": 0xC0000015,
    "SCMP_ARCH_S390X": 0x80000016,
}
# include/uapi/linux/net.h: the first argument of i386's socketcall(102).
_I386_SOCKETCALL: Final = 102
_SOCKETCALLS: Final = {
    name: number
    for number, name in enumerate(
        ["socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername",
         "socketpair", "send", "recv", "sendto", "recvfrom", "shutdown", "setsockopt",
         "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg", "sendmmsg"],
        start=1,
    )
}  # fmt: skip

_INSTRUCTION: Final = struct.Struct("<HBBI")
_LD_W_ABS: Final = 0x20
_JMP_JEQ_K: Final = 0x15
_JMP_JGT_K: Final = 0x25
_JMP_JGE_K: Final = 0x35
_RET_K: Final = 0x06
_DATA_NR: Final = 0
_DATA_ARCH: Final = 4
_DATA_ARG0: Final = 16


def refuse_hidden_arguments(profile: Mapping[str, Any]) -> bytes:
    """Return a beginning that refuses ``socketcall`` where a socket call's argument is checked."""
    calls = _hidden_calls(profile)
    if "SCMP_ARCH_X86" not in (profile.get("architectures") or ()) or not calls:
        return b""
    body = [
        (_LD_W_ABS, 0, 0, _DATA_NR),
        (_JMP_JEQ_K, 0, len(calls) + 2, _I386_SOCKETCALL),
        (_LD_W_ABS, 0, 0, _DATA_ARG0),
        *((_JMP_JEQ_K, len(calls) - place, 0, call) for place, call in enumerate(calls[:-1], 1)),
        (_JMP_JEQ_K, 0, 1, calls[-1]),
        (_RET_K, 0, 0, SECCOMP_RET_ERRNO | errno.EPERM),
    ]
    head = [(_LD_W_ABS, 0, 0, _DATA_ARCH), (_JMP_JEQ_K, 0, len(body), _AUDIT_ARCH_I386)]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in head + body)


def answer_unknown_numbers(unknown: Mapping[str, Sequence[tuple[int, int]]]) -> bytes:
    """Return instructions that answer ENOSYS to *unknown* numbers.

    Args:
        unknown: First and last of each run of numbers, by OCI's word for the architecture.
    """
    instructions: list[tuple[int, int, int, int]] = []
    for name, ranges in unknown.items():
        body = [(_LD_W_ABS, 0, 0, _DATA_NR)]
        for first, last in ranges:
            body += [
                (_JMP_JGE_K, 0, 2, first),
                (_JMP_JGT_K, 1, 0, last),
                (_RET_K, 0, 0, SECCOMP_RET_ERRNO | errno.ENOSYS),
            ]
        instructions += [
            (_LD_W_ABS, 0, 0, _DATA_ARCH),
            (_JMP_JEQ_K, 0, len(body), ARCHITECTURES[name]),
            *body,
        ]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in instructions)


def _hidden_calls(profile: Mapping[str, Any]) -> list[int]:
    entries = [entry for entry in profile.get("syscalls") or () if _may_pass(entry)]
    free = {name for entry in entries if not entry.get("args") for name in entry.get("names", ())}
    if "socketcall" in free:
        return []  # the document itself lets every socket call in unseen
    checked = {name for entry in entries if entry.get("args") for name in entry.get("names", ())}
    return sorted(_SOCKETCALLS[name] for name in checked - free if name in _SOCKETCALLS)


def _may_pass(entry: Mapping[str, Any]) -> bool:
    return entry.get("action") in {"SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"}
