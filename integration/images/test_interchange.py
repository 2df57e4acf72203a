# SPDX-License-Identifier: Apache-2.0
"""Images go to dockerd, podman and skopeo and come back as the same images."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integration.images.conftest import Registry, Shelf

_SECONDS = 90


def run(*command: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, capture_output=True, timeout=_SECONDS, check=False, env=env, text=True
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@pytest.fixture
def skopeo() -> str:
    return _program("skopeo")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


@pytest.fixture
def podman() -> Iterator[Callable[..., str]]:
    """Run podman on a storage of its own; its path may have 50 characters."""
    program = _program("podman")
    with tempfile.TemporaryDirectory(prefix="pm") as base_dir:
        own = [
            program, "--root", f"{base_dir}/root", "--runroot", f"{base_dir}/run",
            "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
        ]  # fmt: skip

        def call(*arguments: str) -> str:
            return run(*own, *arguments)

        yield call
        run(*own, "rmi", "--all", "--force")
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if (place := line.split()[1]).startswith(f"{base_dir}/"):
                run("umount", place)


@pytest.fixture
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Run docker's command against a daemon of docker's own that knows nothing else."""
    daemon, client = _program("dockerd"), _program("docker")
    base_dir = tmp_path_factory.mktemp("dockerd")
    url = f"unix://{base_dir}/s"
    environ = {**os.environ, "DOCKER_HOST": url, "DOCKER_CONFIG": str(base_dir)}
    with (base_dir / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                # Its data directory becomes a mount, which nobody else should see.
                "unshare", "--mount", "--propagation", "private",
                daemon, "--host", url, "--data-root", str(base_dir / "data"),
                "--exec-root", str(base_dir / "exec"), "--pidfile", str(base_dir / "pid"),
                "--bridge", "none", "--iptables=false", "--ip6tables=false",
                "--storage-driver", "vfs",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        for _ in range(200):
            asked = subprocess.run(
                [client, "version"], env=environ, capture_output=True, check=False
            )
            if asked.returncode == 0:
                break
            if process.poll() is not None:
                pytest.skip(f"dockerd does not run here: {(base_dir / 'log').read_text()[-300:]}")
        else:
            pytest.fail((base_dir / "log").read_text()[-2000:])
        yield lambda *arguments: run(client, *arguments, env=environ)
    finally:
        process.terminate()
        process.wait(30)
        for path in (base_dir / "exec/netns").glob("*"):
            subprocess.run(["umount", str(path)], check=False, capture_output=True)


def test_docker_loads_what_we_save_and_we_load_what_it_saves(
    docker: Callable[..., str], shelf: Shelf, new_shelf: Callable[..., Shelf], tmp_path: Path
) -> None:
    sent = shelf.images.resolve("sample:1")

    assert "Loaded image: sample:1" in docker(
        "load", "-i", str(shelf.save(tmp_path / "ours.tar", "sample:1"))
    )
    assert docker("images", "-q", "--no-trunc", "sample:1").strip() == sent.id
    docker("save", "-o", str(tmp_path / "theirs.tar"), "sample:1")
    other = new_shelf()
    (got,) = other.load(tmp_path / "theirs.tar")

    assert (got.id, got.references) == (sent.id, ("sample:1",))
    assert other.contents(got) == list(sent.diff_ids)
    assert (
        other.save(tmp_path / "again.tar", "sample:1").read_bytes()
        == (tmp_path / "ours.tar").read_bytes()
    )


def test_podman_loads_what_we_save(
    podman: Callable[..., str], shelf: Shelf, tmp_path: Path
) -> None:
    sent = shelf.images.resolve("sample:1")

    podman("load", "-i", str(shelf.save(tmp_path / "ours.tar", "sample:1")))

    (found,) = json.loads(podman("image", "inspect", "docker.io/library/sample:1"))
    assert found["Id"] == sent.id.removeprefix("sha256:")
    assert found["RootFS"]["Layers"] == list(sent.diff_ids)


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_we_load_what_podman_saves(
    podman: Callable[..., str],
    shelf: Shelf,
    new_shelf: Callable[..., Shelf],
    tmp_path: Path,
    form: str,
) -> None:
    sent = shelf.images.resolve("sample:1")
    podman("load", "-i", str(shelf.save(tmp_path / "ours.tar", "sample:1")))
    podman("save", "--format", form, "-o", str(tmp_path / "theirs.tar"), "sample:1")
    other = new_shelf()

    (got,) = other.load(tmp_path / "theirs.tar")

    assert got.references == ("sample:1",)
    assert other.contents(got) == list(sent.diff_ids)


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_skopeo_reads_what_we_save_and_we_load_what_it_writes(
    skopeo: str, shelf: Shelf, new_shelf: Callable[..., Shelf], tmp_path: Path, form: str
) -> None:
    sent = shelf.images.resolve("sample:1")
    ours = shelf.save(tmp_path / "ours.tar", "sample:1")
    theirs = tmp_path / "theirs.tar"

    run(skopeo, "copy", f"{form}:{ours}", f"{form}:{theirs}:sample:1", "--insecure-policy")
    other = new_shelf()
    (got,) = other.load(theirs)

    assert got.references == ("sample:1",)
    assert other.contents(got) == list(sent.diff_ids)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_skopeo_pushes_and_pulls_beside_us(
    skopeo: str,
    start_registry: Callable[..., Registry],
    shelf: Shelf,
    new_shelf: Callable[..., Shelf],
    compression: str,
) -> None:
    name = start_registry().name("s/x:1")
    tmp_path = shelf.data_dir.parent
    ours = shelf.save(tmp_path / "ours.tar", "sample:1")
    run(
        skopeo, "copy", "--insecure-policy", "--dest-tls-verify=false", "--format", "oci",
        "--dest-compress-format", compression, f"docker-archive:{ours}", f"docker://{name}",
    )  # fmt: skip
    other = new_shelf()

    got = other.pull(name)
    other.images.tag(got.id, name.replace(":1", ":2"))
    other.push(name.replace(":1", ":2"))

    assert other.contents(got) == list(shelf.images.resolve("sample:1").diff_ids)
    back = tmp_path / "back"
    run(
        skopeo, "copy", "--insecure-policy", "--src-tls-verify=false",
        f"docker://{name.replace(':1', ':2')}", f"dir:{back}",
    )  # fmt: skip
    manifest = json.loads((back / "manifest.json").read_text())
    assert manifest["config"]["digest"] == got.id


def test_docker_pulls_what_we_push(
    docker: Callable[..., str], start_registry: Callable[..., Registry], shelf: Shelf
) -> None:
    name = start_registry().name("d/x:1")
    sent = shelf.images.resolve("sample:1")
    shelf.images.tag(sent.id, name)
    digest = shelf.push(name)

    assert f"Digest: {digest}" in docker("pull", name)
    assert docker("images", "-q", "--no-trunc", name).strip() == sent.id
    docker("tag", name, name.replace("d/x", "d/y"))
    docker("push", name.replace("d/x", "d/y"))
    shelf.images.remove(name, users=lambda _: ())
    assert shelf.pull(name.replace("d/x", "d/y")).id == sent.id
