# SPDX-License-Identifier: Apache-2.0
"""cp, diff, export, commit, history, volumes and prune by docker's command line and by ours."""

from __future__ import annotations

import io
import tarfile
import uuid
from typing import TYPE_CHECKING

import pytest

from integration.images_volumes.asking import archive
from toolkit.testing import exited, log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.conftest import Run
    from toolkit.testing import RunContainer

BOTH = pytest.mark.parametrize("cli", ["docker_cli", "toolkit_cli"], indirect=True)
pytestmark = BOTH


@pytest.fixture
def cli(request: pytest.FixtureRequest) -> Run:
    run: Run = request.getfixturevalue(request.param)
    return run


@pytest.fixture
def container(run_container: RunContainer) -> str:
    """One with files, links and a directory; they are there when it is ready."""
    script = "mkdir -p /d/sub; echo one > /d/f; ln -s f /d/l; ln -s /d /to-d; echo ok; sleep 600"
    return run_container("busybox", ["sh", "-c", script], network="none", wait=log("^ok$")).id


def well(cli: Run, *words: str, given: bytes = b"") -> str:
    done = cli(*words, given=given)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_cp_out(cli: Run, container: str, tmp_path: Path) -> None:
    well(cli, "cp", f"{container}:/d", str(tmp_path))
    assert (tmp_path / "d/f").read_text() == "one\n"
    assert (tmp_path / "d/l").is_symlink()
    well(cli, "cp", f"{container}:/d", str(tmp_path / "other"))
    assert (tmp_path / "other/f").read_text() == "one\n"
    well(cli, "cp", f"{container}:/d/.", str(tmp_path / "other"))
    well(cli, "cp", f"{container}:/d/f", str(tmp_path / "renamed"))
    assert (tmp_path / "renamed").read_text() == "one\n"
    well(cli, "cp", "-L", f"{container}:/d/l", str(tmp_path / "followed"))
    assert (tmp_path / "followed").read_text() == "one\n"
    done = cli("cp", f"{container}:/d/f", "-")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert tar.getnames() == ["f"]


def test_cp_in(cli: Run, container: str, tmp_path: Path) -> None:
    (tmp_path / "new/deep").mkdir(parents=True)
    (tmp_path / "new/deep/file").write_text("two\n")
    well(cli, "cp", str(tmp_path / "new"), f"{container}:/d")
    well(cli, "cp", str(tmp_path / "new"), f"{container}:/d/renamed")
    well(cli, "cp", f"{tmp_path}/new/.", f"{container}:/d/sub")
    well(cli, "cp", str(tmp_path / "new/deep/file"), f"{container}:/d/f")
    well(cli, "cp", str(tmp_path / "new/deep/file"), f"{container}:/to-d/through")
    well(cli, "cp", "-", f"{container}:/d", given=archive(piped=b"three\n").getvalue())
    told = well(cli, "exec", container, "sh", "-c", "cd /d; find . -type f | sort; cat f piped")
    assert told.split() == [
        "./f", "./new/deep/file", "./piped", "./renamed/deep/file", "./sub/deep/file", "./through",
        "two", "three",
    ]  # fmt: skip


def test_cp_of_what_cannot_be(cli: Run, container: str, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    for words in (
        (f"{container}:/missing", str(tmp_path)),
        (str(tmp_path / "missing"), f"{container}:/d"),
        (str(tmp_path / "dir"), f"{container}:/d/f"),
        (str(tmp_path / "dir"), f"{container}:/no/such/place"),
        (str(tmp_path), "nobody-of-that-name:/"),
        (f"{container}:/d", f"{container}:/e"),
    ):
        done = cli("cp", *words)
        assert done.returncode == 1, words
        assert done.stderr


def test_diff_export_commit_and_history(cli: Run, container: str, tmp_path: Path) -> None:
    assert {"A /d", "A /d/f"} <= set(well(cli, "diff", container).splitlines())
    well(cli, "export", "-o", str(tmp_path / "out.tar"), container)
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert "./d/f" in tar.getnames()
    name = f"committed-{uuid.uuid4().hex[:8]}"
    image = well(cli, "commit", "-m", "why", "-c", "CMD cat /d/f", container, f"{name}:1").strip()
    try:
        assert image.startswith("sha256:")
        assert "why" in well(cli, "history", f"{name}:1").splitlines()[1]
        assert well(cli, "run", "--rm", "--network", "none", f"{name}:1") == "one\n"
    finally:
        well(cli, "rmi", "-f", f"{name}:1")


@pytest.fixture
def volume(cli: Run) -> Iterator[str]:
    name = f"by-hand-{uuid.uuid4().hex[:8]}"
    yield name
    cli("volume", "rm", "-f", name)


def test_volumes_by_hand(cli: Run, volume: str) -> None:
    assert well(cli, "volume", "create", "--label", "a=b", volume).strip() == volume
    assert volume in well(cli, "volume", "ls", "-q", "--filter", "label=a=b").split()
    assert (
        well(cli, "volume", "inspect", "-f", "{{.Name}} {{.Driver}}", volume).strip()
        == f"{volume} local"
    )
    mount = f"type=volume,source={volume},target=/v,volume-nocopy"
    run = ("run", "--rm", "--network", "none", "--mount", mount, "busybox", "sh", "-c")
    well(cli, *run, "echo x >> /v/f")
    assert well(cli, *run, "cat /v/f") == "x\n"
    assert well(cli, "volume", "prune", "-f").find(volume) < 0
    well(cli, "volume", "rm", volume)
    assert cli("volume", "inspect", volume).returncode == 1


def test_prune_takes_what_nobody_uses(cli: Run, run_container: RunContainer) -> None:
    stopped = run_container("busybox", "true", network="none", wait=exited())
    running = run_container("busybox", "sleep 600", network="none")
    told = well(cli, "container", "prune", "-f")
    assert stopped.id in told
    assert running.id not in told
    assert "Total reclaimed space" in told
