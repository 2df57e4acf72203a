# SPDX-License-Identifier: Apache-2.0
"""The provisioning scripts with other people's programs played by small ones."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from toolkit.vm.settings import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="they run on Linux")

# downloads only what is in the archive's lists, which an update brings
APT_GET = """#!/bin/sh
echo "apt-get $*" >>"$LOG"
[ "$1" = download ] || { [ -z "$OFFLINE" ] && touch "$LOG.lists"; exit; }
[ -f "$LOG.lists" ] && [ "$3" = docker.io ] || exit 100
touch "$3_20_amd64.deb"
"""
DPKG_DEB = """#!/bin/sh
mkdir -p "$3/usr/bin" && touch "$3/usr/bin/docker" && chmod +x "$3/usr/bin/docker"
"""
INSTALL = """#!/bin/sh
echo "install $*" >>"$LOG"
"""


def run_docker_client(directory: Path, **environ: str) -> tuple[list[str], str]:
    """Run the script without a docker on its path; return what it did and what it said."""
    programs = directory / "bin"
    programs.mkdir()
    for name in ("dirname", "mktemp", "rm", "tail", "touch", "mkdir", "chmod", "cat"):
        (programs / name).symlink_to(str(shutil.which(name)))
    for name, text in (("apt-get", APT_GET), ("dpkg-deb", DPKG_DEB), ("install", INSTALL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    log = directory / "log"
    log.touch()
    script = REPOSITORY / "vagrant" / "provision" / "docker-client.sh"
    done = subprocess.run(
        ["/bin/sh", str(script)],
        env={"PATH": str(programs), "LOG": str(log), "TMPDIR": str(directory), **environ},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return log.read_text().splitlines(), done.stdout


INSTALLED = "install tree/usr/bin/docker /usr/local/bin/docker"


def test_docker_client_is_had_where_the_lists_have_to_be_fetched_first(tmp_path: Path) -> None:
    did, said = run_docker_client(tmp_path, OFFLINE="")
    assert "apt-get update -q" in did
    assert did[-1] == INSTALLED
    assert said == "changed: /usr/local/bin/docker\n"


def test_docker_client_is_taken_from_a_package_that_was_brought(tmp_path: Path) -> None:
    brought = tmp_path / "brought"
    brought.mkdir()
    (brought / "docker.io_20_amd64.deb").touch()
    did, _ = run_docker_client(tmp_path, OFFLINE="1", TOOLKIT_PACKAGES=str(brought))
    assert did == [INSTALLED]


def test_docker_client_may_be_missing_where_nothing_can_be_fetched(tmp_path: Path) -> None:
    did, said = run_docker_client(tmp_path, OFFLINE="1")
    assert "install" not in " ".join(did)
    assert "its tests will be skipped" in said


def test_docker_client_leaves_somebodys_own_machine_alone(tmp_path: Path) -> None:
    assert run_docker_client(tmp_path, TOOLKIT_PROVISION="here") == ([], "")


def test_docker_client_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    run_docker_client(tmp_path, OFFLINE="")
    assert not list(tmp_path.glob("tmp.*"))
