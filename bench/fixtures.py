# SPDX-License-Identifier: Apache-2.0
"""The fixtures beside testcontainers on dockerd: time of a test that needs one container.

The work is the same: start a web server, wait until its port listens, ask it once,
remove it. Both engines have network namespaces of their own, in which the tests
run. The peers take turns, a part of the tests each, so both meet the same moments.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.daemons import Daemon, private_dockerd, private_engine
from bench.report import machine_facts, write_report
from bench.suites.work import IMAGE
from toolkit.bootstrap import bootstrap_image
from toolkit.client import Client

_SUITES = Path(__file__).parent / "suites"
_SOURCE = Path(__file__).parent.parent


@dataclass
class Peer:
    """One way to have containers in tests, and what was seen of it.

    Attributes:
        seconds: Of each test.
        wall_seconds: Of the whole runs of pytest.
        absence: Why there is nothing.
    """

    name: str
    suite: str
    seconds: list[float] = field(default_factory=list)
    wall_seconds: float = 0.0
    absence: str = ""

    @property
    def median_ms(self) -> float:
        """The test in the middle."""
        return statistics.median(self.seconds) * 1000


def run_suite(peer: Peer, daemon: Daemon, *, tests: int, workers: int, notes: Path) -> None:
    """Run a part of the tests inside the engine's network namespace."""
    host = f"unix://{daemon.socket_path}"
    environ = {
        **os.environ,
        "BENCH_NOTES": str(notes),
        "BENCH_TESTS": str(tests),
        "DOCKER_HOST": host,
        "PYTHONPATH": str(_SOURCE),
        "TESTCONTAINERS_RYUK_DISABLED": "true",  # its reaper's image is not here: a head start
    }
    pytest = [sys.executable, "-m", "pytest", "-q", "-n", str(workers), "-p", "no:cacheprovider"]
    inside = ["nsenter", f"--net=/proc/{daemon.pid}/ns/net", "--"]
    began = time.perf_counter()
    done = subprocess.run(
        [*inside, *pytest, "-W", "ignore", str(_SUITES / peer.suite)],
        env=environ,
        cwd=_SOURCE,
        capture_output=True,
        text=True,
        check=False,
    )
    peer.wall_seconds += time.perf_counter() - began
    if done.returncode:
        peer.absence = (done.stdout + done.stderr).strip()[-2000:]


def collect(peer: Peer, notes: Path) -> None:
    """Read what the tests have noted."""
    for path in notes.glob(f"{peer.name}-*.jsonl"):
        for line in path.read_text().splitlines():
            peer.seconds.append(float(json.loads(line)["seconds"]))


def measure(*, tests: int, rounds: int, workers: int) -> list[Peer]:
    """Run both peers in turns."""
    peers = {"ours": Peer("ours", "test_ours.py")}
    peers["testcontainers"] = Peer("testcontainers", "test_testcontainers.py")
    with ExitStack() as undo:
        work = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="tkbench-")))
        daemons = {"ours": undo.enter_context(private_engine("tkbfix", has_network=True))}
        if shutil.which("dockerd") is None:
            peers["testcontainers"].absence = "no dockerd here"
        elif importlib.util.find_spec("testcontainers") is None:
            peers["testcontainers"].absence = "pip install testcontainers"
        else:
            daemons["testcontainers"] = undo.enter_context(private_dockerd(work, has_network=True))
        for daemon in daemons.values():
            with Client(f"unix://{daemon.socket_path}") as client:
                bootstrap_image(client, "busybox", reference=f"{IMAGE}:latest")
        for _ in range(rounds):
            for name, daemon in daemons.items():
                if not peers[name].absence:
                    part = tests // rounds
                    run_suite(peers[name], daemon, tests=part, workers=workers, notes=work)
        for peer in peers.values():
            collect(peer, work)
    return list(peers.values())


def show(peers: list[Peer]) -> None:
    """Print a table."""
    print(f"{'':16}{'tests':>6}{'median ms':>11}{'p90 ms':>9}{'wall s':>8}")
    for peer in peers:
        if not peer.seconds:
            print(f"{peer.name:16}{peer.absence}")
            continue
        p90 = statistics.quantiles(peer.seconds, n=10)[-1] * 1000
        print(
            f"{peer.name:16}{len(peer.seconds):6}{peer.median_ms:11.1f}{p90:9.1f}"
            f"{peer.wall_seconds:8.1f}"
        )
    if all(peer.seconds for peer in peers):
        ours, other = peers
        print(f"{other.name} takes {other.median_ms / ours.median_ms:.1f} times as long")


def main() -> int:
    """Measure, print, and write a report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    peers = measure(tests=options.tests, rounds=options.rounds, workers=options.workers)
    show(peers)
    facts = machine_facts() | {
        "workers": options.workers,
        "peers": {
            peer.name: {"seconds": peer.seconds, "wall_seconds": peer.wall_seconds}
            for peer in peers
        },
    }
    print(write_report("fixtures", facts))
    return 1 if peers[0].absence else 0


if __name__ == "__main__":
    sys.exit(main())
