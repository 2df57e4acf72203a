# SPDX-License-Identifier: Apache-2.0
"""Running iptables-restore and iptables-save, for both families.

Owns the programs and their output, no rule. The lock of legacy iptables is
waited for, but not for ever.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

from toolkit.errors import FirewallError
from toolkit.network.firewall import FAMILIES

if TYPE_CHECKING:
    from toolkit.network.firewall import Family

_LOCK_SECONDS: Final = 10
_SECONDS: Final = 20
_PREFIX: Final = {4: "iptables", 6: "ip6tables"}


class IptablesRunner(Protocol):
    """Carries out transactions of iptables-restore, and reads what there is."""

    @property
    def writer_pids(self) -> frozenset[int]:
        """The processes by which changes were made lately."""

    @property
    def tells_changes(self) -> bool:
        """Tell whether changes that others make come by netlink: not with legacy iptables."""

    def restore(self, family: Family, text: str) -> None:
        """Carry out a transaction, all or nothing of each table; raise FirewallError."""

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
            for act in ("restore", "save")
        }
        self._pids: deque[int] = deque(maxlen=64)

    @property
    def writer_pids(self) -> frozenset[int]:
        """The last processes that were started."""
        return frozenset(self._pids)

    @property
    def tells_changes(self) -> bool:
        """Tell whether this is iptables on nftables, by the name of the program behind it."""
        program = self._programs[FAMILIES[0], "restore"]
        return program is not None and "legacy" not in Path(program).resolve().name

    def offers(self, family: Family) -> bool:
        """Tell whether the programs of a family are installed."""
        return all(self._programs[family, act] for act in ("restore", "save"))

    def restore(self, family: Family, text: str) -> None:
        """Carry out a transaction; waits for the lock."""
        options = ["--noflush", "--wait", str(_LOCK_SECONDS)]
        self._run(family, "restore", options, text)

    def save(self, family: Family) -> str:
        """Return every table as iptables-save prints it."""
        return self._run(family, "save", [], "")

    def _run(self, family: Family, act: str, options: list[str], given: str) -> str:
        program = self._programs[family, act]
        if program is None:
            raise FirewallError("Iptables not found", f"no {_PREFIX[family]}-{act} in PATH")
        pipe = subprocess.PIPE
        with subprocess.Popen(  # noqa: S603 - a program by its path, no shell, typed input
            [program, *options], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        ) as process:
            self._pids.append(process.pid)
            try:
                output, error = process.communicate(given, _SECONDS)
            except subprocess.TimeoutExpired as expired:
                process.kill()
                raise FirewallError(f"{_PREFIX[family]}-{act} does not answer") from expired
        if process.returncode:
            raise FirewallError(f"iptables failed: {_PREFIX[family]}-{act}", error.strip())
        return output
