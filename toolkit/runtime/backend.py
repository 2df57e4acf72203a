# SPDX-License-Identifier: Apache-2.0
"""What a shim asks of a backend: start a program, and let go of what it stood on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ProgramEnds:
    """The shim's ends of a program's streams; -1 for what there is not."""

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1
    terminal: int = -1


class Program(Protocol):
    """A program that a backend started.

    Attributes:
        pid: Its process on the host.
        pidfd: Readable when it has ended.
        ends: Its streams.
        ends_with_namespace: Everything it left behind dies with it.
    """

    pid: int
    pidfd: int
    ends: ProgramEnds
    ends_with_namespace: bool

    def was_oom_killed(self) -> bool:
        """Say whether the kernel killed in its cgroup for want of memory."""

    def kill_rest(self) -> None:
        """Kill what is left in its cgroup."""

    def release(self) -> None:
        """Give back namespaces and cgroup; the program has ended."""
