# SPDX-License-Identifier: Apache-2.0
"""Processes: identity that survives pid reuse, signals by pidfd, ids, prctl(2)."""

from __future__ import annotations

import array
import errno
import os
import signal
from typing import TYPE_CHECKING, Final

from toolkit.errors import KernelCallError
from toolkit.kernel.syscalls import LIBC, call, check

if TYPE_CHECKING:
    from collections.abc import Sequence

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36
_KEYCTL_JOIN_SESSION_KEYRING: Final = 1
_CLOSE_RANGE_CLOEXEC: Final = 4
_MAX_FD: Final = 0xFFFFFFFF
_STAT_STATE: Final = 0  # fields of /proc/PID/stat counted behind the command's name
_STAT_START_TIME: Final = 19

_prctl = LIBC.prctl


def _control(option: int, argument: int | bytes, name: str) -> None:
    check(_prctl(option, argument, 0, 0, 0), KernelCallError, f"prctl {name}")


def set_dumpable(*, dumpable: bool) -> None:
    """Allow or refuse ptrace and /proc access by others of our user (row S-04)."""
    _control(_PR_SET_DUMPABLE, int(dumpable), "PR_SET_DUMPABLE")


def die_with_parent(signal_number: int) -> None:
    """Ask for a signal when the parent dies; a change of ids forgets it."""
    _control(_PR_SET_PDEATHSIG, signal_number, "PR_SET_PDEATHSIG")


def become_subreaper() -> None:
    """Become the parent of orphaned descendants."""
    _control(_PR_SET_CHILD_SUBREAPER, 1, "PR_SET_CHILD_SUBREAPER")


def set_name(name: str) -> None:
    """Name this process, in at most 15 bytes."""
    _control(_PR_SET_NAME, name.encode()[:15], "PR_SET_NAME")


def join_new_session_keyring() -> None:
    """Leave the session keyring that was inherited (row S-15); without keyrings do nothing."""
    try:
        call("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, None, 0, 0, 0)
    except KernelCallError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EDQUOT):
            raise


def open_pidfd(pid: int) -> int:
    """Return a descriptor that stands for a process, readable when it ends."""
    return call("pidfd_open", pid, 0, subject=pid)


def signal_pidfd(pidfd: int, signal_number: int) -> bool:
    """Send a signal; False when the process is gone."""
    try:
        call("pidfd_send_signal", pidfd, signal_number, None, 0, subject=signal_number)
    except KernelCallError as error:
        if error.errno == errno.ESRCH:
            return False
        raise
    return True


def reset_signals() -> None:
    """Give every signal its default action and block none: what is ignored outlives execve(2)."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def close_from_on_exec(first: int) -> None:
    """Mark every descriptor from *first* on close-on-exec."""
    call("close_range", first, _MAX_FD, _CLOSE_RANGE_CLOEXEC)


def set_ids(uid: int, gid: int, groups: Sequence[int]) -> None:
    """Become a user, groups first; capabilities follow the kernel's rules for ids.

    The raw calls: libc's own would signal threads that a cloned child has not.
    """
    ids = array.array("I", groups)
    address, count = ids.buffer_info()
    call("setgroups", count, address, subject=str(list(groups)))
    call("setresgid", gid, gid, gid, subject=gid)
    call("setresuid", uid, uid, uid, subject=uid)


def set_hostname(name: str) -> None:
    """Set the host name of this UTS namespace."""
    text = name.encode()
    call("sethostname", text, len(text), subject=name)


def set_domainname(name: str) -> None:
    """Set the NIS domain name of this UTS namespace."""
    text = name.encode()
    call("setdomainname", text, len(text), subject=name)


def start_time_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if gone or a zombie.

    With the pid and the boot id it names a process for good (proc(5), "starttime").
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if not fields or fields[_STAT_STATE] in (b"Z", b"X"):
        return None
    return int(fields[_STAT_START_TIME])


def boot_id() -> str:
    """Return the kernel's name for this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def exit_status_of(wait_status: int) -> tuple[int, int]:
    """Return ``(exit code, signal)`` of a wait status; a signal gives 128 + n."""
    if os.WIFSIGNALED(wait_status):
        number = os.WTERMSIG(wait_status)
        return 128 + number, number
    return os.WEXITSTATUS(wait_status), 0
