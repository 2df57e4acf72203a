# SPDX-License-Identifier: Apache-2.0
"""Volumes as testinfra sees them, in containers of both backends and on this machine."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Protocol

import pytest

from integration.images_volumes.asking import mounts_of
from integration.images_volumes.conftest import BACKENDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testinfra.host import Host

    from integration.conftest import Engine
    from integration.images_volumes.asking import Make

testinfra = pytest.importorskip("testinfra")

_STAY = "trap 'exit 0' TERM; sleep 600 & wait"


class Look(Protocol):
    """Gives testinfra's host for a container."""

    def __call__(self, container: str) -> Host: ...


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each test once on each backend."""
    name: str = request.param
    return name


@pytest.fixture
def look(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Use testinfra's own docker backend: it runs docker's command against the engine."""
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    monkeypatch.setenv("DOCKER_CONFIG", "/nonexistent")
    return lambda container: testinfra.get_host(f"docker://{container}")


@pytest.fixture
def here() -> Host:
    """This machine."""
    return testinfra.get_host("local://")


@pytest.fixture
def volume(engine: Engine, backend: str) -> Iterator[str]:
    name = f"infra-{backend}-{uuid.uuid4().hex[:8]}"
    engine.client.volumes.create(name)
    yield name
    for container in engine.client.containers.list(every=True, filters={"volume": [name]}):
        engine.client.containers.remove(container["Id"], force=True, volumes=True)
    engine.client.volumes.remove(name, force=True)


def test_a_named_volume_is_one_place_seen_from_all(
    engine: Engine, make: Make, look: Look, here: Host, volume: str
) -> None:
    binds = {"Binds": [f"{volume}:/data"]}
    writer = look(make(_STAY, HostConfig=binds))
    reader = look(make(_STAY, HostConfig={"Binds": [f"{volume}:/data:ro"]}))
    writer.check_output("echo kept > /data/f; chown 1000:1001 /data/f; chmod 640 /data/f")
    seen = reader.file("/data/f")
    assert (seen.content_string, seen.uid, seen.gid, seen.mode) == ("kept\n", 1000, 1001, 0o640)
    assert reader.run("touch /data/other").rc != 0
    outside = here.file(engine.client.volumes.inspect(volume)["Mountpoint"] + "/f")
    assert (outside.content_string, outside.uid) == ("kept\n", 1000)


def test_volumes_go_along_a_chain(engine: Engine, make: Make, look: Look) -> None:
    """RT-145, rules 8.18 to 8.20: --volumes-from of --volumes-from, ro on the way is kept."""
    first = make(_STAY, Volumes={"/one": {}})
    second = make(_STAY, Volumes={"/two": {}}, HostConfig={"VolumesFrom": [first]})
    third = make(_STAY, HostConfig={"VolumesFrom": [f"{second}:ro"]})
    fourth = make(_STAY, HostConfig={"VolumesFrom": [third]})
    look(first).check_output("echo 1 > /one/f")
    look(second).check_output("echo 2 > /two/f")
    for container in (third, fourth):
        host = look(container)
        assert host.file("/one/f").content_string == "1\n"
        assert host.file("/two/f").content_string == "2\n"
        assert host.run("touch /one/x").rc != 0
        assert host.run("touch /two/x").rc != 0
    sources = [mounts_of(engine, one)["/one"]["Source"] for one in (first, second, third, fourth)]
    assert len(set(sources)) == 1
    for container in (first, second, third):
        engine.client.containers.remove(container, force=True, volumes=True)
    assert look(fourth).file("/one/f").content_string == "1\n"


def test_a_bind_is_the_hosts_own_directory(
    make: Make, look: Look, here: Host, tmp_path: Path
) -> None:
    """Both ways, with a file on a file, and a link in the container's way."""
    (tmp_path / "seen").write_text("from the host\n")
    binds = [f"{tmp_path}:/bound", f"{tmp_path}/seen:/etc/one-file:ro"]
    host = look(make(f"ln -s /bound /way; {_STAY}", HostConfig={"Binds": binds}))
    assert host.file("/bound/seen").content_string == "from the host\n"
    assert host.file("/etc/one-file").content_string == "from the host\n"
    assert host.run("echo x > /etc/one-file").rc != 0
    host.check_output("echo back > /bound/back; mkdir -m 700 /bound/d")
    assert here.file(str(tmp_path / "back")).content_string == "back\n"
    assert here.file(str(tmp_path / "d")).mode == 0o700
    assert host.file("/way/seen").is_file


def test_a_tmpfs_is_the_containers_alone(make: Make, look: Look) -> None:
    options = {"Tmpfs": {"/t": "size=64k,mode=1770"}}
    container = look(make(_STAY, HostConfig=options))
    other = look(make(_STAY, HostConfig=options))
    container.check_output("echo x > /t/f")
    assert not other.file("/t/f").exists
    assert container.file("/t").mode == 0o1770
    assert container.run("dd if=/dev/zero of=/t/big bs=1k count=100").rc != 0
    assert " tmpfs " in container.check_output("grep ' /t ' /proc/self/mounts")


def test_a_restart_keeps_what_is_in_a_volume(
    engine: Engine, make: Make, look: Look, volume: str
) -> None:
    container = make(_STAY, HostConfig={"Binds": [f"{volume}:/v"]}, Volumes={"/anonymous": {}})
    look(container).check_output("echo a > /v/f; echo b > /anonymous/f; echo c > /root/f")
    engine.client.containers.restart(container)
    host = look(container)
    assert [host.file(f"/{place}/f").exists for place in ("v", "anonymous", "root")] == [True] * 3
