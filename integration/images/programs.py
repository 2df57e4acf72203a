# SPDX-License-Identifier: Apache-2.0
"""Other people's programs that images go to and come from, each on a storage of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.pace import SLOWNESS

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS = 90 * SLOWNESS


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """Run a command to its good end; return what it says."""
    done = subprocess.run(
        command, capture_output=True, timeout=_SECONDS, check=False, env=env, text=True
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def program(name: str) -> str:
    """Return where a program is; skip the test where it is not."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


@dataclass(frozen=True)
class Podman:
    """podman's command; its path may have 50 characters."""

    base_dir: Path

    def __call__(self, *arguments: str) -> str:
        return run(
            program("podman"), "--root", f"{self.base_dir}/root", "--runroot",
            f"{self.base_dir}/run", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
            *arguments,
        )  # fmt: skip

    def close(self) -> None:
        """Remove its images, and the mounts that it left."""
        self("rmi", "--all", "--force")
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if (place := line.split()[1]).startswith(f"{self.base_dir}/"):
                run("umount", place)


@dataclass(frozen=True)
class Docker:
    """docker's command against a daemon of docker's own that knows nothing else."""

    base_dir: Path

    @property
    def environ(self) -> dict[str, str]:
        own = {"DOCKER_HOST": f"unix://{self.base_dir}/s", "DOCKER_CONFIG": str(self.base_dir)}
        return {**os.environ, **own}

    def __call__(self, *arguments: str) -> str:
        return run(program("docker"), *arguments, env=self.environ)

    def tree_of(self, chain_id: str) -> Path:
        """Return where the driver vfs keeps the tree of a stack of layers."""
        name = chain_id.removeprefix("sha256:")
        layer_dir = self.base_dir / "data/image/vfs/layerdb/sha256" / name
        return self.base_dir / "data/vfs/dir" / (layer_dir / "cache-id").read_text()


@contextmanager
def running_docker(base_dir: Path) -> Iterator[Docker]:
    """Have docker's daemon for the block; skip the test where it does not run."""
    daemon, docker = program("dockerd"), Docker(base_dir)
    with (base_dir / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                # Its data directory becomes a mount, which nobody else should see.
                "unshare", "--mount", "--propagation", "private",
                daemon, "--host", f"unix://{base_dir}/s", "--data-root", str(base_dir / "data"),
                "--exec-root", str(base_dir / "exec"), "--pidfile", str(base_dir / "pid"),
                "--bridge", "none", "--iptables=false", "--ip6tables=false",
                "--storage-driver", "vfs",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        _wait_for(docker, process)
        yield docker
    finally:
        process.terminate()
        process.wait(30 * SLOWNESS)
        for path in (base_dir / "exec/netns").glob("*"):
            subprocess.run(["umount", str(path)], check=False, capture_output=True)


def _wait_for(docker: Docker, process: subprocess.Popen[bytes]) -> None:
    log = docker.base_dir / "log"
    for _ in range(200):
        asked = subprocess.run(
            [program("docker"), "version"], env=docker.environ, capture_output=True, check=False
        )
        if asked.returncode == 0:
            return
        if process.poll() is not None:
            pytest.skip(f"dockerd does not run here: {log.read_text()[-300:]}")
    pytest.fail(log.read_text()[-2000:])
