# SPDX-License-Identifier: Apache-2.0
"""The way into the kernel: errors carry what was called, on what, and why it failed."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

import pytest

from toolkit.errors import KernelCallError, MountError
from toolkit.kernel import syscalls
from toolkit.kernel.syscalls import NUMBERS, call, check, raw


def test_a_call_returns_what_the_kernel_returned() -> None:
    pidfd = call("pidfd_open", os.getpid(), 0)
    assert f"Pid:\t{os.getpid()}" in Path(f"/proc/self/fdinfo/{pidfd}").read_text()
    os.close(pidfd)


def test_an_error_names_call_subject_and_reason() -> None:
    with pytest.raises(MountError) as caught:
        call("pidfd_open", -1, 0, subject="nobody", error=MountError)
    error = caught.value
    assert (error.call, error.subject, error.errno) == ("pidfd_open", "nobody", errno.EINVAL)
    assert str(error) == "pidfd_open nobody: Invalid argument"


def test_a_subject_that_is_no_text_is_shown_all_the_same() -> None:
    ctypes.set_errno(errno.ENOENT)
    with pytest.raises(KernelCallError) as caught:
        check(-1, KernelCallError, "open", b"\xff")
    assert os.fsencode(caught.value.subject) == b"\xff"
    assert check(0, KernelCallError, "open") == 0


def test_a_call_that_a_signal_interrupts_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    results = [(-1, errno.EINTR), (-1, errno.EINTR), (7, 0)]

    def interrupted(_number: int, *_arguments: object) -> int:
        result, number = results.pop(0)
        ctypes.set_errno(number)
        return result

    monkeypatch.setattr(syscalls, "raw", interrupted)
    assert call("pidfd_open", 1, 0) == 7
    assert results == []


def test_large_numbers_reach_the_kernel_whole() -> None:
    """A length of 64 bits: close_range with a range that holds nothing of ours."""
    assert raw(NUMBERS["close_range"], 0x7FFFFFF0, 0x7FFFFFFF, 0) == 0


def test_every_call_that_the_code_makes_has_a_number() -> None:
    names = {"pivot_root", "seccomp", "keyctl", "bpf", "setgroups", "setresuid", "setresgid",
             "sethostname", "setdomainname", "openat2", "clone3", "mount_setattr"}  # fmt: skip
    assert names <= set(NUMBERS)
    assert len(set(NUMBERS.values())) == len(NUMBERS)
