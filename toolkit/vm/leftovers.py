# SPDX-License-Identifier: Apache-2.0
"""What an instance has on this machine when its engine is gone, and taking it away.

Everything is found by the instance's name, not by anybody's memory. While an
engine runs, cleaning up is the engine's.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import MachineError
from toolkit.vm.doctor import cgroup_mounts
from toolkit.vm.process import ProcessIdentity, processes_of, wait_readable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from toolkit.config import Instance

_MOUNTINFO = Path("/proc/self/mountinfo")
_LINKS = Path("/sys/class/net")
_NETWORK_USED = "network-used"  # toolkit.engine.attachment leaves it in the run directory
_END_SECONDS = 5.0


@dataclass(frozen=True)
class Leftovers:
    """The traces of one instance.

    Attributes:
        mountinfo: Where this process' mounts are read.
    """

    instance: Instance
    mountinfo: Path = _MOUNTINFO

    def cgroup_dirs(self) -> list[Path]:
        """Return the instance's control groups in every hierarchy, deepest first."""
        tops = (
            place / self.instance.cgroup_parent
            for _, place, _ in cgroup_mounts(self.mountinfo.read_text())
        )
        return [directory for top in dict.fromkeys(tops) for directory in _deepest_first(top)]

    def container_pids(self) -> list[int]:
        """Return the processes in the instance's control groups."""
        return sorted({pid for directory in self.cgroup_dirs() for pid in _members(directory)})

    def mount_points(self) -> list[Path]:
        """Return what is mounted at or below the instance's directories."""
        roots = (self.instance.data_dir, self.instance.run_dir)
        points = (Path(line.split()[4]) for line in self.mountinfo.read_text().splitlines())
        return [point for point in points if any(point.is_relative_to(root) for root in roots)]

    def end_processes(self) -> int:
        """Kill the instance's shims and what is left of its containers; return how many."""
        pids = {*processes_of(self.instance.name), *self.container_pids()}
        for pid in pids:
            _kill_and_wait(pid)
        return len(pids)

    def has_network(self) -> bool:
        """Tell whether the instance may have links or rules in this network namespace."""
        mark = f"toolkit:{self.instance.name}:"
        return (self.instance.run_dir / _NETWORK_USED).exists() or any(
            _alias_of(link).startswith(mark) for link in _LINKS.iterdir()
        )

    def sweep_network(self) -> None:
        """Remove the instance's links and rules.

        Raises:
            MachineError: Something cannot be removed.
        """
        if not self.has_network():
            return
        command = [sys.executable, "-m", "toolkit.network.sweep", self.instance.name]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)  # noqa: S603 - our own words
        except subprocess.CalledProcessError as error:
            raise MachineError(f"rules and links are left: {error.stderr.strip()}") from error

    def remove(self, *, keep_data: bool) -> list[Path]:
        """Remove control groups and directories; return what was removed.

        Raises:
            MachineError: Something is mounted below: removing would reach into it.
        """
        if points := self.mount_points():
            shown = " ".join(str(point) for point in points)
            raise MachineError(f"still mounted, so nothing was removed: umount {shown}")
        self.sweep_network()
        removed = [directory for directory in self.cgroup_dirs() if _remove_cgroup(directory)]
        wanted = [self.instance.run_dir] + ([] if keep_data else [self.instance.data_dir])
        for directory in wanted:
            if directory.is_dir():
                shutil.rmtree(directory)
                removed.append(directory)
        return removed


def _alias_of(link: Path) -> str:
    try:
        return (link / "ifalias").read_text().strip()
    except OSError:  # gone meanwhile
        return ""


def _deepest_first(top: Path) -> Iterator[Path]:
    if top.is_dir():
        yield from (Path(directory) for directory, _, _ in os.walk(top, topdown=False))


def _members(directory: Path) -> Iterable[int]:
    with suppress(OSError):  # removed meanwhile, or a threaded group
        return [int(pid) for pid in (directory / "cgroup.procs").read_text().split()]
    return ()


def _remove_cgroup(directory: Path) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise MachineError(f"control group {directory}: {error.strerror}") from error
    return True


def _kill_and_wait(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if ProcessIdentity.of(pid) is None:  # a zombie: dead already, its parent has to reap it
            return
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        wait_readable(pidfd, _END_SECONDS)
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)
