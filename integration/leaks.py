# SPDX-License-Identifier: Apache-2.0
"""The leak ledger: what an instance has on this host, counted before and after a test.

Owns what is counted and the comparison. Everything is found by the instance's
name, so that instances of other workers do not show.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from integration.pace import SLOWNESS
from toolkit.vm.leftovers import Leftovers
from toolkit.vm.process import parent_and_state, processes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from toolkit.config import Instance

CONVERGE_SECONDS = 5.0 * SLOWNESS
_LOOK_AGAIN_MS = 50
_PROC = Path("/proc")
_NUMBERED = re.compile(r":\[\d+\]$")  # "socket:[123]": the number is no matter
_COUNTERS = re.compile(r"\[\d+:\d+\]")
# Files that come with use and stay: the store's journal, logs of the engine, caches of work done.
_NO_LEAK = re.compile(r"(-wal|-shm|-journal|\.log)$|(^|/)(cache|seccomp|__pycache__)(/|$)")
_SLOT = "slot"
_SLOT_NAME = re.compile(r"slot-(\d+)-\d+")
# toolkit.runtime.launcher makes so many shims ahead, each with a child; a crew's is beside it.
# toolkit.network.proxy_main forks one proxy ahead.
_MOST_AHEAD = {_SLOT: 3, "crew": 4, "spare": 1}
_AHEAD_NAMES = {"toolkit-slot": _SLOT, "toolkit-crew": "crew", "toolkit-spare": "spare"}
# toolkit.network.iptables starts the next change's program ahead; names end after 15 bytes.
_FIREWALL_NAMES = {"iptables-restor", "ip6tables-resto"}

_NAME_SERVER = b"toolkit.network.dns.server"

Traces = Counter[str]


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Everything that was found, by kind; a trace is a text that says what and where."""

    mounts: Traces
    links: Traces
    rules: Traces
    cgroups: Traces
    processes: Traces
    zombies: Traces
    descriptors: Traces
    files: Traces

    @classmethod
    def of(cls, instance: Instance, engine_pid: int) -> Ledger:
        """Count what an instance has now."""
        processes = processes_of(instance.name)
        leftovers = Leftovers(instance)
        inside = leftovers.container_pids()
        return cls(
            mounts=Counter(_mounts(instance, [engine_pid, *_children(engine_pid, processes)])),
            links=Counter(_links(instance)),
            rules=Counter(_rules(instance)),
            cgroups=_without_slots(_cgroup(path) for path in leftovers.cgroup_dirs()),
            processes=_without_slots(
                _described(pid, engine_pid) for pid in {*processes, *inside} - {engine_pid}
            ),
            zombies=Counter(_zombies({engine_pid, *processes})),
            descriptors=_without_shims_ahead(Counter(_descriptors(engine_pid))),
            files=Counter(_files(instance)),
        )

    def leaked_since(self, before: Ledger) -> list[str]:
        """Return what is here now and was not before, a line each."""
        return [
            f"{field.name}: {trace}" + (f" (x{count})" if count > 1 else "")
            for field in fields(self)
            for trace, count in (getattr(self, field.name) - getattr(before, field.name)).items()
        ]


def leaks_after(
    before: Ledger, count: Callable[[], Ledger], pids: Callable[[], list[int]]
) -> list[str]:
    """Return what stays leaked although there was time to clean up.

    Waits for processes to end where some are left (the kernel tells), and looks
    again at the rest, for which nobody tells.
    """
    deadline = time.monotonic() + CONVERGE_SECONDS
    while leaks := count().leaked_since(before):
        if time.monotonic() > deadline:
            break
        _wait_for_any_end(pids())
    return leaks


def _wait_for_any_end(pids: list[int]) -> None:
    poll = select.poll()
    opened = []
    for pid in pids:
        with suppress(OSError):
            opened.append(os.pidfd_open(pid))
    try:
        for fd in opened:
            poll.register(fd, select.POLLIN)
        poll.poll(_LOOK_AGAIN_MS)
    finally:
        for fd in opened:
            os.close(fd)


