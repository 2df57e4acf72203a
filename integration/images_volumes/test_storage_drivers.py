# SPDX-License-Identifier: Apache-2.0
"""A whole engine on each storage driver: the same answers about a container's files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.conftest import Engine, clear
from integration.images_volumes.asking import (
    archive,
    changes,
    commit,
    exported,
    got,
    logs,
    mounts_of,
    put,
    run,
)
from toolkit.bootstrap import bootstrap_image
from toolkit.config import Instance
from toolkit.vm.first_container import FirstContainer

if TYPE_CHECKING:
    from collections.abc import Iterator

FILESYSTEMS = Path("/proc/filesystems")


@pytest.fixture(params=["vfs", "btrfs"])
def other_engine(
    request: pytest.FixtureRequest, worker_id: str, tmp_path: Path
) -> Iterator[Engine]:
    """An engine of its own on another driver, and nothing of it afterwards."""
    prefix = os.environ.get("TOOLKIT_TEST_PREFIX", "tkt")
    driver = request.param
    with ExitStack() as undo:
        data_dir = tmp_path / "data"
        if driver == "btrfs":
            data_dir = mounted_btrfs(tmp_path, undo)
        instance = Instance(
            name=f"{prefix}{driver[0]}{worker_id.replace('master', 'm')}",
            storage_driver=driver,
            data_dir=data_dir / "own",
        )
        engine = Engine(instance)
        clear(instance)
        undo.callback(clear, instance)
        undo.callback(engine.client.close)
        words = ["--instance", instance.name, "--storage-driver", driver]
        command = [sys.executable, "-m", "toolkit.cli.main", "engine", *words]
        engine.pid = engine.process.start([*command, "--data-root", str(instance.data_dir)]).pid
        bootstrap_image(engine.client, "busybox")
        yield engine


def mounted_btrfs(place: Path, undo: ExitStack) -> Path:
    if shutil.which("mkfs.btrfs") is None or "btrfs\n" not in FILESYSTEMS.read_text():
        pytest.skip("no btrfs here: apt-get install btrfs-progs")
    image, mounted = place / "image", place / "mounted"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(512 * 1024 * 1024)
    undo.callback(image.unlink)
    subprocess.run(["mkfs.btrfs", "-q", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(mounted)], check=True)
    undo.callback(subprocess.run, ["umount", str(mounted)], check=True)
    return mounted


def test_files_volumes_and_commits_are_as_with_overlay(other_engine: Engine) -> None:
    """RT-155, RT-156, RT-160, RT-162, RT-140 and RT-144 on vfs and btrfs."""
    engine, containers = other_engine, other_engine.client.containers
    script = "echo hi > /new; rm /etc/group; rm -r /home; mkdir /home; echo x >> /v/f; cat /v/f"
    body = {"Image": "busybox", "NetworkDisabled": True, "Volumes": {"/v": {}, "/etc": {}}}
    container = containers.create({**body, "Cmd": ["sh", "-c", script]}).id
    assert changes(engine, container) == []
    assert run(engine, container) == 0
    told = changes(engine, container)
    assert "A /new" in told
    assert not [line for line in told if line.startswith(("A /v/", "D /etc", "C /dev"))]
    put(engine, container, "/home", archive(copied=b"in"))
    assert got(engine, container, "/home/copied")[1].getnames() == ["copied"]
    assert got(engine, container, "/v/f")[0]["size"] == 2
    with exported(engine, container) as tar:
        assert {"./new", "./home/copied"} <= set(tar.getnames())
        assert "./v/f" not in tar.getnames()
    first, again = (commit(engine, container) for _ in range(2))
    inspect = engine.client.images.inspect
    assert inspect(first)["RootFS"] == inspect(again)["RootFS"]
    body = {"Image": first, "NetworkDisabled": True, "Cmd": ["cat", "/new", "/home/copied"]}
    second = containers.create(body).id
    assert run(engine, second) == 0
    assert logs(engine, second) == b"hi\nin"
    place = Path(mounts_of(engine, container)["/v"]["Source"])
    assert run(engine, container) == 0
    assert logs(engine, container).endswith(b"x\nx\n")
    for one in (container, second):
        containers.remove(one, volumes=True)
    assert not place.exists()


def test_an_image_is_built_as_with_overlay(other_engine: Engine) -> None:
    """Stages, copies and runs; a tree that is copied has nothing of a container's in it."""
    text = (
        b"FROM busybox AS one\nRUN echo a > /a && mkdir /etc/new\nWORKDIR /w\n"
        b"FROM scratch\nCOPY --from=one / /\nCOPY --from=one / /all/\n"
        b"RUN rm /a && [ -d /w ] && [ -d /etc/new ] && cp /all/a /b && [ ! -e /all/.dockerenv ]\n"
    )
    images = other_engine.client.images
    messages = list(
        images.build(archive(Dockerfile=text), query={"networkmode": "none", "t": "built"})
    )
    assert messages[-1]["stream"] == "Successfully tagged built:latest\n"
    assert FirstContainer(other_engine.client).run("built", ["cat", "/b"]) == "a"
    images.remove("built", force=True)
