# SPDX-License-Identifier: Apache-2.0
"""A process that somebody else may have started: named so that no other is meant.

A pid alone is reused; with its start time and the boot it is not. Owns that
identity and stopping by it. (`toolkit.kernel` has the like below the process
boundary.)
"""

from __future__ import annotations

import itertools
import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_PROC = Path("/proc")
_START_TIME_FIELD = 22 - 3  # proc(5) counts from 1, and the fields behind the name begin at 3
# Stand in the command lines of launcher, proxies and name server, and of what they fork.
_HELPERS = (b"toolkit.runtime.launcher", b"toolkit.network.proxy_main", b"toolkit.network.dns")


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """One process of one boot.

    Attributes:
        start_time_ticks: When it started, in the kernel's ticks since boot.
        boot_id: The kernel's name for this boot.
    """

    pid: int
    start_time_ticks: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Return who has a pid now; None if nobody has, or only a zombie."""
        fields = _stat_fields(pid)
        if not fields or fields[0] == "Z":
            return None
        return cls(pid=pid, start_time_ticks=int(fields[_START_TIME_FIELD]), boot_id=_boot_id())

    @property
    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        return ProcessIdentity.of(self.pid) == self

    def stop(self, grace_seconds: float) -> bool:
        """Ask it to end, insist after the grace period; return whether it had to be killed."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.is_alive:  # looked at after the descriptor: it can mean no other now
                return False
            _send(pidfd, signal.SIGTERM)
            if wait_readable(pidfd, grace_seconds):
                return False
            _send(pidfd, signal.SIGKILL)
            wait_readable(pidfd, grace_seconds)
            return True
        finally:
            os.close(pidfd)


def _send(pidfd: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return  # it ended by itself meanwhile, which is what was wanted


def wait_readable(fd: int, timeout_seconds: float) -> bool:
    """Wait until a descriptor is readable (a pidfd: until its process ended)."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_seconds * 1000))


def parent_and_state(pid: int) -> tuple[int, str] | None:
    """Return a process's parent and state letter; None if it is gone."""
    fields = _stat_fields(pid)
    return (int(fields[1]), fields[0]) if fields else None


def processes_of(instance_name: str) -> list[int]:
    """Return the processes that carry an instance's mark: engine, launcher and shims.

    An engine names the instance among its arguments; a launcher, the shims forked
    from it, proxies and the name server in the environment that they were started with.
    The program of a container
    does neither (its control group does), nor does a shell that chose the instance.
    """
    return [
        pid
        for pid in sorted(int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal())
        if pid != os.getpid() and _is_marked(pid, instance_name)
    ]


def _is_marked(pid: int, instance_name: str) -> bool:
    arguments = _read(pid, "cmdline").split(b"\0")
    name = instance_name.encode()
    if any(helper in argument for argument in arguments for helper in _HELPERS):
        return b"TOOLKIT_INSTANCE=" + name in _read(pid, "environ").split(b"\0")
    pairs = itertools.pairwise(arguments)
    return b"engine" in arguments and (b"--instance", name) in pairs


def _read(pid: int, name: str) -> bytes:
    try:
        return (_PROC / str(pid) / name).read_bytes()
    except OSError:  # it ended, or is a kernel's own
        return b""


def _stat_fields(pid: int) -> list[str]:
    """Return the fields behind the name, which may itself hold blanks and brackets."""
    return _read(pid, "stat").decode(errors="replace").rpartition(")")[2].split()


def _boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
