# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
from functools import cache

import pytest

from tests.fakes.bpf import ALLOW, AUDIT_ARCH, ERRNO, KILL_PROCESS, evaluate_filter
from toolkit.kernel.seccomp_compiler import compile_filter, native_architecture, resolve_syscall
from toolkit.runtime.seccomp_profile import (
    ALLOWED_BY_CAPABILITY,
    ALWAYS_ALLOWED,
    default_profile,
)

pytestmark = pytest.mark.skipif(
    native_architecture() != "SCMP_ARCH_X86_64", reason="the numbers below are x86-64's"
)

X86_64, I386 = AUDIT_ARCH["x86_64"], AUDIT_ARCH["i386"]
WORDS = {X86_64: "SCMP_ARCH_X86_64", I386: "SCMP_ARCH_X86"}
NUMBERS = range(470)
EPERM, ENOSYS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS

# Calls that i386 has twice: by their own number, and through socketcall or ipc. libseccomp
# names only the second way.
I386_DIRECT = {102, 337, 345, *range(359, 374), *range(393, 403)}

# Row S-11's committed table: what an x86-64 program is refused with arguments of 0.
# A name that goes must have a reason; one that comes makes the table longer.
_TABLE = """
    _sysctl acct add_key afs_syscall bpf chroot clock_settime clone3 create_module delete_module
    fanotify_init finit_module fsconfig fsmount fsopen fspick get_kernel_syms get_mempolicy
    getpmsg init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp
    kexec_file_load kexec_load keyctl lookup_dcookie mbind migrate_pages mount mount_setattr
    move_mount move_pages name_to_handle_at nfsservctl open_by_handle_at open_tree
    perf_event_open pidfd_getfd pivot_root process_madvise process_vm_readv process_vm_writev
    putpmsg query_module quotactl quotactl_fd reboot request_key security set_mempolicy
    set_mempolicy_home_node setdomainname sethostname setns settimeofday swapoff swapon sysfs
    syslog tuxcall umount2 unshare uselib userfaultfd ustat vhangup vserver
"""
DENIED = frozenset(_TABLE.split())


@cache
def program(*capabilities: str) -> bytes:
    return compile_filter(default_profile(frozenset(capabilities), "x86_64"))


def decide(
    name: str, *arguments: int, arch: int = X86_64, capabilities: tuple[str, ...] = ()
) -> int:
    number = resolve_syscall(name, WORDS[arch])
    assert number is not None
    return evaluate_filter(program(*capabilities), number, arch, arguments)


def names(arch: int) -> dict[int, str]:
    """Return every name that our lists or the table know, by its number."""
    known = {*ALWAYS_ALLOWED, *DENIED, "socket", "personality", "clone", "clone3"}
    for more in ALLOWED_BY_CAPABILITY.values():
        known.update(more)
    numbers = {resolve_syscall(name, WORDS[arch]): name for name in known}
    return {number: name for number, name in numbers.items() if number is not None}


def test_the_refused_calls_are_those_of_the_table() -> None:
    """Row S-11."""
    by_number = names(X86_64)
    refused = {
        name
        for number, name in by_number.items()
        if evaluate_filter(program(), number, X86_64) != ALLOW
    }
    assert refused == DENIED
    assert len(DENIED) >= 70


@pytest.mark.parametrize("arch", [X86_64, I386])
def test_every_number_is_decided_as_the_profile_says(arch: int) -> None:
    """Row S-11: all numbers, both entries."""
    by_number = names(arch)
    restricted = {"socket", "personality", "clone", "socketcall"}
    for number in NUMBERS:
        name = by_number.get(number)
        decision = evaluate_filter(program(), number, arch)
        if name in ALWAYS_ALLOWED or name in restricted:
            assert decision == ALLOW, (number, name)
        elif name == "clone3":
            assert decision == ENOSYS
        elif name is not None:
            assert decision == EPERM, (number, name)
        else:
            assert decision != ALLOW or (arch == I386 and number in I386_DIRECT), number


def test_numbers_that_are_unknown_fail_as_on_an_older_kernel() -> None:
    for number in (335, 423, 511, 4096):
        assert evaluate_filter(program(), number, X86_64) == ENOSYS


@pytest.mark.parametrize(
    "name",
    ["unshare", "setns", "mount", "bpf", "keyctl", "add_key", "request_key", "perf_event_open",
     "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "open_by_handle_at",
     "name_to_handle_at", "process_vm_readv", "process_vm_writev", "kcmp"],
)  # fmt: skip
def test_what_row_s_11_names_is_refused(name: str) -> None:
    """Row S-11."""
    assert decide(name) == EPERM


