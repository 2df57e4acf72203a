# SPDX-License-Identifier: Apache-2.0
"""Which system calls a container may make, as data: an OCI ``linux.seccomp`` document.

An allow list in the spirit of docker's default, by what the calls are for, with
these differences (security rows S-11, S-12): `process_vm_*`, `name_to_handle_at`
and AF_ALG are closed too, i386 passes the same list, and x32 is not entered at
all. What is known and not allowed fails with EPERM; what libseccomp does not know
fails with ENOSYS, so that programs fall back to an older call.

Compiling and installing it is `toolkit.kernel`'s.
"""

from __future__ import annotations

import errno
import platform
from typing import Any, Final

Document = dict[str, Any]

_ARCHITECTURES: Final = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86"),  # not X32: it is killed
    "aarch64": ("SCMP_ARCH_AARCH64",),
}


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_FILES: Final = _names("""
    access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3
    faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown
    fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr
    fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents
    getdents64 getxattr getxattrat ioctl lchown lchown32 lgetxattr link linkat listxattr listxattrat
    llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat
    newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead
    readlink readlinkat readv removexattr removexattrat rename renameat renameat2 rmdir sendfile
    sendfile64 setxattr setxattrat splice stat stat64 statfs statfs64 statx symlink symlinkat sync
    sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat
    utimensat_time64 utimes vmsplice write writev
""")
_WAITING: Final = _names("""
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
    epoll_wait_old eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup
    io_submit _newselect pipe pipe2 poll ppoll ppoll_time64 pselect6 pselect6_time64 select
    signalfd signalfd4
""")
_MEMORY: Final = _names("""
    brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2
    mlockall mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free
    pkey_mprotect process_mrelease remap_file_pages
""")
_PROCESSES: Final = _names("""
    alarm capget capset execve execveat exit exit_group fork getcpu getegid getegid32 geteuid
    geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid getpriority
    getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid gettid getuid getuid32
    ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset landlock_restrict_self
    pause pidfd_open pidfd_send_signal prctl prlimit64 ptrace restart_syscall rseq rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam
    sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler
    sched_yield seccomp setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups
    setgroups32 setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
    setresuid32 setreuid setreuid32 setrlimit setsid setuid setuid32 sigaltstack sigprocmask
    sigreturn tgkill tkill ugetrlimit uretprobe vfork wait4 waitid waitpid
""")
_THREADS: Final = _names("""
    arch_prctl futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake get_robust_list
    get_thread_area modify_ldt set_robust_list set_thread_area set_tid_address
""")
_SOCKETS: Final = _names("""
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg
    recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketpair
""")
_QUEUES_AND_SEMAPHORES: Final = _names("""
    ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
    mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop
    semtimedop_time64 shmat shmctl shmdt shmget
""")
_TIME_AND_SYSTEM: Final = _names("""
    adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer getrandom gettimeofday
    nanosleep setitimer sysinfo time timer_create timer_delete timer_getoverrun timer_gettime
    timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64
    timerfd_settime timerfd_settime64 times uname
""")

ALWAYS_ALLOWED: Final = (
    *_FILES,
    *_WAITING,
    *_MEMORY,
    *_PROCESSES,
    *_THREADS,
    *_SOCKETS,
    *_QUEUES_AND_SEMAPHORES,
    *_TIME_AND_SYSTEM,
)

# What a capability opens: the kernel asks for it anyway, and without it the call is only surface.
ALLOWED_BY_CAPABILITY: Final[dict[str, tuple[str, ...]]] = {
    "CAP_BPF": ("bpf",),
    "CAP_DAC_READ_SEARCH": ("name_to_handle_at", "open_by_handle_at"),
    "CAP_PERFMON": ("perf_event_open",),
    "CAP_SYS_ADMIN": _names("""
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick listmount lookup_dcookie
        lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount
        name_to_handle_at open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname
        setns statmount syslog umount umount2 unshare
    """),
    "CAP_SYS_BOOT": ("reboot",),
    "CAP_SYS_CHROOT": ("chroot",),
    "CAP_SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "CAP_SYS_NICE": ("get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"),
    "CAP_SYS_PACCT": ("acct",),
    "CAP_SYS_PTRACE": _names("kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev"),
    "CAP_SYS_RAWIO": ("ioperm", "iopl"),
    "CAP_SYS_TIME": ("clock_settime", "clock_settime64", "settimeofday", "stime"),
    "CAP_SYS_TTY_CONFIG": ("vhangup",),
    "CAP_SYSLOG": ("syslog",),
}

# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET together.
_NEW_NAMESPACES: Final = 0x7E020000

# PER_LINUX, PER_LINUX32, each also with UNAME26; the last one only asks.
_PERSONALITIES: Final = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

# socket()'s families as (mask, value) pairs: 0 to 47 without AF_ALG (38) and AF_VSOCK (40).
# The kernel looks at the low 32 bits only, so the comparison must, too: a family
# with something in the high half would else pass as another one.
_SOCKET_FAMILIES: Final = (
    (0xFFFFFFE0, 0),
    (0xFFFFFFFC, 32),
    (0xFFFFFFFE, 36),
    (0xFFFFFFFF, 39),
    (0xFFFFFFFF, 41),
    (0xFFFFFFFE, 42),
    (0xFFFFFFFC, 44),
)


def default_profile(capabilities: frozenset[str], machine: str = "") -> Document:
    """Return the document for a container that keeps *capabilities* (``CAP_SYS_ADMIN`` ...).

    Args:
        capabilities: Names of its bounding set.
        machine: As `platform.machine` says it; this machine's when empty.
    """
    allowed = set(ALWAYS_ALLOWED)
    for capability in capabilities:
        allowed.update(ALLOWED_BY_CAPABILITY.get(capability, ()))
    document: Document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.EPERM,
        "architectures": list(_ARCHITECTURES.get(machine or platform.machine(), ())),
        "syscalls": [
            {"names": sorted(allowed), "action": "SCMP_ACT_ALLOW"},
            *(_masked("socket", mask, family) for mask, family in _SOCKET_FAMILIES),
            *(_equal("personality", value) for value in _PERSONALITIES),
        ],
    }
    if "CAP_SYS_ADMIN" not in capabilities:
        document["syscalls"] += [
            _masked("clone", _NEW_NAMESPACES, 0),
            # Its flags are behind a pointer: C libraries fall back to clone.
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
        ]
    return document


def _masked(name: str, mask: int, value: int) -> Document:
    argument = {"index": 0, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]}


def _equal(name: str, value: int) -> Document:
    argument = {"index": 0, "value": value, "op": "SCMP_CMP_EQ"}
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]}
