# SPDX-License-Identifier: Apache-2.0
"""Volumes and binds in containers that run."""

from __future__ import annotations

import io
import os
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.images_volumes.asking import logs, mounts_of, output, run
from integration.images_volumes.conftest import BACKENDS
from toolkit.client import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import Engine
    from integration.images_volumes.asking import Make


@pytest.fixture
def image(engine: Engine) -> Iterator[str]:
    """Busybox's own tree with things at ``/hello``, at ``/odd`` and behind links."""
    base = engine.client.containers.create({"Image": "busybox", "Cmd": ["true"]}).id
    exported = engine.client.request("GET", f"/containers/{base}/export").read()
    engine.client.containers.remove(base)
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(exported)) as old,
        tarfile.open(fileobj=out, mode="w") as tar,
    ):
        for member in old:
            tar.addfile(member, old.extractfile(member) if member.isreg() else None)
        for name, kind, link in (
            ("hello", tarfile.DIRTYPE, ""),
            ("hello/local", tarfile.DIRTYPE, ""),
            ("hello/local/world", tarfile.REGTYPE, ""),
            ("empty", tarfile.DIRTYPE, ""),
            ("odd", tarfile.DIRTYPE, ""),
            ("odd/fifo", tarfile.FIFOTYPE, ""),
            ("odd/link", tarfile.SYMTYPE, "/etc/shadow"),
            ("out", tarfile.SYMTYPE, "/run/canary-of-volumes"),
            ("up", tarfile.SYMTYPE, "../../../../../../run/canary-of-volumes"),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            member.mode, member.uid, member.gid = 0o751, 1, 1
            tar.addfile(member)
    out.seek(0)
    name = f"volumes-{uuid.uuid4().hex[:8]}"
    engine.client.images.import_tar(out, reference=name)
    yield name
    for container in engine.client.containers.list(every=True, filters={"ancestor": [name]}):
        engine.client.containers.remove(container["Id"], force=True, volumes=True)
    engine.client.images.remove(name, force=True)


@pytest.fixture
def volume(engine: Engine) -> Iterator[str]:
    name = f"named-{uuid.uuid4().hex[:8]}"
    yield name
    for container in engine.client.containers.list(every=True, filters={"volume": [name]}):
        engine.client.containers.remove(container["Id"], force=True)
    engine.client.volumes.remove(name, force=True)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each test once on each backend."""
    name: str = request.param
    return name


def names(engine: Engine) -> set[str]:
    return {one["Name"] for one in engine.client.volumes.list()}


def bind(*texts: str) -> dict[str, list[str]]:
    return {"Binds": list(texts)}


def test_a_volume_is_made_and_goes_with_its_container(engine: Engine, make: Make) -> None:
    """RT-138, RT-147, API-029."""
    container = make("echo hello world > /var/lib/data/f", Volumes={"/var/lib/data": {}})
    (mount,) = mounts_of(engine, container).values()
    assert (mount["Type"], mount["RW"]) == ("volume", True)
    assert mount["Name"] in names(engine)
    engine.client.containers.remove(container, volumes=True)
    assert mount["Name"] not in names(engine)


def test_anonymous_volumes_go_with_run_rm(engine: Engine, make: Make) -> None:
    before = names(engine)
    container = make(start=False, Volumes={"/v": {}}, Cmd=["true"], HostConfig={"AutoRemove": True})
    pending = engine.client.containers.wait(container, condition="removed")
    engine.client.containers.start(container)
    assert pending.result().exit_code == 0
    assert names(engine) == before


def test_a_new_volume_gets_the_images_content_and_owner(
    engine: Engine, make: Make, image: str
) -> None:
    """RT-139, RT-140; also the owner of an empty directory, as today."""
    told = output(
        engine, make, "find /hello; stat -c '%u %g %a' /hello /empty", image=image,
        Volumes={"/hello": {}, "/empty": {}},
    )  # fmt: skip
    assert told.split("\n") == [
        "/hello", "/hello/local", "/hello/local/world", "1 1 751", "1 1 751", "",
    ]  # fmt: skip


def test_only_what_is_inside_is_copied_and_data_is_kept(
    engine: Engine, make: Make, image: str, volume: str
) -> None:
    """S-28: links stay links, a FIFO does not hang, a second container's data is kept."""
    first = make("ls /odd; readlink /odd/link; echo kept > /odd/data; rm /odd/fifo", image=image,
                 HostConfig=bind(f"{volume}:/odd"))  # fmt: skip
    assert logs(engine, first).decode().split() == ["fifo", "link", "/etc/shadow"]
    again = output(engine, make, "ls /odd", image=image, HostConfig=bind(f"{volume}:/odd"))
    assert again.split() == ["data", "link"]


def test_nothing_is_copied_where_that_was_asked(
    engine: Engine, make: Make, image: str, volume: str
) -> None:
    told = output(
        engine, make, "ls /hello", image=image, HostConfig=bind(f"{volume}:/hello:nocopy")
    )
    assert told == ""
    mount = {"Type": "volume", "Target": "/odd", "VolumeOptions": {"NoCopy": True}}
    assert output(engine, make, "ls /odd", image=image, HostConfig={"Mounts": [mount]}) == ""


def test_binds_of_directories_and_files(engine: Engine, make: Make, tmp_path: Path) -> None:
    """RT-141."""
    (tmp_path / "touch-me").touch()
    holla = tmp_path / "holla"
    told = output(engine, make, "ls /mnt", HostConfig=bind(f"{tmp_path}:/mnt:ro"))
    assert told == "touch-me\n"
    make("touch /tmp/holla", HostConfig=bind(f"{tmp_path}:/tmp:rw"))
    make("echo yotta > /tmp/holla", HostConfig=bind(f"{holla}:/tmp/holla:rw"))
    assert holla.read_text() == "yotta\n"
    read_only = make(
        "touch /mnt/x 2>/dev/null; test ! -e /mnt/x", HostConfig=bind(f"{tmp_path}:/mnt:ro")
    )
    assert not mounts_of(engine, read_only)["/mnt"]["RW"]


@pytest.mark.parametrize(
    "text",
    ["{0}:.", "{0}:/", "{0}", "{0}:relative", "{0}:/a:bad", ":/x", "{0}:/a:ro:more", "a b:/x",
     "{0}:/proc/x", "x:/"],
)  # fmt: skip
def test_a_bind_that_cannot_be_is_refused(make: Make, tmp_path: Path, text: str) -> None:
    """RT-141, S-27; rules 8.1 and 8.4."""
    with pytest.raises(ApiError) as refused:
        make("true", start=False, HostConfig=bind(text.format(tmp_path)))
    assert refused.value.status == 400


def test_a_missing_source_is_made_for_binds_and_refused_for_mounts(
    engine: Engine, make: Make, tmp_path: Path
) -> None:
    """RT-148 as today's docker has it; RT-149, API-017: binding the host's root is allowed."""
    make("touch /tmp/x", HostConfig=bind(f"{tmp_path}/not/there:/tmp"))
    assert (tmp_path / "not/there/x").exists()
    with pytest.raises(ApiError, match="does not exist"):
        make("true", HostConfig={
            "Mounts": [{"Type": "bind", "Source": f"{tmp_path}/missing", "Target": "/mnt"}]
        })  # fmt: skip
    assert "engine" not in output(engine, make, "ls /host", HostConfig=bind("/:/host:ro")).split()


def test_volumes_from_shares_the_same_place(engine: Engine, make: Make) -> None:
    """RT-142, RT-143, RT-145."""
    first = make("echo bar > /test/foo", Volumes={"/test": {}})
    place = mounts_of(engine, first)["/test"]
    assert place["RW"]
    for mode, writable in (("", True), (":rw", True), (":ro", False)):
        second = make("cat /test/foo", Volumes={"/test": {}},
                      HostConfig={"VolumesFrom": [f"{first}{mode}"]})  # fmt: skip
        assert logs(engine, second) == b"bar\n"
        taken = mounts_of(engine, second)["/test"]
        assert (taken["Source"], taken["RW"]) == (place["Source"], writable)
        assert run(engine, second) == 0


def test_volumes_from_several_and_in_chains(engine: Engine, make: Make) -> None:
    """RT-146, rule 8.20: read-only is not taken back, earlier ones win."""
    first = make("true", Volumes={"/test": {}})
    other = make("true", Volumes={"/other": {}, "/test": {}})
    both = make("true", HostConfig={"VolumesFrom": [f"{first}:ro", other]})
    found = mounts_of(engine, both)
    assert found["/test"]["Source"] == mounts_of(engine, first)["/test"]["Source"]
    assert found["/other"]["Source"] == mounts_of(engine, other)["/other"]["Source"]
    third = make("true", HostConfig={"VolumesFrom": [f"{both}:rw"]})
    assert not mounts_of(engine, third)["/test"]["RW"]
    assert mounts_of(engine, third)["/other"]["RW"]
    for bad, status in ((f"{first}:rx", 400), ("nobody", 404)):
        with pytest.raises(ApiError) as refused:
            make("true", HostConfig={"VolumesFrom": [bad]})
        assert refused.value.status == status


def test_a_restart_finds_the_same_volume(engine: Engine, make: Make) -> None:
    """API-029, RT-144."""
    container = make("echo x >> /test/count; cat /test/count", Volumes={"/test": {}})
    before = mounts_of(engine, container)["/test"]["Source"]
    assert run(engine, container) == 0
    assert mounts_of(engine, container)["/test"]["Source"] == before
    assert logs(engine, container) == b"x\nx\nx\n"


def test_removing_spares_volumes_that_others_have(engine: Engine, make: Make) -> None:
    """API-028, D-16, S-29: the last one that has it takes it along."""
    first = make("true", Volumes={"/test": {}})
    name = mounts_of(engine, first)["/test"]["Name"]
    second = make("true", HostConfig={"VolumesFrom": [first]})
    engine.client.containers.remove(first, volumes=True)
    assert name in names(engine)
    engine.client.containers.remove(second, volumes=True)
    assert name not in names(engine)


def test_named_volumes_stay(engine: Engine, make: Make, volume: str) -> None:
    container = make("echo x > /v/f", HostConfig=bind(f"{volume}:/v"))
    with pytest.raises(ApiError, match="volume is in use") as refused:
        engine.client.volumes.remove(volume)
    assert refused.value.status == 409
    engine.client.containers.remove(container, volumes=True)
    shown = engine.client.volumes.inspect(volume)
    assert (Path(shown["Mountpoint"]) / "f").read_text() == "x\n"
    pruned = engine.client.volumes.prune()["VolumesDeleted"]
    assert volume not in pruned
    assert volume in engine.client.volumes.prune(filters={"all": ["true"]})["VolumesDeleted"]


@pytest.mark.parametrize(
    "target", ["/out/deep", "/out", "/up/deep", "/../../../run/canary-of-volumes"]
)
def test_a_target_behind_a_link_of_the_image_stays_inside(
    engine: Engine, make: Make, image: str, target: str
) -> None:
    """S-24, D-15, D-18: volumes, binds, volumes-from and the working directory.

    What a link of the image leads to is made inside, but no working directory (S-03).
    """
    canary = Path("/run/canary-of-volumes")
    assert not os.path.lexists(canary)
    first = make("true", start=False, image=image, Volumes={target: {}})
    second = make("true", start=False, image=image, HostConfig={"VolumesFrom": [first]})
    third = make("true", start=False, image=image, HostConfig=bind(f"/etc:{target}:ro"))
    fourth = make("true", start=False, image=image, WorkingDir="/out/work/dir")
    for container in (first, second, third):
        assert run(engine, container) == 0
        assert not os.path.lexists(canary)
    with pytest.raises(ApiError, match="working directory"):
        engine.client.containers.start(fourth)
    assert not os.path.lexists(canary)
    told = output(engine, make, f"cd {target} && pwd -P", image=image, Volumes={target: {}})
    assert told.startswith("/run/canary-of-volumes")


def test_a_volume_replaced_by_a_link_is_refused(engine: Engine, make: Make, tmp_path: Path) -> None:
    """S-26, S-29: while stopped."""
    (tmp_path / "canary").write_text("host")
    container = make("true", Volumes={"/v": {}})
    place = Path(mounts_of(engine, container)["/v"]["Source"])
    place.rmdir()
    place.symlink_to(tmp_path)
    with pytest.raises(ApiError, match="replaced"):
        engine.client.containers.start(container)
    engine.client.containers.remove(container, volumes=True)
    assert (tmp_path / "canary").read_text() == "host"
    assert not place.parent.exists()


def test_a_tmpfs_has_its_options(engine: Engine, make: Make) -> None:
    told = output(
        engine, make, "mount | grep ' /t[12] '; stat -c %a /t2", HostConfig={
            "Tmpfs": {"/t1": "size=64k,exec"},
            "Mounts": [{
                "Type": "tmpfs", "Target": "/t2",
                "TmpfsOptions": {"SizeBytes": 131072, "Mode": 0o1700},
            }],
        },
    ).splitlines()  # fmt: skip
    assert "size=64k" in told[0]
    assert "noexec" not in told[0]
    assert "size=128k" in told[1]
    assert told[2] == "1700"


def test_read_only_is_so_for_what_is_mounted_below(engine: Engine, make: Make) -> None:
    """A bind of the host's /dev has /dev/shm below it, which is writable there."""
    told = output(
        engine, make, "touch /d/shm/x 2>&1 || true", HostConfig=bind("/dev:/d:ro"),
    )  # fmt: skip
    assert "Read-only file system" in told
    alone = [{"Type": "bind", "Source": "/dev", "Target": "/d", "ReadOnly": True,
              "BindOptions": {"NonRecursive": True}}]  # fmt: skip
    mounted = output(engine, make, "grep -c ' /d/' /proc/self/mounts || true",
                     HostConfig={"Mounts": alone})  # fmt: skip
    assert mounted == "0\n"


@pytest.mark.parametrize(
    ("word", "seen"), [("rslave", "master:"), ("rprivate", ""), ("rshared", "shared:")]
)
def test_propagation_is_as_asked(
    engine: Engine, make: Make, tmp_path: Path, word: str, seen: str
) -> None:
    """Only a shared mount of the host can be shared or followed: one that does not exist
    leaves the test nothing to see."""
    shared = "shared:" in next(
        line
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[4] == "/"
    )
    told = output(engine, make, "grep ' /p ' /proc/self/mountinfo",
                  HostConfig=bind(f"{tmp_path}:/p:{word}"))  # fmt: skip
    if not seen:
        assert "shared:" not in told
        assert "master:" not in told
    elif shared:
        assert seen in told
