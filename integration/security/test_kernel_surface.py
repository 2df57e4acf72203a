# SPDX-License-Identifier: Apache-2.0
"""What of the kernel a program reaches: system calls, sockets, keys (rows S-10 to S-12, S-15)."""

from __future__ import annotations

import ctypes
import errno
import itertools
import json
import os
import platform
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.bpf import AUDIT_ARCH, evaluate_filter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.security.lab import Lab

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the numbers of the calls are x86-64's"
)

UNCONFINED = {"SecurityOpt": ["seccomp=unconfined"]}
_TABLE = Path(__file__).parent / "syscalls.json"
_PTRACE = {"detach": 17, "seize": 0x4206, "interrupt": 0x4207, "get_filter": 0x420C}
_WALL = 0x40000000
_NUMBERS = range(470)
_X32 = 0x40000000
_NEW_USER = 0x10000000

# Calls with arguments that decide: number, arguments.
_ARGUED: dict[str, tuple[int, tuple[int, ...]]] = {
    "clone with a new user namespace": (56, (_NEW_USER | 17,)),
    "clone of a thread": (56, (0x3D0F00,)),
    "unshare of a user namespace": (272, (_NEW_USER,)),
    "socket AF_UNIX": (41, (1, 1, 0)),
    "socket AF_INET": (41, (2, 1, 0)),
    "socket AF_ALG": (41, (38, 5, 0)),
    "socket AF_ALG with a high half": (41, (38 | 1 << 32, 5, 0)),
    "socket AF_VSOCK": (41, (40, 1, 0)),
    "personality PER_LINUX": (135, (0,)),
    "personality ADDR_NO_RANDOMIZE": (135, (0x40000,)),
}
_CLOSED = {
    "mount": 165, "umount2": 166, "setns": 308, "bpf": 321, "keyctl": 250, "add_key": 248,
    "request_key": 249, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425,
    "io_uring_enter": 426, "io_uring_register": 427, "open_by_handle_at": 304,
    "name_to_handle_at": 303, "init_module": 175, "kexec_load": 246, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "pivot_root": 155, "process_vm_writev": 311, "kcmp": 312,
}  # fmt: skip


def ptrace(request: str, pid: int, address: int, buffer: Any) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    result = libc.ptrace(
        ctypes.c_long(_PTRACE[request]), ctypes.c_long(pid), ctypes.c_void_p(address), buffer
    )
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    ptrace("seize", pid, 0, None)
    try:
        ptrace("interrupt", pid, 0, None)
        os.waitpid(pid, _WALL)
        yield
    finally:
        ptrace("detach", pid, 0, None)


def installed_filters(pid: int) -> list[bytes]:
    """Return the filters of a process as the kernel has them (appendix A)."""
    filters: list[bytes] = []
    with stopped(pid):
        for index in itertools.count():
            try:
                length = ptrace("get_filter", pid, index, None)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINVAL):
                    return filters
                raise
            buffer = ctypes.create_string_buffer(length * 8)
            ptrace("get_filter", pid, index, buffer)
            filters.append(buffer.raw)
    return filters


def decided(program: bytes) -> dict[str, Any]:
    """Return what a filter decides, as the committed table has it: hexadecimal actions."""

    def actions(arch: str, offset: int) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        every = ((n, evaluate_filter(program, n + offset, AUDIT_ARCH[arch])) for n in _NUMBERS)
        for action, group in itertools.groupby(every, key=lambda pair: pair[1]):
            numbers = [number for number, _ in group]
            found.setdefault(f"{action:#010x}", []).append(f"{numbers[0]}-{numbers[-1]}")
        return found

    return {
        "x86_64": actions("x86_64", 0),
        "i386": actions("i386", 0),
        "x32": actions("x86_64", _X32),
        "arguments": {
            name: f"{evaluate_filter(program, number, AUDIT_ARCH['x86_64'], given):#010x}"
            for name, (number, given) in _ARGUED.items()
        },
    }


def is_allowed(program: bytes, number: int, *given: int) -> bool:
    return evaluate_filter(program, number, AUDIT_ARCH["x86_64"], given) == 0x7FFF0000


def test_the_installed_filter_decides_what_the_committed_table_says(lab: Lab) -> None:
    """S-11: one filter, equal for a first and for an added program; three entries."""
    with lab.running() as container:
        filters = installed_filters(lab.pid(container))
        assert len(filters) == 1
        added = "/probe", "hold"
        session = lab.engine.client.execs.create(container, {"Cmd": list(added)})
        lab.engine.client.execs.start_detached(session)
        added_pid = lab.engine.client.execs.inspect(session)["Pid"]
        assert installed_filters(added_pid) == filters
    assert decided(filters[0]) == json.loads(_TABLE.read_text())


