# SPDX-License-Identifier: Apache-2.0
"""A whole Debian goes in, is changed, and goes through dockerd, podman and skopeo: the same tree.

Nothing is left out of the comparison but what engines make in every container.
"""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from integration.images.programs import Docker, Podman, program, run
from integration.images.trees import by_the_second, described, differences, extracted
from integration.pace import SLOWNESS
from toolkit.bootstrap.debian import host_suite
from toolkit.client import ApiError
from toolkit.storage.layer import chain_id_of

if TYPE_CHECKING:
    from pathlib import Path

    from integration.conftest import Engine
    from integration.images.trees import Known
    from toolkit.storage.layer import ChainId

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500 * SLOWNESS)]

_NAME = "debian-trip"
_SECONDS = 240 * SLOWNESS
# Of each six files one is removed, written, given away, and replaced by each other kind.
_CHANGE = r"""
set -e
find /usr/share /var/lib -xdev -type f | sort | head -n 500 > /list
i=0
while read -r f; do
  case $((i % 6)) in
    0) rm "$f" ;;
    1) echo changed >> "$f" ;;
    2) chown 1000:1001 "$f"; chmod 4711 "$f"; touch -d '2001-02-03 04:05:06.789' "$f" ;;
    3) rm "$f"; mkdir "$f" ;;
    4) rm "$f"; ln -s /nowhere "$f" ;;
    5) rm "$f"; mkfifo "$f" ;;
  esac
  i=$((i + 1))
done < /list
[ "$i" = 500 ]
rm -rf /usr/share/doc; mkdir /usr/share/doc; echo opaque > /usr/share/doc/new
ln /bin/true /bin/also-true
rm /list
"""


@pytest.fixture(scope="module")
def debian_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of Debian's essential packages, made by mmdebstrap."""
    path = tmp_path_factory.mktemp("debian") / "root.tar"
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("locale", "man", "doc")]
    command = [program("mmdebstrap"), "--quiet", "--variant=essential", *left_out]
    command += [host_suite(), str(path)]
    made = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False, text=True)
    if made.returncode != 0:
        pytest.skip(f"mmdebstrap has no packages here: {made.stderr.strip()[-300:]}")
    return path


@dataclass(frozen=True)
class Trip:
    """The changed Debian, as an image of the engine.

    Attributes:
        tree: What our export of it holds.
        archive: Our save of it.
    """

    image_id: str
    layers: tuple[str, ...]
    tree: dict[str, Known]
    archive: Path

    @property
    def top(self) -> ChainId:
        """What other engines call the stack of its layers."""
        top: ChainId | None = None
        for diff_id in self.layers:
            top = chain_id_of(top, diff_id)
        assert top is not None
        return top


