# SPDX-License-Identifier: Apache-2.0
"""Start to exit of `true`, one container at a time, round by round beside the peers.

Round by round, because a machine's pace changes: each peer runs once in every
round, so all meet the same moments. A rest comes before each run: what an engine
does after its answer, and what one peer's run makes cheaper for the next (the
kernel's grace period for moving a process to a control group), count for none.
Prints a table and writes a report.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.peers import NETWORKS, PEERS, Ground, Peer
from bench.rawhttp import BenchError
from bench.report import machine_facts, write_report
from bench.rootfs import make_rootfs, pack
from toolkit.errors import ToolkitError

_WARM_UP_ROUNDS = 2
_REST_SECONDS = 0.2


@dataclass
class Row:
    """What was seen of one peer: seconds of each round, or why there are none.

    Attributes:
        start_seconds: Of the start requests alone, where there is an API.
    """

    name: str
    seconds: list[float] = field(default_factory=list)
    start_seconds: list[float] = field(default_factory=list)
    absence: str = ""
    note: str = ""

    @property
    def minimum_ms(self) -> float:
        """The quickest round."""
        return min(self.seconds) * 1000

    @property
    def median_ms(self) -> float:
        """The round in the middle."""
        return statistics.median(self.seconds) * 1000

    @property
    def start_median_ms(self) -> float:
        """The start request in the middle."""
        return statistics.median(self.start_seconds) * 1000


def main() -> int:
    """Measure, print, write; return 0 if our own figure is among them."""
    options = _options()
    if os.geteuid() != 0:
        print("bench: run as root", file=sys.stderr)
        return 1
    wanted = options.peers.split(",") if options.peers else [peer.name for peer in PEERS]
    rounds = 3 if options.quick else options.rounds
    with tempfile.TemporaryDirectory(prefix="tkbench-") as work:
        rows = _measure(wanted, rounds, Path(work), options.network)
    print_table(rows)
    name = "bench-one" if options.network == "none" else f"bench-one-{options.network}"
    facts = {
        "rounds": rounds,
        "network": options.network,
        "peers": {row.name: _figures(row) for row in rows},
    }
    print(f"report: {write_report(name, facts | machine_facts())}")
    return (
        0
        if any(row.name == "ours" and row.seconds for row in rows) or ("ours" not in wanted)
        else 1
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.one", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peers", default="", help="only these, separated by commas")
    parser.add_argument("--network", choices=NETWORKS, default="none")
    parser.add_argument("--quick", action="store_true", help="three rounds")
    return parser.parse_args()


def _measure(wanted: list[str], rounds: int, work: Path, network: str) -> list[Row]:
    rootfs = make_rootfs(work / "rootfs")
    work.chmod(0o755)
    ground = Ground(rootfs=rootfs, rootfs_tar=pack(rootfs), work=work, network=network)
    rows = {peer.name: Row(peer.name) for peer in PEERS if peer.name in wanted}
    with ExitStack() as undo:
        ready = []
        for kind in PEERS:
            if kind.name in rows and (peer := _opened(kind, ground, rows[kind.name])):
                undo.callback(peer.close)
                ready.append(peer)
        for number in range(_WARM_UP_ROUNDS + rounds):
            _run_round(ready, rows, keep=number >= _WARM_UP_ROUNDS)
    return list(rows.values())


def _opened(kind: type[Peer], ground: Ground, row: Row) -> Peer | None:
    if not kind.is_installed():
        row.absence = f"not installed ({kind.program})"
        return None
    peer = kind(ground)
    try:
        peer.open()
    except (BenchError, ToolkitError, OSError) as error:
        row.absence = f"not ready: {error}"
        return None
    row.note = peer.note
    return peer


def _run_round(ready: list[Peer], rows: dict[str, Row], *, keep: bool) -> None:
    """Run each peer once, in an order of chance: no peer always follows the same one."""
    for peer in random.sample(ready, len(ready)):
        time.sleep(_REST_SECONDS)
        try:
            seconds = peer.round()
        except (BenchError, OSError) as error:
            rows[peer.name].absence = f"failed: {error}"
            ready.remove(peer)
            continue
        if keep:
            rows[peer.name].seconds.append(seconds)
            if peer.start_seconds is not None:
                rows[peer.name].start_seconds.append(peer.start_seconds)


def print_table(rows: list[Row]) -> None:
    """Print what was seen, the quickest first, beside ours and beside lxc-execute."""
    ours = next((row for row in rows if row.name == "ours" and row.seconds), None)
    lxc = next((row for row in rows if row.name == "lxc" and row.seconds), None)
    print(
        f"{'peer':<10}{'min ms':>10}{'median ms':>12}{'x ours':>9}{'x lxc':>9}{'start ms':>10}"
        f"{'x lxc':>9}   start to exit of true; start: the request alone"
    )
    for row in sorted(rows, key=lambda row: row.median_ms if row.seconds else float("inf")):
        if not row.seconds or row.absence:
            print(f"{row.name:<10}{'-':>10}   {row.absence}")
            continue
        text = f"{row.name:<10}{row.minimum_ms:>10.1f}{row.median_ms:>12.1f}"
        text += _ratio(row.median_ms, ours) + _ratio(row.median_ms, lxc)
        if row.start_seconds:
            text += f"{row.start_median_ms:>10.1f}" + _ratio(row.start_median_ms, lxc)
        else:
            text += f"{'-':>10}{'-':>9}"
        print(f"{text}   {row.note}")


def _ratio(median_ms: float, other: Row | None) -> str:
    return f"{median_ms / other.median_ms:>9.2f}" if other else f"{'-':>9}"


def _figures(row: Row) -> dict[str, object]:
    if not row.seconds:
        return {"absence": row.absence}
    return {
        "minimum_ms": round(row.minimum_ms, 3),
        "median_ms": round(row.median_ms, 3),
        "start_median_ms": round(row.start_median_ms, 3) if row.start_seconds else None,
        "rounds_ms": [round(seconds * 1000, 3) for seconds in row.seconds],
        "absence": row.absence,
        "note": row.note,
    }


if __name__ == "__main__":
    sys.exit(main())
