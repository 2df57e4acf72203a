# SPDX-License-Identifier: Apache-2.0
"""A tree of many files as a layer, beside GNU tar that unpacks it and sha256sum that reads it.

Both end with what they wrote on disk (syncfs). Ours also keeps what it takes to
make the archive again, byte for byte.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report import machine_facts, write_report
from toolkit.storage.layers import LayerStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MEAN_BYTES = 10_000
_MOST = 1.3  # times GNU tar's time
_DIRECTORIES = 1000


def main() -> int:
    """Measure, print, write; return 0 if ours takes at most as much more as is promised."""
    options = _options()
    if os.geteuid() != 0:
        print("bench: run as root", file=sys.stderr)
        return 1
    rounds, files = (3, 3000) if options.quick else (options.rounds, options.files)
    with tempfile.TemporaryDirectory(prefix="tkunpack-", dir=options.dir) as work:
        archive = _make_archive(Path(work), files)
        size = archive.stat().st_size
        peers: dict[str, Callable[[Path, Path], None]] = {"tar+sha256sum": _by_tar, "ours": _by_us}
        seconds = _measure(peers, archive, Path(work), rounds)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratio = medians["ours"] / medians["tar+sha256sum"]
    print(f"{files} files, {size / 1e6:.0f} MB, {rounds} rounds")
    for name, median in medians.items():
        print(f"{name:<16}{median:>8.2f} s  (least {min(seconds[name]):.2f})")
    print(f"ours takes {ratio:.2f} times as long; at most {_MOST} is promised")
    facts = {"files": files, "bytes": size, "seconds": seconds, "ratio": ratio}
    print(f"report: {write_report('bench-unpack', facts | machine_facts())}")
    return 0 if ratio <= _MOST else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.unpack", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--files", type=int, default=30_000)
    parser.add_argument("--dir", default=None, help="where to unpack; the temporary directory")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 3,000 files")
    return parser.parse_args()


def _make_archive(work: Path, files: int) -> Path:
    """Return a tar, made by GNU tar, of files of many sizes; the same every time."""
    source = random.Random(1)  # noqa: S311 - no secret
    content = source.randbytes(1024 * 1024)
    tree = work / "tree"
    for number in range(files):
        directory = tree / f"usr/{number % 40}/{number // 40 % (_DIRECTORIES // 40)}"
        if number < _DIRECTORIES:
            directory.mkdir(parents=True, exist_ok=True)
        size = min(int(source.expovariate(1 / _MEAN_BYTES)), len(content) // 2)
        start = source.randrange(len(content) // 2)
        (directory / f"f{number}").write_bytes(content[start : start + size])
    archive = work / "tree.tar"
    subprocess.run(["tar", "-C", str(tree), "-cf", str(archive), "."], check=True)
    shutil.rmtree(tree)
    return archive


def _measure(
    peers: dict[str, Callable[[Path, Path], None]], archive: Path, work: Path, rounds: int
) -> dict[str, Sequence[float]]:
    """Let each peer unpack once a round, in turns, so that what else goes on hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    for number in range(rounds):
        order = list(peers) if number % 2 else list(reversed(peers))
        for name in order:
            room = work / "room"
            room.mkdir()
            os.sync()
            began = time.perf_counter()
            peers[name](archive, room)
            seconds[name].append(time.perf_counter() - began)
            shutil.rmtree(room)
    return {name: tuple(times) for name, times in seconds.items()}


def _by_tar(archive: Path, room: Path) -> None:
    subprocess.run(["tar", "-C", str(room), "-xf", str(archive)], check=True)
    subprocess.run(["sha256sum", str(archive)], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["sync", "-f", str(room)], check=True)


def _by_us(archive: Path, room: Path) -> None:
    with archive.open("rb") as stream:
        LayerStore(room).unpack(stream, None)


if __name__ == "__main__":
    sys.exit(main())
