# SPDX-License-Identifier: Apache-2.0
"""Engines that live as long as a measurement: ours, and docker's for comparison.

Owns starting each apart from everything on this machine, and leaving nothing.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.rawhttp import BenchError, Connection
from toolkit.config import Instance
from toolkit.vm.doctor import cgroup_mounts
from toolkit.vm.engine_process import EngineProcess
from toolkit.vm.leftovers import Leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTANCE_NAME = "tkbench"
_DOCKER_CGROUP = "tkbench-dockerd"
_WITH_LOOPBACK = ("sh", "-c", 'ip link set lo up; exec "$@"', "sh")
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A running engine."""

    socket_path: Path
    pid: int


@contextmanager
def private_engine(name: str = INSTANCE_NAME, *, has_network: bool = False) -> Iterator[Daemon]:
    """Run an engine of ours with an instance of its own.

    With a network its bridges and rules are in a network namespace of its own, too.
    """
    instance = Instance(name=name)
    engine = EngineProcess(instance)
    if engine.find() is not None:
        raise BenchError(f"an engine of instance {name} runs already: another bench?")
    try:
        identity = engine.start(_engine_command(name) if has_network else ())
        yield Daemon(socket_path=instance.socket_path, pid=identity.pid)
    finally:
        engine.stop()
        leftovers = Leftovers(instance)
        leftovers.end_processes()
        leftovers.remove(keep_data=False)


@contextmanager
def private_dockerd(work: Path, *, has_network: bool = False) -> Iterator[Daemon]:
    """Run a docker daemon in a network and a mount namespace of its own."""
    socket_path = work / "docker.sock"
    with (work / "dockerd.log").open("wb") as log:
        child = subprocess.Popen(
            _dockerd_command(work, socket_path, has_network=has_network),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_for_answer(child, socket_path, work / "dockerd.log")
        yield Daemon(socket_path=socket_path, pid=child.pid)
    finally:
        _stop(child)
        remove_cgroups(_DOCKER_CGROUP)
        shutil.rmtree(work / "data", ignore_errors=True)


def _engine_command(name: str) -> list[str]:
    ours = [sys.executable, "-m", "toolkit.cli.main", "engine", "--instance", name]
    return ["unshare", "--net", *_WITH_LOOPBACK, *ours]


def _dockerd_command(work: Path, socket_path: Path, *, has_network: bool) -> list[str]:
    command = ["unshare", "--net", "--mount", "--propagation", "private", *_WITH_LOOPBACK]
    command += ["dockerd"]
    command += ["--data-root", str(work / "data"), "--exec-root", str(work / "exec")]
    command += ["--pidfile", str(work / "dockerd.pid"), "--host", f"unix://{socket_path}"]
    command += ["--cgroup-parent", f"/{_DOCKER_CGROUP}"]
    if has_network:
        return [*command, "--bip=172.30.0.1/16"]
    command += ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]
    return [*command, "--ip-masq=false"]


def _wait_for_answer(child: subprocess.Popen[bytes], socket_path: Path, log_path: Path) -> None:
    """Wait until the daemon answers; it says so nowhere, so it has to be asked."""
    deadline = time.monotonic() + _START_SECONDS
    pidfd = os.pidfd_open(child.pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    try:
        while time.monotonic() < deadline:
            with suppress(OSError, BenchError), Connection(socket_path) as connection:
                connection.send("GET", "/_ping")
                return
            if poll.poll(100):
                break
    finally:
        os.close(pidfd)
    tail = log_path.read_text(errors="replace").splitlines()[-3:]
    raise BenchError("dockerd does not serve: " + " | ".join(tail))


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End the daemon; it ends its containerd, which is in its session."""
    child.terminate()
    try:
        child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def remove_cgroups(name: str) -> None:
    """Remove empty control groups of a name, with those below, from every hierarchy."""
    mountinfo = Path("/proc/self/mountinfo").read_text()
    for _, place, _ in cgroup_mounts(mountinfo):
        for directory, _, _ in os.walk(place / name, topdown=False):
            with suppress(OSError):
                Path(directory).rmdir()