def _mounts(instance: Instance, pids: list[int]) -> Iterator[str]:
    """Yield the mounts that name the instance, as this and other processes see them."""
    for pid in ("self", *pids):
        with suppress(OSError):
            for line in (_PROC / str(pid) / "mountinfo").read_text().splitlines():
                if instance.name in line:
                    yield " ".join(line.split()[3:])


def _children(parent: int, pids: list[int]) -> list[int]:
    """Return an engine's own children: its launcher. A shim's mounts go when it goes."""
    return [pid for pid in pids if (parent_and_state(pid) or (0, ""))[0] == parent]


def _links(instance: Instance) -> Iterator[str]:
    names = (path.name for path in Path("/sys/class/net").iterdir())
    return (name for name in names if name.startswith(instance.name))


def _rules(instance: Instance) -> Iterator[str]:
    for program in ("iptables-save", "iptables-legacy-save"):
        with suppress(FileNotFoundError):
            saved = subprocess.run([program], capture_output=True, text=True, check=False).stdout
            for line in saved.splitlines():
                if instance.name in line.lower():
                    yield f"{program}: {_COUNTERS.sub('', line).strip()}"


def _without_slots(traces: Iterable[str]) -> Traces:
    """Count traces, but not those of the starts that a launcher makes ahead of need."""
    counted = Counter(traces)
    for trace in counted:
        for kind, most in _MOST_AHEAD.items():
            if trace.endswith(kind):
                counted[trace] = max(0, counted[trace] - most)
    return counted


def _cgroup(path: Path) -> str:
    """Return a group's path; one of a living launcher's slots without its number."""
    slot = _SLOT_NAME.fullmatch(path.name)
    if slot and (_PROC / slot[1]).exists():
        return str(path.with_name(_SLOT))
    return str(path)


def _described(pid: int, engine_pid: int) -> str:
    """Return what a process is; those of the engine's own without their number.

    A new launcher is as good as the old one. The name server outlives an engine
    that is killed, and is then the next one's without being its child.
    """
    command = b""
    with suppress(OSError):
        command = (_PROC / str(pid) / "cmdline").read_bytes()
    if _NAME_SERVER in command:
        return "name server"
    if _children(engine_pid, [pid]):
        return "launcher"
    with suppress(OSError):
        name = (_PROC / str(pid) / "comm").read_text().strip()
        if name in _AHEAD_NAMES:
            inner = (_PROC / str(pid) / "status").read_text().rpartition("NSpid:")[2]
            return f"{len(inner.splitlines()[0].split())} deep {_AHEAD_NAMES[name]}"
    shown = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return f"{pid} {shown[:100]}"


def _zombies(parents: set[int]) -> Iterator[str]:
    """Yield the dead that a process of the instance has not reaped."""
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            parent = parent_and_state(int(entry.name))
            if parent and parent[1] == "Z" and parent[0] in parents:
                yield f"child of {parent[0]}"


def _descriptors(engine_pid: int) -> Iterator[str]:
    waiting = set(_pipes_of_waiting(engine_pid))
    for link in _open_files(engine_pid):
        target = _NUMBERED.sub("", link)
        if link not in waiting and not _NO_LEAK.search(target):
            yield target


def _without_shims_ahead(found: Traces) -> Traces:
    """Return descriptors without those of shims that wait: a socket and a namespace each."""
    ahead = min(found["net"], _MOST_AHEAD[_SLOT])
    return found - Counter({"net": ahead, "socket": ahead})


def _pipes_of_waiting(engine_pid: int) -> Iterator[str]:
    """Yield the ends of a firewall's program that waits for its text: the engine has the others."""
    for entry in _PROC.iterdir():
        parent = parent_and_state(int(entry.name)) if entry.name.isdecimal() else None
        if parent and parent[0] == engine_pid:
            with suppress(OSError):
                if (entry / "comm").read_text().strip() in _FIREWALL_NAMES:
                    yield from _open_files(int(entry.name))


def _open_files(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for entry in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                yield str(entry.readlink())


def _files(instance: Instance) -> Iterator[str]:
    for root in (instance.data_dir, instance.run_dir):
        for directory, names, files in os.walk(root):
            for name in (*names, *files):
                path = str(Path(directory) / name)
                if not _NO_LEAK.search(path):
                    yield path
