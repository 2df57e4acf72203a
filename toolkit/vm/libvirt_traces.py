# SPDX-License-Identifier: Apache-2.0
"""What a libvirtd leaves in this machine's kernel when it has ended, put back as it was.

Owns three traces: that packets are passed on between interfaces, which libvirt switches on
for its network; the chains of rules that it hooks in and leaves empty; the empty control
groups above its machines'. What others have put in meanwhile, and what others need, stays.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolkit.errors import MachineError
from toolkit.vm import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TABLES: Final = ("filter", "nat", "mangle")
_PROGRAMS: Final = ("iptables", "ip6tables")
_CHAIN: Final = re.compile(r"^-N (LIBVIRT_\S+)$", re.MULTILINE)
_HOOK: Final = re.compile(r"^-A (\S+) -j (LIBVIRT_\S+)$", re.MULTILINE)
_RULE: Final = re.compile(r"^-A LIBVIRT_", re.MULTILINE)
_PASSING: Final = re.compile(r"^-A FORWARD (?!-j LIBVIRT_)", re.MULTILINE)
_ON: Final = "1"


@dataclass(frozen=True, kw_only=True)
class LibvirtTraces:
    """The traces of a libvirtd that is started here.

    Attributes:
        record: The file in which is noted what there was before it.
    """

    record: Path
    run: Callable[..., str] = commands.run
    forwarding: Path = Path("/proc/sys/net/ipv4/ip_forward")
    cgroups: Path = Path("/sys/fs/cgroup")

    def note(self) -> None:
        """Note what there is, before the daemon starts; what is noted already stays."""
        if not self.record.exists():
            found = {
                "forwarding": self._forwarding(),
                "chains": sorted(self._chains()),
                "cgroups": sorted(map(str, self._cgroups())),
            }
            self.record.write_text(json.dumps(found), encoding="utf-8")

    def put_back(self) -> None:
        """Put back what was noted, after the daemon has ended; without a note do nothing."""
        try:
            before = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        for program, table in _places():
            self._unhook(program, table, kept=before["chains"])
        if before["forwarding"] != _ON and self._forwarding() == _ON and not self._is_needed():
            self.forwarding.write_text(before["forwarding"] + "\n")
        for directory in self._cgroups():
            if str(directory) not in before["cgroups"]:
                with suppress(OSError):  # a machine of somebody else's is in it
                    directory.rmdir()
        self.record.unlink()

    def _cgroups(self) -> Iterator[Path]:
        """Yield the control groups that libvirt makes where there is no systemd to ask."""
        for pattern in ("machine", "*/machine"):
            yield from self.cgroups.glob(pattern)

    def _forwarding(self) -> str:
        return self.forwarding.read_text().strip()

    def _is_needed(self) -> bool:
        """Tell whether somebody else's rules are about packets that are passed on."""
        return any(_PASSING.search(self._rules(program, "filter")) for program in _PROGRAMS)

    def _chains(self) -> Iterator[str]:
        for program, table in _places():
            for name in _CHAIN.findall(self._rules(program, table)):
                yield _label(program, table, name)

    def _unhook(self, program: str, table: str, *, kept: list[str]) -> None:
        """Remove the daemon's chains from a table, unless a network still has rules in them."""
        rules = self._rules(program, table)
        if _RULE.search(rules):
            return
        ours = [name for name in _CHAIN.findall(rules) if _label(program, table, name) not in kept]
        command = [program, "--wait", "--table", table]
        for chain, name in _HOOK.findall(rules):
            if name in ours:
                self.run([*command, "--delete", chain, "--jump", name])
        for name in ours:
            self.run([*command, "--delete-chain", name])

    def _rules(self, program: str, table: str) -> str:
        try:
            return self.run([program, "--wait", "--table", table, "--list-rules"])
        except MachineError:  # no such program, or no such table in this kernel: no rules
            return ""


def _places() -> Iterator[tuple[str, str]]:
    return ((program, table) for program in _PROGRAMS for table in _TABLES)


def _label(program: str, table: str, chain: str) -> str:
    return f"{program} {table} {chain}"
