# SPDX-License-Identifier: Apache-2.0
"""The last steps of a start as a table of system calls for the first step.

The same steps in the same order as `toolkit.runtime.native.program.run_program`,
so that a program finds the same on both backends, and fails with the same words.
"""

from __future__ import annotations

import errno
import os
import signal
import struct
import termios
from typing import TYPE_CHECKING, Final

from toolkit.errors import BackendError, InvalidRequestError, KernelCallError, ToolkitError
from toolkit.runtime.lxc.first_step import FIRST_PASSED_FD, TASK_ADDRESS, TASK_BYTES, Call, Table
from toolkit.runtime.native.program import NO_SUCH_FILE, TTY_GROUP, Program, command_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.kernel.capabilities import CapabilitySets

# Where the descriptors that come with the table arrive, behind the table's own.
STDIN_FD: Final = FIRST_PASSED_FD + 1
STDOUT_FD: Final = STDIN_FD + 1
STDERR_FD: Final = STDIN_FD + 2
CWD_FD: Final = STDIN_FD + 3

_PR_SET_PDEATHSIG: Final = 1
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_KEYCTL_JOIN_SESSION_KEYRING: Final = 1
_SECCOMP_SET_MODE_FILTER: Final = 1
_INSTRUCTION_BYTES: Final = 8
_CAPABILITY_VERSION_3: Final = 0x20080522
_CLOSE_RANGE_CLOEXEC: Final = 4
_UNCHANGED: Final = -1
_AT_FDCWD: Final = -100
_OPEN_HOW: Final = struct.Struct("<3Q")
_O_PATH_DIRECTORY: Final = 0o10000000 | os.O_DIRECTORY | os.O_CLOEXEC
_RESOLVE_NO_MAGICLINKS: Final = 2
_LIMIT_MASK: Final = 2**64 - 1
_GOES_ON: Final = (*NO_SUCH_FILE, errno.EACCES)
_FIXED_CALLS: Final = 32  # more than a program needs beside its lists


def program_table(
    program: Program, bounding: frozenset[int], *, cwd: str = "", machine: str = ""
) -> Table:
    """Return the calls that turn the first step into *program*.

    Args:
        program: What to become; `plan_program` has read it.
        bounding: The bounding set that LXC left.
        cwd: Working directory that only a process of the container can open (``/proc/self``).
        machine: As `platform.machine` says; empty for this one.

    Raises:
        BackendError: Arguments and environment are larger than a start can hand over.
    """
    table = Table(TASK_ADDRESS, machine)
    dropped = sorted(bounding - program.capabilities.bounding)
    lists = len(program.candidates) + len(program.rlimits) + len(dropped)
    table.reserve(_FIXED_CALLS + lists)
    _take_stdio(table, program)
    for kind, soft, hard in program.rlimits:
        limit = struct.pack("<QQ", soft & _LIMIT_MASK, hard & _LIMIT_MASK)
        table.add("prlimit64", 0, kind, table.place(limit), 0, subject=f"limit {kind}")
    ignored = (errno.ENOSYS, errno.EPERM, errno.EDQUOT)
    table.add("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, tolerated=ignored)
    if cwd:
        how = table.place(_OPEN_HOW.pack(_O_PATH_DIRECTORY, 0, _RESOLVE_NO_MAGICLINKS))
        path = table.place_text(os.fsencode(cwd))
        table.add("openat2", _AT_FDCWD, path, how, _OPEN_HOW.size, subject=cwd)
    table.add("fchdir", CWD_FD + 1 if cwd else CWD_FD)
    if program.seccomp and not program.no_new_privileges:
        _install_filter(table, program.seccomp)
    _drop_privileges(table, program, dropped)
    if program.no_new_privileges:
        table.add("prctl", _PR_SET_NO_NEW_PRIVS, 1)
        if program.seccomp:
            _install_filter(table, program.seccomp)
    table.add("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)
    table.add("close_range", FIRST_PASSED_FD, 0xFFFFFFFF, _CLOSE_RANGE_CLOEXEC)
    _execute(table, program)
    if table.size_bytes > TASK_BYTES:
        raise BackendError("arguments and environment are larger than a start can hand over")
    return table


def _take_stdio(table: Table, program: Program) -> None:
    uid = program.identity.uid
    table.add("setsid", tolerated=(errno.EPERM,))  # LXC has made a session already
    if program.has_tty:
        table.add("ioctl", STDIN_FD, termios.TIOCSCTTY, 0)
        table.add("fchown", STDIN_FD, uid, TTY_GROUP)
    elif uid:
        table.add("fchown", STDOUT_FD, uid, _UNCHANGED)
        table.add("fchown", STDERR_FD, uid, _UNCHANGED)
    for number, fd in enumerate((STDIN_FD, STDOUT_FD, STDERR_FD)):
        table.add("dup3", fd, number, 0)


def _install_filter(table: Table, seccomp: bytes) -> None:
    length = len(seccomp) // _INSTRUCTION_BYTES
    program = table.place(struct.pack("<HxxxxxxQ", length, table.place(seccomp)))
    table.add("seccomp", _SECCOMP_SET_MODE_FILTER, 0, program, subject=f"{length} instructions")


def _drop_privileges(table: Table, program: Program, dropped: Sequence[int]) -> None:
    identity = program.identity
    table.add("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, tolerated=(errno.EINVAL,))
    for number in dropped:
        table.add("prctl", _PR_CAPBSET_DROP, number, subject=f"capability {number}")
    groups = table.place(struct.pack(f"<{len(identity.groups)}I", *identity.groups))
    table.add("setgroups", len(identity.groups), groups, subject=str(list(identity.groups)))
    table.add("setresgid", *(identity.gid,) * 3, subject=str(identity.gid))
    table.add("setresuid", *(identity.uid,) * 3, subject=str(identity.uid))
    header = table.place(struct.pack("<Ii", _CAPABILITY_VERSION_3, 0))
    table.add("capset", header, table.place(_capability_data(program.capabilities)))


def _capability_data(sets: CapabilitySets) -> bytes:
    masks = [
        sum(1 << number for number in kind)
        for kind in (sets.effective, sets.permitted, sets.inheritable)
    ]
    low = [mask & 0xFFFFFFFF for mask in masks]
    return struct.pack("<6I", *low, *(mask >> 32 for mask in masks))


def _execute(table: Table, program: Program) -> None:
    argv = table.place_list(program.argv)
    env = table.place_list([key + b"=" + value for key, value in program.env.items()])
    for candidate in program.candidates:
        path = table.place_text(candidate)
        subject = os.fsdecode(program.argv[0])
        table.add("execve", path, argv, env, subject=subject, tolerated=_GOES_ON)
    table.add("exit_group", 1)


def failure_of(table: Table, reports: Sequence[tuple[Call, int]]) -> ToolkitError | None:
    """Return why no program came of a table, from what the first step told; None if one did."""
    fatal = [(call, number) for call, number in reports if number not in call.tolerated]
    if fatal and fatal[-1][0].name != "execve":
        call, number = fatal[-1]
        if call.name == "openat2":
            reason = os.strerror(number)
            return InvalidRequestError(
                f"working directory {call.subject!r} cannot be used: {reason}"
            )
        return BackendError(str(KernelCallError(call.name, call.subject, number)))
    tries = [(call, number) for call, number in reports if call.name == "execve"]
    candidates = sum(call.name == "execve" for call in table.calls)
    if not fatal and len(tries) < candidates:
        return None
    denied = 0
    for _, number in tries:
        if number not in NO_SUCH_FILE and (number != errno.EACCES or not denied):
            denied = number
    return command_error(tries[-1][0].subject, denied)
