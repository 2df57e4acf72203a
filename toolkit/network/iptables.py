# SPDX-License-Identifier: Apache-2.0
"""Running iptables-restore and iptables-save, for both families.

Owns the programs and their output, no rule. The lock of legacy iptables is
waited for, but not for ever. A program that is started ahead reads nothing of
the kernel and takes no lock before its first line comes; when the engine dies
it has read none, and ends.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections import deque
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

from toolkit.errors import FirewallError
from toolkit.network.firewall import FAMILIES

if TYPE_CHECKING:
    from toolkit.network.firewall import Family

_LOCK_SECONDS: Final = 10
_SECONDS: Final = 20
_OPTIONS: Final = {"restore": ("--noflush", "--wait", str(_LOCK_SECONDS)), "save": ()}
_PREFIX: Final = {4: "iptables", 6: "ip6tables"}

Act = Literal["restore", "save"]


class IptablesRunner(Protocol):
    """Carries out transactions of iptables-restore, and reads what there is."""

    @property
    def writer_pids(self) -> frozenset[int]:
        """The processes by which changes were made lately."""

    @cached_property
    def tells_changes(self) -> bool:
        """Tell whether changes that others make come by netlink: not with legacy iptables."""

    def restore(self, family: Family, text: str) -> None:
        """Carry out a transaction, all or nothing of each table; raise FirewallError."""

    def expect(self, family: Family) -> None:
        """Make ready for a transaction that may come."""

    def close(self) -> None:
        """End what waits for a transaction; more may still come."""

    def save(self, family: Family) -> str:
        """Return every table as iptables-save prints it."""

    def offers(self, family: Family) -> bool:
        """Tell whether the programs of a family are installed."""


class Iptables:
    """The programs found through PATH (rule 6.9)."""

    def __init__(self, variant: Literal["", "-legacy", "-nft"] = "") -> None:
        """Find the programs; *variant* chooses one of several that are installed."""
        self._programs = {
            (family, act): shutil.which(f"{prefix}{variant}-{act}")
            for family, prefix in _PREFIX.items()
            for act in _OPTIONS
        }
        self._pids: deque[int] = deque(maxlen=64)
        self._waiting: dict[Family, subprocess.Popen[str]] = {}
        self._lock = threading.Lock()

    @property
    def writer_pids(self) -> frozenset[int]:
        """The last processes that were started."""
        return frozenset(self._pids)

    @cached_property
    def tells_changes(self) -> bool:
        """Tell whether this is iptables on nftables, by the name of the program behind it."""
        program = self._programs[FAMILIES[0], "restore"]
        return program is not None and "legacy" not in Path(program).resolve().name

    def offers(self, family: Family) -> bool:
        """Tell whether the programs of a family are installed."""
        return all(self._programs[family, act] for act in ("restore", "save"))

    def restore(self, family: Family, text: str) -> None:
        """Carry out a transaction; waits for the lock."""
        with self._lock:
            waiting = self._waiting.pop(family, None)
        if waiting is not None and waiting.poll() is not None:
            _end(waiting)  # somebody killed it
            waiting = None
        self._finish(waiting or self._start(family, "restore"), family, "restore", text)

    def expect(self, family: Family) -> None:
        """Start the program of the next transaction ahead: 3 ms that it does not take then."""
        with self._lock:
            if family not in self._waiting:
                self._waiting[family] = self._start(family, "restore")

    def close(self) -> None:
        """End what waits for a transaction; more may still come."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for process in waiting.values():
            _end(process)

    def save(self, family: Family) -> str:
        """Return every table as iptables-save prints it."""
        return self._finish(self._start(family, "save"), family, "save", "")

    def _start(self, family: Family, act: Act) -> subprocess.Popen[str]:
        program = self._programs[family, act]
        if program is None:
            raise FirewallError("Iptables not found", f"no {_PREFIX[family]}-{act} in PATH")
        pipe = subprocess.PIPE
        process = subprocess.Popen(  # noqa: S603 - a program by its path, no shell, typed input
            [program, *_OPTIONS[act]], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        self._pids.append(process.pid)
        return process

    def _finish(self, process: subprocess.Popen[str], family: Family, act: Act, given: str) -> str:
        name = f"{_PREFIX[family]}-{act}"
        with process:
            try:
                output, error = process.communicate(given, _SECONDS)
            except subprocess.TimeoutExpired as expired:
                process.kill()
                raise FirewallError(f"{name} does not answer") from expired
        if process.returncode:
            raise FirewallError(f"iptables failed: {name}", error.strip())
        return output


def _end(process: subprocess.Popen[str]) -> None:
    """End a program that has been given nothing, and so does nothing."""
    with process:
        process.kill()
