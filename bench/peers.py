# SPDX-License-Identifier: Apache-2.0
"""The peers of the measurement: how each is made ready, runs `true` once, and is cleared away.

Owns one class for each way of running (an API, a command) and the list of peers.
Timing and tables are `bench.one`'s.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bench.daemons import Daemon, private_dockerd, private_engine, remove_cgroups
from bench.rawhttp import BenchError, Connection

IMAGE = "benchroot:latest"
_PROGRAM = "/bin/true"
_RUN_SECONDS = 60
# podman raises these by itself, which it may not where root lacks CAP_SYS_RESOURCE
_LOW_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
_UNIFIED = "/sys/fs/cgroup/unified"


NETWORKS = ("none", "bridge", "port")


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What all peers share: the file system, as directory and as tar, and room to work in.

    Attributes:
        network: What containers get: nothing, a bridge, or a bridge and one published port.
    """

    rootfs: Path
    rootfs_tar: bytes
    work: Path
    network: str = "none"

    @property
    def has_network(self) -> bool:
        """Whether containers get one."""
        return self.network != "none"


class Peer(ABC):
    """One way to run a container, made ready once and measured many times."""

    name: ClassVar[str]
    program: ClassVar[str]

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.work = ground.work / self.name
        self.note = ""
        self.start_seconds: float | None = None  # of the last round's start request
        self.undo = ExitStack()

    @classmethod
    def is_installed(cls) -> bool:
        """Tell whether this machine has the peer."""
        return shutil.which(cls.program) is not None

    def open(self) -> None:
        """Make ready; what it made is undone by `close`, also after a failure."""
        self.work.mkdir()
        try:
            self.prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Undo everything."""
        self.undo.close()

    @abstractmethod
    def prepare(self) -> None:
        """Make ready for rounds."""

    @abstractmethod
    def round(self) -> float:
        """Run `true` to its end and return the seconds that it took."""


class ApiPeer(Peer):
    """An engine that speaks the Docker Engine API: create, start, wait; removing is not timed."""

    def prepare(self) -> None:
        daemon = self.start_daemon()
        self.connection = self.undo.enter_context(Connection(daemon.socket_path))
        import_image(self.connection, self.ground.rootfs_tar)

    @abstractmethod
    def start_daemon(self) -> Daemon:
        """Start a private engine, stopped by `close`."""

    def wish(self) -> dict[str, object]:
        """Return the create request of one container."""
        return container_wish(_PROGRAM, network=self.ground.network)

    def round(self) -> float:
        wanted = self.wish()
        began = time.perf_counter()
        container = self.connection.json("POST", "/containers/create", wanted)["Id"]
        asked = time.perf_counter()
        self.connection.send("POST", f"/containers/{container}/start")
        self.start_seconds = time.perf_counter() - asked
        status = self.connection.json("POST", f"/containers/{container}/wait")["StatusCode"]
        seconds = time.perf_counter() - began
        self.connection.send("DELETE", f"/containers/{container}")
        if status:
            raise BenchError(f"{_PROGRAM} ended with {status}")
        return seconds


class Ours(ApiPeer):
    """The toolkit's engine, an instance of its own."""

    name = "ours"
    program = "true"

    instance_name = "tkbench"

    def start_daemon(self) -> Daemon:
        network = self.ground.has_network
        return self.undo.enter_context(private_engine(self.instance_name, has_network=network))


class OursLxc(Ours):
    """The same engine, its containers run by LXC."""

    name = "ours-lxc"
    program = "lxc-start"
    instance_name = "tkbench-lxc"

    def wish(self) -> dict[str, object]:
        wanted = super().wish()
        host = wanted["HostConfig"]
        if not isinstance(host, dict):
            raise TypeError(host)
        return {**wanted, "HostConfig": {**host, "Runtime": "lxc"}}


class Dockerd(ApiPeer):
    """A docker daemon, private: own network and mount namespace, own directories."""

    name = "dockerd"
    program = "dockerd"

    def start_daemon(self) -> Daemon:
        network = self.ground.has_network
        return self.undo.enter_context(private_dockerd(self.work, has_network=network))


class CommandPeer(Peer):
    """A runtime whose one command runs a container to its end, without a network."""

    count = 0

    def open(self) -> None:
        """Make ready.

        Raises:
            BenchError: A network was asked for.
        """
        if self.ground.has_network:
            raise BenchError("measured without a network only")
        super().open()

    @abstractmethod
    def command(self, name: str) -> list[str]:
        """Return the command that runs one container, called *name*."""

    def round(self) -> float:
        self.count += 1
        command = self.command(f"bench{self.count}")
        began = time.perf_counter()
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_RUN_SECONDS,
            check=False,
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            raise BenchError((done.stderr or done.stdout).decode(errors="replace").strip())
        return seconds


