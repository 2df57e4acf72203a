# SPDX-License-Identifier: Apache-2.0
"""Many containers at once: all run, all stop, beside docker's daemon in the same run.

Starts them some at a time, asks how many run, weighs the process that holds
each, and stops them the same way.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.daemons import Daemon, private_dockerd, private_engine
from bench.peers import container_wish, import_image
from bench.rawhttp import BenchError, Connection
from bench.report import machine_facts, write_report
from bench.rootfs import make_rootfs, pack
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PEERS = ("ours", "dockerd")


@dataclass(frozen=True, kw_only=True)
class Storm:
    """What was seen of one engine.

    Attributes:
        holder_private_kib: Median private memory of the process that holds a container.
        engine_private_kib: The engine's own, while all run.
    """

    start_seconds: float
    running: int
    stop_seconds: float
    still_running: int
    holder_private_kib: float
    engine_private_kib: float


def main() -> int:
    """Measure, print, write; return 0 if all ran and all stopped."""
    options = _options()
    if os.geteuid() != 0:
        print("bench: run as root", file=sys.stderr)
        return 1
    wanted = [name for name in options.peers.split(",") if name in _PEERS]
    count = 20 if options.quick else options.count
    storms: dict[str, Storm | str] = {}
    with tempfile.TemporaryDirectory(prefix="tkmany-") as work:
        rootfs_tar = pack(make_rootfs(Path(work) / "rootfs"))
        for name in wanted:
            storms[name] = _measured(name, Path(work), rootfs_tar, count, options.parallel)
    _print_table(storms, count, options.parallel)
    peers = {name: seen if isinstance(seen, str) else asdict(seen) for name, seen in storms.items()}
    facts = {"count": count, "parallel": options.parallel, "peers": peers}
    print(f"report: {write_report('bench-many', facts | machine_facts())}")
    ours = storms.get("ours")
    return 0 if ours is None or _is_complete(ours, count) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.many", description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--parallel", type=int, default=16)
    parser.add_argument("--peers", default=",".join(_PEERS))
    parser.add_argument("--quick", action="store_true", help="twenty containers")
    return parser.parse_args()


def _is_complete(seen: Storm | str, count: int) -> bool:
    return isinstance(seen, Storm) and seen.running == count and seen.still_running == 0


def _measured(name: str, work: Path, rootfs_tar: bytes, count: int, parallel: int) -> Storm | str:
    if name == "dockerd" and shutil.which("dockerd") is None:
        return "not installed"
    room = work / name
    room.mkdir()
    daemon: AbstractContextManager[Daemon] = (
        private_engine() if name == "ours" else private_dockerd(room)
    )
    try:
        with daemon as running:
            return _storm(running, rootfs_tar, count, parallel)
    except (BenchError, ToolkitError, OSError) as error:
        return f"failed: {error}"


def _storm(daemon: Daemon, rootfs_tar: bytes, count: int, parallel: int) -> Storm:
    with ExitStack() as undo:
        lines = [undo.enter_context(Connection(daemon.socket_path)) for _ in range(parallel)]
        import_image(lines[0], rootfs_tar)
        began = time.perf_counter()
        containers = _spread(lines, _start, [""] * count)
        start_seconds = time.perf_counter() - began
        running = _count_running(lines[0])
        holders = [_holder_private_kib(lines[0], container) for container in containers]
        engine_private_kib = private_kib(daemon.pid)
        began = time.perf_counter()
        _spread(lines, _stop, containers)
        stop_seconds = time.perf_counter() - began
        still_running = _count_running(lines[0])
        _spread(lines, _remove, containers)
    return Storm(
        start_seconds=start_seconds,
        running=running,
        stop_seconds=stop_seconds,
        still_running=still_running,
        holder_private_kib=statistics.median(holders),
        engine_private_kib=engine_private_kib,
    )


def _spread(
    lines: Sequence[Connection], act: Callable[[Connection, str], str], containers: Sequence[str]
) -> list[str]:
    """Do one act for each container, as many at once as there are connections."""

    def share(number: int) -> list[str]:
        return [act(lines[number], container) for container in containers[number :: len(lines)]]

    with ThreadPoolExecutor(len(lines)) as pool:
        return [done for part in pool.map(share, range(len(lines))) for done in part]


def _start(connection: Connection, _: str) -> str:
    wanted = container_wish("/bin/sleep", "3600")
    container = str(connection.json("POST", "/containers/create", wanted)["Id"])
    connection.send("POST", f"/containers/{container}/start")
    return container


def _stop(connection: Connection, container: str) -> str:
    connection.send("POST", f"/containers/{container}/stop?t=0")
    return container


def _remove(connection: Connection, container: str) -> str:
    connection.send("DELETE", f"/containers/{container}")
    return container


def _count_running(connection: Connection) -> int:
    return len(connection.json("GET", "/containers/json"))


def _holder_private_kib(connection: Connection, container: str) -> int:
    """Return the private memory of the parent of a container's first process: its shim."""
    pid = connection.json("GET", f"/containers/{container}/json")["State"]["Pid"]
    stat = Path(f"/proc/{pid}/stat").read_text()
    return private_kib(int(stat.rpartition(")")[2].split()[1]))


def private_kib(pid: int) -> int:
    """Return the memory that a process shares with no other, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def _print_table(storms: dict[str, Storm | str], count: int, parallel: int) -> None:
    print(f"{count} containers, {parallel} at a time")
    print(
        f"{'peer':<10}{'start s':>9}{'run':>6}{'stop s':>9}{'left':>6}{'shim KiB':>10}{'engine':>9}"
    )
    for name, seen in storms.items():
        if isinstance(seen, str):
            print(f"{name:<10}{seen}")
            continue
        print(
            f"{name:<10}{seen.start_seconds:>9.2f}{seen.running:>6}{seen.stop_seconds:>9.2f}"
            f"{seen.still_running:>6}{seen.holder_private_kib:>10.0f}{seen.engine_private_kib:>9.0f}"
        )


if __name__ == "__main__":
    sys.exit(main())