def test_what_matters_is_closed_in_the_installed_filter(lab: Lab) -> None:
    """S-11, S-12: read by hand, so that a table written by the code under test is no proof."""
    with lab.running() as container:
        (program,) = installed_filters(lab.pid(container))
    assert [name for name, number in _CLOSED.items() if is_allowed(program, number)] == []
    assert evaluate_filter(program, 435, AUDIT_ARCH["x86_64"]) == 0x00050000 | errno.ENOSYS
    assert not is_allowed(program, 56, _NEW_USER | 17)
    assert not is_allowed(program, 272, _NEW_USER)
    assert is_allowed(program, 56, 0x3D0F00)
    assert not is_allowed(program, 41, 38, 5)
    assert not is_allowed(program, 41, 40, 1)
    assert sum(not is_allowed(program, number) for number in range(462)) >= 70
    assert all(
        evaluate_filter(program, number | _X32, AUDIT_ARCH["x86_64"]) >> 31 for number in _NUMBERS
    )


def test_control_an_unconfined_program_has_no_filter(lab: Lab) -> None:
    """S-11."""
    with lab.running(host=UNCONFINED) as container:
        assert installed_filters(lab.pid(container)) == []


def test_the_page_cache_cannot_be_written_by_a_crypto_socket(lab: Lab) -> None:
    """S-12 (CVE-2026-31431): AF_ALG, by the 64-bit entry and by the 32-bit one."""
    assert lab.run("/probe", "call", "41", "38", "5", "0").out == "call 41 EPERM\n"
    assert lab.run("/probe", "socket32", "38").out in {"socket32 EPERM\n", ""}
    assert lab.run("/probe", "call", "41", "1", "1", "0").out == "call 41 ok\n"


def test_control_an_unconfined_program_gets_past_the_filter_to_the_kernel(lab: Lab) -> None:
    """S-12: what a kernel without AF_ALG says is not what the filter says."""
    assert "EPERM" not in lab.run("/probe", "call", "41", "38", "5", "0", host=UNCONFINED).out
    assert lab.run("/probe", "call", "41", "1", "1", "0", host=UNCONFINED).out == "call 41 ok\n"


SHOCKER = ("/probe", "handle", "/etc/hosts", "etc/hostname")


def test_a_handle_opens_no_directory_of_the_host(lab: Lab) -> None:
    """S-10 ("shocker"): by the filter, and without it for want of the capability."""
    assert lab.run(*SHOCKER).out == "handle EPERM\n"
    assert lab.run(*SHOCKER, host=UNCONFINED).out == "handle EPERM\n"


def test_control_with_the_capability_the_hosts_root_is_open(lab: Lab) -> None:
    """S-10: what 0.7.2 left every container."""
    opened = lab.run(*SHOCKER, host={"CapAdd": ["DAC_READ_SEARCH"]})
    assert opened.out.startswith("handle ok\n")


HOST_KEY = "toolkit-security-suite"
WITH_KEY = (
    "import ctypes\n"
    "libc = ctypes.CDLL(None, use_errno=True)\n"
    "libc.syscall(250, 1, None, 0, 0, 0)\n"
    f"assert libc.syscall(248, b'user', b'{HOST_KEY}', b'secret', 6, -3) > 0\n"
)


def test_a_program_has_a_session_keyring_of_its_own(weakened: Any) -> None:
    """S-15: the engine's own is searched in vain, also without the filter."""
    with weakened({}, WITH_KEY) as lab:
        assert lab.run("/probe", "keys", HOST_KEY).out.startswith("ring -1 EPERM")
        free = lab.run("/probe", "keys", HOST_KEY, host=UNCONFINED).lines
        assert free[1] == "search ENOKEY"
        with lab.running(host=UNCONFINED) as container:
            added = lab.execute(container, "/probe", "keys", HOST_KEY)
            assert added.lines[1] == "search ENOKEY"
        assert lab.run("wc", "-c", "/proc/keys").out == "0 /proc/keys\n"


def test_control_without_a_new_keyring_the_key_is_found(weakened: Any) -> None:
    """S-15."""
    changes = {
        "runtime/native/program.py": [("    process.join_new_session_keyring()\n", "")],
    }
    with weakened(changes, WITH_KEY) as lab:
        if lab.backend == "native":  # LXC makes one itself, for a first program
            found = lab.run("/probe", "keys", HOST_KEY, host=UNCONFINED).lines
            assert found[1] == "search ok"
        with lab.running(host=UNCONFINED) as container:
            added = lab.execute(container, "/probe", "keys", HOST_KEY)
            assert added.lines[1] == "search ok"