class Podman(CommandPeer):
    """`podman run --rm`, with storage of its own, through runc where that is installed."""

    name = "podman"
    program = "podman"

    def prepare(self) -> None:
        self.base = ["podman", "--root", str(self.work / "root"), "--cgroup-manager", "cgroupfs"]
        self.base += ["--runroot", str(self.work / "run"), "--events-backend", "none"]
        if shutil.which("runc"):
            self.base += ["--runtime", "runc"]
        archive = self.work / "rootfs.tar"
        archive.write_bytes(self.ground.rootfs_tar)
        self.undo.callback(remove_cgroups, "libpod_parent")
        self.undo.callback(unmount_below, self.work)  # podman mounts its root on itself
        checked([*self.base, "import", str(archive), IMAGE])

    def command(self, name: str) -> list[str]:
        options = ["--rm", "--network", "none", *_LOW_LIMITS, "--name", name]
        return [*self.base, "run", *options, IMAGE, _PROGRAM]


class OciPeer(CommandPeer):
    """A runtime of OCI bundles: same file system, the runtime's own default document."""

    def prepare(self) -> None:
        checked([*self.base(), "spec"], directory=self.work)
        document: dict[str, Any] = json.loads((self.work / "config.json").read_text())
        document["process"] |= {"terminal": False, "args": [_PROGRAM]}
        document["root"] = {"path": str(self.ground.rootfs), "readonly": False}
        (self.work / "config.json").write_text(json.dumps(document))

    def base(self) -> list[str]:
        """Return the command before its verb."""
        return [self.program, "--root", str(self.work / "state")]

    def command(self, name: str) -> list[str]:
        return [*self.base(), "run", "--bundle", str(self.work), name]


class Runc(OciPeer):
    """`runc run`: no overlay, loopback only."""

    name = "runc"
    program = "runc"


class Crun(OciPeer):
    """`crun run` with the same bundle.

    crun refuses a machine with controllers on v1 and on v2; there it runs in a mount
    namespace that does not show the v2 hierarchy, entered for each round.
    """

    name = "crun"
    program = "crun"
    entrance: tuple[str, ...] = ()

    def prepare(self) -> None:
        super().prepare()
        try:
            self.round()
        except BenchError:
            self.entrance = self._hide_unified()
            self.note = "through nsenter: crun refuses this machine's mixed control groups"

    def base(self) -> list[str]:
        base = ["crun", "--root", str(self.work / "state"), "--cgroup-manager", "cgroupfs"]
        return [*self.entrance, *base]

    def _hide_unified(self) -> tuple[str, ...]:
        """Keep a mount namespace without the v2 hierarchy; return the command that enters it."""
        keeper = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", f"umount {_UNIFIED} && echo ready && exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.undo.enter_context(keeper)  # its end closes the pipes, and cat ends with them
        if keeper.stdout is None or keeper.stdout.readline() != b"ready\n":
            raise BenchError(f"{_UNIFIED} cannot be hidden from crun")
        return ("nsenter", f"--mount=/proc/{keeper.pid}/ns/mnt")


class Lxc(CommandPeer):
    """`lxc-execute`, with an empty network namespace."""

    name = "lxc"
    program = "lxc-execute"

    def prepare(self) -> None:
        self.undo.callback(remove_cgroups, "lxc.pivot")
        lines = (f"lxc.rootfs.path = dir:{self.ground.rootfs}", "lxc.net.0.type = empty")
        (self.work / "config").write_text("\n".join((*lines, "lxc.mount.auto = proc sys", "")))

    def command(self, name: str) -> list[str]:
        base = ["lxc-execute", "-P", str(self.work), "-n", name, "-f", str(self.work / "config")]
        return [*base, "--", _PROGRAM]


PEERS: tuple[type[Peer], ...] = (Ours, OursLxc, Dockerd, Podman, Runc, Crun, Lxc)


def container_wish(*command: str, network: str = "none") -> dict[str, Any]:
    """Return the body of a create request, with one of `NETWORKS` and no log to speak of."""
    host: dict[str, Any] = {"NetworkMode": "none" if network == "none" else "bridge"}
    wish = {"Image": IMAGE, "Cmd": list(command), "HostConfig": host}
    if network == "port":
        host["PortBindings"] = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
        wish["ExposedPorts"] = {"80/tcp": {}}
    return wish


def import_image(connection: Connection, rootfs_tar: bytes) -> None:
    """Give an engine the common file system as an image."""
    repository, _, tag = IMAGE.partition(":")
    path = f"/images/create?fromSrc=-&repo={repository}&tag={tag}"
    answer = connection.send("POST", path, rootfs_tar, kind="application/x-tar")
    if b'"error"' in answer:
        raise BenchError(answer.decode(errors="replace").strip())


def unmount_below(directory: Path) -> None:
    """Unmount everything at or below a directory, newest first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed([point for point in points if Path(point).is_relative_to(directory)]):
        checked(["umount", point])


def checked(command: list[str], *, directory: Path | None = None) -> None:
    """Run a command of the preparation, which has to end well.

    Raises:
        BenchError: It did not.
    """
    done = subprocess.run(
        command, capture_output=True, timeout=_RUN_SECONDS, check=False, cwd=directory
    )
    if done.returncode:
        raise BenchError(done.stderr.decode(errors="replace").strip() or f"{command[0]} failed")
