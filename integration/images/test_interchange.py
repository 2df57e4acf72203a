# SPDX-License-Identifier: Apache-2.0
"""Images go to dockerd, podman and skopeo and come back as the same images."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from integration.images.programs import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from integration.images.conftest import Registry, Shelf


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