@pytest.fixture(scope="module")
def trip(
    engine_of_worker: Engine, debian_tar: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trip:
    """Import it, let a container change it, commit that, save the image, and remove all."""
    engine, work = engine_of_worker, tmp_path_factory.mktemp("trip")
    images = engine.client.images
    with debian_tar.open("rb") as stream:
        base = images.import_tar(stream, reference=f"{_NAME}:base")
    made: list[str] = []
    try:
        made.append(_changed_container(engine))
        commits = [_commit(engine, made[0], tag) for tag in ("1", "2")]
        layers = [images.inspect(one)["RootFS"]["Layers"] for one in commits]
        assert layers[0] == layers[1]  # the same tree, the same digest
        archive = _saved(engine, work / "ours.tar")
        assert archive.read_bytes() == _saved(engine, work / "again.tar").read_bytes()
        tree = _exported(engine, work / "ours", made)
        changed = _described_container(engine, made[0], work / "changed")
        assert differences(changed, tree) == []
        return Trip(commits[0], tuple(layers[0]), tree, archive)
    finally:
        for container in made:
            engine.client.containers.remove(container, force=True)
        for name in (f"{_NAME}:2", f"{_NAME}:1", base):
            with suppress(ApiError):  # it has not come that far
                images.remove(name, force=True)
        engine.client.close()


def _changed_container(engine: Engine) -> str:
    body = {
        "Image": f"{_NAME}:base",
        "Cmd": ["/bin/sh", "-c", _CHANGE],
        "HostConfig": {"NetworkMode": "none"},
    }
    container: str = engine.client.containers.create(body).id
    engine.client.containers.start(container)
    ended = engine.client.containers.wait(container).result()
    logs = b"".join(one.payload for one in engine.client.containers.logs(container, framed=True))
    assert ended.exit_code == 0, logs
    return container


def _commit(engine: Engine, container: str, tag: str) -> str:
    return engine.client.containers.commit(container, repository=_NAME, tag=tag)


def _saved(engine: Engine, path: Path) -> Path:
    with path.open("wb") as target, engine.client.images.save([f"{_NAME}:1"]) as answer:
        target.writelines(answer)
    return path


def _described_container(engine: Engine, container: str, target: Path) -> dict[str, Known]:
    archive = target.with_suffix(".export")
    with archive.open("wb") as out:
        out.writelines(engine.client.containers.export(container))
    tree = described(extracted(archive, target))
    archive.unlink()
    shutil.rmtree(target)
    return tree


def _exported(engine: Engine, target: Path, made: list[str]) -> dict[str, Known]:
    body = {"Image": f"{_NAME}:1", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}
    made.append(engine.client.containers.create(body).id)
    return _described_container(engine, made[-1], target)


def _by_us_again(engine: Engine, archive: Path, trip: Trip) -> None:
    """Load what somebody else wrote of our image: the same layers, the same tree."""
    with archive.open("rb") as stream:
        told = [one.get("stream", "") for one in engine.client.images.load(stream)]
    assert f"Loaded image: {_NAME}:1\n" in told
    found = engine.client.images.inspect(f"{_NAME}:1")
    assert tuple(found["RootFS"]["Layers"]) == trip.layers
    made: list[str] = []
    try:
        target = archive.parent / f"{archive.name}.tree"
        assert differences(_exported(engine, target, made), trip.tree) == []
    finally:
        for container in made:
            engine.client.containers.remove(container, force=True)
        engine.client.images.remove(f"{_NAME}:1", force=True)
        engine.client.close()


def test_through_docker(docker: Docker, engine: Engine, trip: Trip, tmp_path: Path) -> None:
    """RT-187 at full size: save, docker load, docker export; docker save, load."""
    docker("load", "-i", str(trip.archive))
    assert docker("images", "-q", "--no-trunc", f"{_NAME}:1").strip() == trip.image_id
    assert differences(described(docker.tree_of(trip.top)), trip.tree) == []
    container = docker("create", f"{_NAME}:1", "true").strip()
    docker("export", "-o", str(tmp_path / "export.tar"), container)
    theirs = described(extracted(tmp_path / "export.tar", tmp_path / "theirs"))
    assert differences(by_the_second(theirs), by_the_second(trip.tree)) == []
    docker("save", "-o", str(tmp_path / "theirs.tar"), f"{_NAME}:1")
    _by_us_again(engine, tmp_path / "theirs.tar", trip)


def test_through_podman(podman: Podman, engine: Engine, trip: Trip, tmp_path: Path) -> None:
    """Save, podman load, podman export; podman save, load."""
    podman("load", "-i", str(trip.archive))
    container = podman("create", f"{_NAME}:1", "true").strip()
    podman("export", "-o", str(tmp_path / "export.tar"), container)
    podman("rm", container)
    theirs = described(extracted(tmp_path / "export.tar", tmp_path / "theirs"))
    assert differences(by_the_second(theirs), by_the_second(trip.tree)) == []
    podman("save", "-o", str(tmp_path / "theirs.tar"), f"{_NAME}:1")
    _by_us_again(engine, tmp_path / "theirs.tar", trip)


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_through_skopeo(skopeo: str, engine: Engine, trip: Trip, tmp_path: Path, form: str) -> None:
    """Save, skopeo copy in both forms, load."""
    target = tmp_path / "theirs.tar"
    words = [f"docker-archive:{trip.archive}", f"{form}:{target}:{_NAME}:1", "--insecure-policy"]
    run(skopeo, "copy", *words)
    _by_us_again(engine, target, trip)
