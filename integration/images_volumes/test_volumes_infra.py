# SPDX-License-Identifier: Apache-2.0
"""Volumes as testinfra sees them, in containers of both backends and on this machine."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from integration.images_volumes.asking import mounts_of
from integration.images_volumes.conftest import BACKENDS

if TYPE_CHECKING:
    from pathlib import Path

    from testinfra.host import Host

    from integration.conftest import Engine
    from toolkit.testing import Container, ContainerHost, RunContainer, Volume

testinfra = pytest.importorskip("testinfra")

_STAY = "trap 'exit 0' TERM; sleep 600 & wait"


class Stay(Protocol):
    """Starts a container of the backend that stays; *host* is docker's ``HostConfig``."""

    def __call__(
        self, script: str = _STAY, *, host: dict[str, Any] | None = None, **options: Any
    ) -> Container: ...


@pytest.fixture(params=BACKENDS)
def stay(request: pytest.FixtureRequest, run_container: RunContainer) -> Stay:
    """Each test once on each backend."""
    if request.param == "lxc" and shutil.which("lxc-start") is None:
        pytest.skip("LXC is not installed")

    def start(
        script: str = _STAY, *, host: dict[str, Any] | None = None, **options: Any
    ) -> Container:
        wire = {"HostConfig": host or {}, **options.pop("wire", {})}
        own = {"network": "none", "backend": request.param, "wire": wire, **options}
        return run_container("busybox", ["sh", "-c", script], **own)

    return start


@pytest.fixture
def here() -> Host:
    """This machine."""
    return testinfra.get_host("local://")


def test_a_named_volume_is_one_place_seen_from_all(
    stay: Stay, container_host: ContainerHost, here: Host, container_volume: Volume
) -> None:
    writer = container_host(stay(volumes={container_volume: "/data"}))
    reader = container_host(stay(volumes={container_volume: "/data:ro"}))
    writer.check_output("echo kept > /data/f; chown 1000:1001 /data/f; chmod 640 /data/f")
    seen = reader.file("/data/f")
    assert (seen.content_string, seen.uid, seen.gid, seen.mode) == ("kept\n", 1000, 1001, 0o640)
    assert reader.run("touch /data/other").rc != 0
    place = container_volume.engine.client.volumes.inspect(container_volume)["Mountpoint"]
    outside = here.file(f"{place}/f")
    assert (outside.content_string, outside.uid) == ("kept\n", 1000)


def test_volumes_go_along_a_chain(
    engine: Engine, stay: Stay, container_host: ContainerHost
) -> None:
    """RT-145, rules 8.18 to 8.20: --volumes-from of --volumes-from, ro on the way is kept."""
    first = stay(wire={"Volumes": {"/one": {}}})
    second = stay(wire={"Volumes": {"/two": {}}}, host={"VolumesFrom": [first.id]})
    third = stay(host={"VolumesFrom": [f"{second.id}:ro"]})
    fourth = stay(host={"VolumesFrom": [third.id]})
    container_host(first).check_output("echo 1 > /one/f")
    container_host(second).check_output("echo 2 > /two/f")
    for container in (third, fourth):
        host = container_host(container)
        assert host.file("/one/f").content_string == "1\n"
        assert host.file("/two/f").content_string == "2\n"
        assert host.run("touch /one/x").rc != 0
        assert host.run("touch /two/x").rc != 0
    all_four = (first, second, third, fourth)
    assert len({mounts_of(engine, one.id)["/one"]["Source"] for one in all_four}) == 1
    for container in (first, second, third):
        container.remove()
    assert container_host(fourth).file("/one/f").content_string == "1\n"


def test_a_bind_is_the_hosts_own_directory(
    engine: Engine, stay: Stay, here: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways, with a file on a file, and a link in the container's way.

    By testinfra's own docker backend: it runs docker's command against the engine.
    """
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    monkeypatch.setenv("DOCKER_CONFIG", "/nonexistent")
    (tmp_path / "seen").write_text("from the host\n")
    binds = {tmp_path: "/bound", tmp_path / "seen": "/etc/one-file:ro"}
    host = testinfra.get_host(f"docker://{stay(f'ln -s /bound /way; {_STAY}', volumes=binds).id}")
    assert host.file("/bound/seen").content_string == "from the host\n"
    assert host.file("/etc/one-file").content_string == "from the host\n"
    assert host.run("echo x > /etc/one-file").rc != 0
    host.check_output("echo back > /bound/back; mkdir -m 700 /bound/d")
    assert here.file(str(tmp_path / "back")).content_string == "back\n"
    assert here.file(str(tmp_path / "d")).mode == 0o700
    assert host.file("/way/seen").is_file


def test_a_tmpfs_is_the_containers_alone(stay: Stay, container_host: ContainerHost) -> None:
    options = {"/t": "size=64k,mode=1770"}
    container = container_host(stay(tmpfs=options))
    other = container_host(stay(tmpfs=options))
    container.check_output("echo x > /t/f")
    assert not other.file("/t/f").exists
    assert container.file("/t").mode == 0o1770
    assert container.run("dd if=/dev/zero of=/t/big bs=1k count=100").rc != 0
    assert " tmpfs " in container.check_output("grep ' /t ' /proc/self/mounts")


def test_a_restart_keeps_what_is_in_a_volume(
    stay: Stay, container_host: ContainerHost, container_volume: Volume
) -> None:
    container = stay(volumes={container_volume: "/v"}, wire={"Volumes": {"/anonymous": {}}})
    host = container_host(container)
    host.check_output("echo a > /v/f; echo b > /anonymous/f; echo c > /root/f")
    container.restart()
    assert [host.file(f"/{place}/f").exists for place in ("v", "anonymous", "root")] == [True] * 3