@pytest.mark.parametrize(
    "flag", [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]
)
def test_clone_makes_threads_and_no_namespaces(flag: int) -> None:
    """Row S-11."""
    assert decide("clone", 0x3D0F00) == ALLOW
    assert decide("clone", flag | 17) == EPERM
    assert decide("clone", flag | 17, arch=I386) == EPERM


def test_clone3_sends_the_c_library_to_clone() -> None:
    """Row S-11."""
    assert decide("clone3") == ENOSYS


@pytest.mark.parametrize("family", [38, 40, 38 | 1 << 32, 40 | 7 << 60])
def test_sockets_of_af_alg_and_af_vsock_are_refused(family: int) -> None:
    """Rows S-11, S-12: the kernel sees the low half only, and so must the filter."""
    assert decide("socket", family, 5) == EPERM


@pytest.mark.parametrize("family", [1, 2, 10, 16, 17, 31, 36, 37, 39, 41, 44, 45])
def test_other_sockets_are_allowed(family: int) -> None:
    assert decide("socket", family, 1) == ALLOW


def test_32_bit_programs_do_not_get_af_alg_either() -> None:
    """Row S-12: neither directly (359) nor by socketcall (102), which hides the family."""
    assert evaluate_filter(program(), 359, I386, (38, 5)) == EPERM
    assert evaluate_filter(program(), 359, I386, (2, 1)) == ALLOW
    assert evaluate_filter(program(), 102, I386, (1, 0x1000)) == EPERM
    assert evaluate_filter(program(), 102, I386, (3, 0x1000)) == ALLOW


def test_x32_is_killed() -> None:
    """Row S-11."""
    assert evaluate_filter(program(), 0x40000000, X86_64) == KILL_PROCESS
    assert evaluate_filter(program(), 0x40000000 | 511, X86_64) == KILL_PROCESS


@pytest.mark.parametrize("value", [0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF])
def test_harmless_personalities_are_allowed(value: int) -> None:
    assert decide("personality", value) == ALLOW


@pytest.mark.parametrize("value", [0x40000, 0x0400000, 0x1, 1 << 32])
def test_other_personalities_are_refused(value: int) -> None:
    assert decide("personality", value) == EPERM


@pytest.mark.parametrize("capability", sorted(ALLOWED_BY_CAPABILITY))
def test_a_capability_opens_its_calls_and_no_others(capability: str) -> None:
    opened = set(ALLOWED_BY_CAPABILITY[capability])
    for name in names(X86_64).values():
        before, after = decide(name), decide(name, capabilities=(capability,))
        assert (after == ALLOW) is (before == ALLOW or name in opened), name


def test_cap_sys_admin_may_make_namespaces() -> None:
    assert decide("clone", 0x10000000, capabilities=("CAP_SYS_ADMIN",)) == ALLOW
    assert decide("clone3", capabilities=("CAP_SYS_ADMIN",)) == ALLOW


def test_no_capability_opens_the_keyrings_and_io_uring() -> None:
    opened = {name for calls in ALLOWED_BY_CAPABILITY.values() for name in calls}
    closed = {"keyctl", "add_key", "request_key", "io_uring_setup", "userfaultfd"}
    assert not closed & (opened | set(ALWAYS_ALLOWED))


def test_no_call_is_listed_twice() -> None:
    assert len(ALWAYS_ALLOWED) == len(set(ALWAYS_ALLOWED))


def test_arm64_is_filtered_natively() -> None:
    assert default_profile(frozenset(), "aarch64")["architectures"] == ["SCMP_ARCH_AARCH64"]


def test_the_arm64_program_decides_by_arm64s_numbers() -> None:
    """Row S-11: 63 is read, 40 mount, 198 socket, 220 clone; x86-64 is another architecture."""
    arm64 = AUDIT_ARCH["aarch64"]
    compiled = compile_filter(default_profile(frozenset(), "aarch64"))
    decisions = [
        evaluate_filter(compiled, number, arm64, arguments)
        for number, arguments in ((63, ()), (40, ()), (198, (38,)), (198, (2,)), (220, (1 << 28,)))
    ]
    assert decisions == [ALLOW, EPERM, EPERM, ALLOW, EPERM]
    assert evaluate_filter(compiled, 0, X86_64) == KILL_PROCESS
