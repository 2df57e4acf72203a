# SPDX-License-Identifier: Apache-2.0
"""The installed filter, asked of the kernel and tried by a program (rows S-11, S-12)."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from toolkit.kernel.seccomp_compiler import compile_filter
from toolkit.runtime.seccomp_profile import default_profile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the calls are x86-64's"),
]

PTRACE_DETACH = 17
PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
PTRACE_SECCOMP_GET_FILTER = 0x420C
WALL = 0x40000000

CONFINE = """
import ctypes, errno, os, sys
from pathlib import Path
from toolkit.kernel.seccomp import install_filter
install_filter(Path(sys.argv[1]).read_bytes())
libc = ctypes.CDLL(None, use_errno=True)
def attempt(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(value) for value in arguments))
    return errno.errorcode[ctypes.get_errno()] if result == -1 else "ok"
"""

# int 0x80 from 64-bit code: the i386 entry. mov eax,number; mov ebx,first; int 0x80; ret
I386_CALL = """
import mmap, struct
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
def attempt_i386(number, first):
    code.seek(0)
    code.write(b"\\x53\\xb8" + struct.pack("<I", number) + b"\\xbb" + struct.pack("<I", first)
               + b"\\x31\\xc9\\x31\\xd2\\xcd\\x80\\x5b\\xc3")
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    return errno.errorcode[-result] if -4096 < result < 0 else "ok"
"""


@pytest.fixture
def program_file(tmp_path: Path) -> Path:
    path = tmp_path / "filter.bpf"
    path.write_bytes(compile_filter(default_profile(frozenset())))
    return path


def confined(program_file: Path, body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CONFINE + body, str(program_file)],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def stopped_confined_pid(program_file: Path) -> Iterator[int]:
    """A process that has the filter on, stopped by ptrace."""
    body = "print('on', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", CONFINE + body, str(program_file)],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        ptrace(PTRACE_SEIZE, process.pid, 0, None)
        ptrace(PTRACE_INTERRUPT, process.pid, 0, None)
        os.waitpid(process.pid, WALL)
        yield process.pid
        ptrace(PTRACE_DETACH, process.pid, 0, None)


def ptrace(request: int, pid: int, address: int, buffer: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    result = libc.ptrace(
        ctypes.c_long(request), ctypes.c_long(pid), ctypes.c_void_p(address), buffer
    )
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


def test_the_kernel_holds_exactly_our_program(
    stopped_confined_pid: int, program_file: Path
) -> None:
    """Row S-11: the installed filter, dumped as in appendix A."""
    length = ptrace(PTRACE_SECCOMP_GET_FILTER, stopped_confined_pid, 0, None)
    buffer = ctypes.create_string_buffer(length * 8)
    ptrace(PTRACE_SECCOMP_GET_FILTER, stopped_confined_pid, 0, buffer)
    assert buffer.raw == program_file.read_bytes()
    with pytest.raises(OSError, match=os.strerror(errno.ENOENT)):
        ptrace(PTRACE_SECCOMP_GET_FILTER, stopped_confined_pid, 1, None)


def test_what_the_profile_refuses_is_refused_by_the_kernel(program_file: Path) -> None:
    """Rows S-11, S-12; 38 is AF_ALG, 40 AF_VSOCK, 0x10000000 CLONE_NEWUSER."""
    body = """
print(attempt(272, 0x10000000), attempt(56, 0x10000011), attempt(435), attempt(250), attempt(425))
print(attempt(41, 38, 5, 0), attempt(41, 40, 1, 0), attempt(41, 38 | 1 << 32, 5, 0),
      attempt(41, 1, 1, 0), attempt(135, 0x40000), attempt(135, 0xFFFFFFFF), attempt(500))
"""
    done = confined(program_file, body)
    assert done.stdout.split("\n")[:2] == [
        "EPERM EPERM ENOSYS EPERM EPERM",
        "EPERM EPERM EPERM ok EPERM ok ENOSYS",
    ], done.stderr


def test_the_32_bit_entry_has_the_same_filter(program_file: Path) -> None:
    """Rows S-11, S-12: 310 is unshare, 359 socket, 102 socketcall, 20 getpid."""
    body = (
        I386_CALL
        + """
print(attempt_i386(310, 0x10000000), attempt_i386(359, 38), attempt_i386(102, 1),
      attempt_i386(20, 0))
"""
    )
    done = confined(program_file, body)
    if done.returncode == -signal.SIGSEGV:
        pytest.skip("this kernel has no 32-bit entry")
    assert done.stdout == "EPERM EPERM EPERM ok\n", done.stderr


def test_the_x32_entry_kills(program_file: Path) -> None:
    """Row S-11: 0x40000027 is x32's getpid."""
    done = confined(program_file, "attempt(0x40000027); print('alive')")
    assert (done.returncode, done.stdout) == (-signal.SIGSYS, "")


def test_programs_and_threads_work_under_the_filter(program_file: Path) -> None:
    body = """
import subprocess, threading, socket
thread = threading.Thread(target=print, args=("thread",)); thread.start(); thread.join()
print(subprocess.run(["/bin/sh", "-c", "echo $(echo nested)"], capture_output=True).stdout)
socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
"""
    done = confined(program_file, body)
    assert done.stdout == "thread\nb'nested\\n'\n", done.stderr
