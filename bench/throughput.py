# SPDX-License-Identifier: Apache-2.0
"""TCP throughput beside docker's daemon: between two containers, and through a published port.

Both engines run at once, each in a network namespace of its own with a neighbour
on its link, and are measured in turns, so that both meet the same moments.
iperf3 is this machine's own, put into the image with the libraries it needs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyroute2 import NetNS, netns

from bench.daemons import Daemon, private_dockerd, private_engine
from bench.peers import container_wish, import_image
from bench.rawhttp import BenchError, Connection
from bench.report import machine_facts, write_report
from bench.rootfs import make_rootfs, pack
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from collections.abc import Iterator

PATHS = ("containers", "published")
PEERS = ("ours", "dockerd")
_PORT = 5201
_IPERF = "/usr/bin/iperf3"
_LIBRARY = re.compile(r"(/\S+) \(0x")
_NEEDED_RATIO = 0.95


@dataclass
class Side:
    """One engine with its server, and what was seen of it, in Gbit/s by path."""

    name: str
    connection: Connection
    server_address: str
    neighbour: str
    host_address: str
    seen: dict[str, list[float]] = field(default_factory=lambda: {path: [] for path in PATHS})

    def measure(self, path: str, seconds: int) -> float:
        """Return the Gbit/s that arrive on a path."""
        if path == "containers":
            return _received(self._run_client(seconds))
        command = ["nsenter", f"--net={netns.NETNS_RUN_DIR}/{self.neighbour}"]
        command += [*_client(self.host_address, seconds)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=seconds + 30)
        return _received(done.stdout)

    def _run_client(self, seconds: int) -> bytes:
        wish = container_wish(*_client(self.server_address, seconds), network="bridge")
        wish["Tty"] = True  # so that the log is the text alone
        made = self.connection.json("POST", "/containers/create", wish)["Id"]
        self.connection.send("POST", f"/containers/{made}/start")
        self.connection.json("POST", f"/containers/{made}/wait")
        written = self.connection.send("GET", f"/containers/{made}/logs?stdout=1")
        self.connection.send("DELETE", f"/containers/{made}")
        return written


def main() -> int:
    """Measure, print, write; return 0 if no path is slower than it may be."""
    options = _options()
    if os.geteuid() != 0:
        print("bench: run as root", file=sys.stderr)
        return 1
    missing = [name for name in ("iperf3", "dockerd") if shutil.which(name) is None]
    if missing:
        print(f"bench: not installed: {', '.join(missing)}", file=sys.stderr)
        return 1
    try:
        sides = _measured(options.rounds, options.seconds)
    except (BenchError, ToolkitError, OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    ratios = {path: _ratio(sides, path) for path in PATHS}
    _print_table(sides, ratios)
    peers = {side.name: side.seen for side in sides}
    facts = {"rounds": options.rounds, "gbit_per_second": peers, "ratios": ratios}
    print(f"report: {write_report('bench-throughput', facts | machine_facts())}")
    return 0 if min(ratios.values()) >= _NEEDED_RATIO else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.throughput", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    return parser.parse_args()


def _measured(rounds: int, seconds: int) -> list[Side]:
    with ExitStack() as undo:
        work = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="tkflow-")))
        rootfs_tar = pack(_with_iperf(make_rootfs(work / "rootfs")))
        (work / "dockerd").mkdir()
        daemons = {
            "ours": undo.enter_context(private_engine("tkflow", has_network=True)),
            "dockerd": undo.enter_context(private_dockerd(work / "dockerd", has_network=True)),
        }
        sides = [
            undo.enter_context(_side(name, daemons[name], number, rootfs_tar))
            for number, name in enumerate(PEERS)
        ]
        for _ in range(rounds):
            for path in PATHS:
                for side in sides:
                    side.seen[path].append(side.measure(path, seconds))
    return sides


@contextmanager
def _side(name: str, daemon: Daemon, number: int, rootfs_tar: bytes) -> Iterator[Side]:
    """Give an engine its neighbour and a server that is published."""
    with ExitStack() as undo:
        connection = undo.enter_context(Connection(daemon.socket_path))
        import_image(connection, rootfs_tar)
        neighbour, host_address = f"tkflow-{name}", f"10.98.{number}.1"
        with suppress(OSError):
            netns.remove(neighbour)
        netns.create(neighbour)
        undo.callback(netns.remove, neighbour)
        _join(neighbour, daemon.pid, f"10.98.{number}")
        wish: dict[str, Any] = container_wish(_IPERF, "-s", network="bridge")
        wish["ExposedPorts"] = {f"{_PORT}/tcp": {}}
        wish["HostConfig"]["PortBindings"] = {f"{_PORT}/tcp": [{"HostPort": str(_PORT)}]}
        server = connection.json("POST", "/containers/create", wish)["Id"]
        undo.callback(connection.send, "DELETE", f"/containers/{server}?force=1")
        connection.send("POST", f"/containers/{server}/start")
        networks = connection.json("GET", f"/containers/{server}/json")["NetworkSettings"]
        address = networks["Networks"]["bridge"]["IPAddress"]
        yield Side(name, connection, address, neighbour, host_address)


def _join(neighbour: str, engine_pid: int, network: str) -> None:
    """Make a cable between an engine's namespace and its neighbour's."""
    with NetNS(neighbour) as there, NetNS(f"/proc/{engine_pid}/ns/net", flags=0) as here:
        peer = {"ifname": "lan0", "net_ns_pid": engine_pid}
        there.link("add", ifname="eth0", kind="veth", peer=peer)
        for side, name, host in ((here, "lan0", 1), (there, "eth0", 2)):
            [index] = side.link_lookup(ifname=name)
            side.addr("add", index=index, address=f"{network}.{host}", prefixlen=24)
            side.link("set", index=index, state="up")


def _with_iperf(rootfs: Path) -> Path:
    listed = subprocess.run(["ldd", _IPERF], capture_output=True, text=True, check=True).stdout
    for path in (_IPERF, *_LIBRARY.findall(listed)):
        target = rootfs / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return rootfs


def _client(address: str, seconds: int) -> list[str]:
    return [_IPERF, "--json", "-c", address, "-p", str(_PORT), "-t", str(seconds)]


def _received(written: bytes) -> float:
    """Return the Gbit/s of iperf3's report.

    Raises:
        BenchError: It reports something else.
    """
    try:
        report: dict[str, Any] = json.loads(written[written.index(b"{") :])
        return float(report["end"]["sum_received"]["bits_per_second"]) / 1e9
    except (ValueError, KeyError) as error:
        raise BenchError(f"iperf3: {written[-200:]!r}") from error


def _ratio(sides: list[Side], path: str) -> float:
    ours, other = (statistics.median(side.seen[path]) for side in sides)
    return ours / other


def _print_table(sides: list[Side], ratios: dict[str, float]) -> None:
    print(f"{'Gbit/s, median':<16}" + "".join(f"{side.name:>10}" for side in sides) + "     ratio")
    for path in PATHS:
        medians = "".join(f"{statistics.median(side.seen[path]):>10.2f}" for side in sides)
        print(f"{path:<16}{medians}{ratios[path]:>10.2f}")


if __name__ == "__main__":
    sys.exit(main())
