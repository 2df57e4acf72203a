# SPDX-License-Identifier: Apache-2.0
"""A container's files from outside: diff, export, commit, cp, with both states and both ways."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.images_volumes.asking import (
    archive,
    changes,
    commit,
    exported,
    got,
    logs,
    output,
    put,
    run,
    wait_for,
)
from toolkit.client import ApiError

if TYPE_CHECKING:
    from integration.conftest import Engine
    from integration.images_volumes.asking import Make


def test_diff_tells_what_was_deleted_and_a_commit_takes_it_over(engine: Engine, make: Make) -> None:
    """API-009, RT-155, RT-161: nothing before a run, a D after it, nothing in the next image."""
    first = make("rm /etc/passwd", start=False)
    assert changes(engine, first) == []
    run(engine, first)
    assert "D /etc/passwd" in changes(engine, first)
    image = commit(engine, first)
    try:
        second = make("ls /etc", image=image)
        assert not [line for line in changes(engine, second) if "passwd" in line]
        assert "passwd" not in logs(engine, second).decode().split()
        engine.client.containers.remove(second, force=True)
    finally:
        engine.client.images.remove(image, force=True)


def test_diff_and_export_of_a_running_container(engine: Engine, make: Make) -> None:
    running = make("echo now > /fresh; sleep 600", Volumes={"/vol": {}})
    wait_for(lambda: "A /fresh" in changes(engine, running))
    with exported(engine, running) as tar:
        names = tar.getnames()
        assert {"./fresh", "./vol", "./proc", "./bin"} <= set(names)
        assert not [name for name in names if name.startswith(("./proc/", "./sys/", "./vol/"))]


def test_export_of_a_stopped_container(engine: Engine, make: Make) -> None:
    """API-008, RT-160."""
    before = _own_mounts(engine)
    with exported(engine, make("touch /test; rm -r /tmp")) as tar:
        assert "./test" in tar.getnames()
        assert "./tmp" not in tar.getnames()
    assert _own_mounts(engine) == before


def test_a_committed_image_runs_what_it_was_given(engine: Engine, make: Make) -> None:
    """RT-156, RT-157."""
    source = make("echo hello > /world")
    given = commit(engine, source, {"Cmd": ["cat", "/world"]})
    plain = commit(engine, source)
    try:
        assert output(engine, make, "", image=given) == "hello\n"
        assert output(engine, make, "cat /world", image=plain) == "hello\n"
        inherited = engine.client.images.inspect(plain)["Config"]
        assert inherited["Cmd"] == ["sh", "-c", "echo hello > /world"]
    finally:
        for image in (given, plain):
            for one in engine.client.containers.list(every=True, filters={"ancestor": [image]}):
                engine.client.containers.remove(one["Id"], force=True)
            engine.client.images.remove(image, force=True)


def test_commit_names_comments_and_changes(engine: Engine, make: Make) -> None:
    """API-030, RT-158, RT-159: also of a container that never ran."""
    source = make("true", start=False)
    name = f"test{uuid.uuid4().hex[:8]}"
    image = commit(
        engine, source, repo=name, tag="testtag", comment="why", author="who",
        changes=["ENV A=b", "LABEL l=m", 'CMD ["id"]'],
    )  # fmt: skip
    try:
        told = engine.client.images.inspect(f"{name}:testtag")
        assert (told["Id"], told["Author"], told["Comment"]) == (image, "who", "why")
        assert "A=b" in told["Config"]["Env"]
        assert told["Config"]["Cmd"] == ["id"]
        assert told["Config"]["Labels"]["l"] == "m"
        history = engine.client.request("GET", f"/images/{name}:testtag/history").json()
        assert history[0]["Comment"] == "why"
        assert max(step["Size"] for step in history) > 100_000
    finally:
        engine.client.images.remove(image, force=True)


def test_a_running_container_is_frozen_for_a_commit_and_goes_on(engine: Engine, make: Make) -> None:
    running = make("i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.01; done")
    image = commit(engine, running)
    try:
        state = engine.client.containers.inspect(running)["State"]
        assert state["Status"] == "running"
        assert state["Running"]
        before = got(engine, running, "/count")[1].getmember("count").mtime
        wait_for(lambda: got(engine, running, "/count")[1].getmember("count").mtime > before)
    finally:
        engine.client.images.remove(image, force=True)


@pytest.mark.parametrize(
    "script", ["mkdir /d; echo one > /d/f", "mkdir /d; echo one > /d/f; sleep 600"]
)
def test_copy_out_and_in(engine: Engine, make: Make, script: str) -> None:
    """API-026, RT-162: stopped and running."""
    container = make(script)
    wait_for(lambda: "A /d/f" in changes(engine, container))
    told, tar = got(engine, container, "/d/f")
    assert (told["name"], told["size"], told["mode"] & 0o777) == ("f", 4, 0o644)
    assert tar.getnames() == ["f"]
    assert got(engine, container, "/d")[0]["mode"] & (1 << 31)
    assert got(engine, container, "/d/.")[1].getnames() == [".", "./f"]
    put(engine, container, "/d", archive(**{"sub/g": b"two", "f": b"three"}))
    assert got(engine, container, "/d")[1].getnames() == ["d", "d/f", "d/sub", "d/sub/g"]
    assert got(engine, container, "/d/f")[0]["size"] == 5
    with pytest.raises(ApiError, match="f") as refused:
        put(engine, container, "/d/f", archive(x=b""))
    assert refused.value.status == 400
    for path in ("/missing", "/d/missing/deeper"):
        with pytest.raises(ApiError) as missing:
            put(engine, container, path, archive(x=b""))
        assert missing.value.status == 404


@pytest.mark.parametrize("tail", ["", "; sleep 600"])
def test_copy_never_follows_a_link_to_the_host(
    engine: Engine, make: Make, tmp_path: Path, tail: str
) -> None:
    """S-60: ``/evil -> <host>`` is a path in the container, both ways."""
    canary = tmp_path / "canary"
    canary.write_text("host")
    container = make(f"ln -s {tmp_path} /evil; ln -s /proc/1/root/etc /magic{tail}")
    wait_for(lambda: "A /magic" in changes(engine, container))
    with pytest.raises(ApiError) as refused:
        got(engine, container, "/evil/canary")
    assert refused.value.status == 404
    with pytest.raises(ApiError):
        put(engine, container, "/evil", archive(canary=b"container"))
    assert canary.read_text() == "host"
    told, _ = got(engine, container, "/evil")
    assert told["linkTarget"] == str(tmp_path)
    assert told["mode"] & (1 << 27)


def test_copies_see_volumes(engine: Engine, make: Make, tmp_path: Path) -> None:
    """Also of a container that never ran (moby mounts them, too)."""
    (tmp_path / "seen").write_text("host")
    binds = [f"{tmp_path}:/bound", f"{tmp_path}:/locked:ro"]
    for container in (
        make("true", start=False, HostConfig={"Binds": binds}),
        make("sleep 600", HostConfig={"Binds": binds}),
    ):
        assert got(engine, container, "/bound/seen")[1].getnames() == ["seen"]
        name = uuid.uuid4().hex
        put(engine, container, "/bound", archive(**{name: b"x"}))
        assert (tmp_path / name).read_bytes() == b"x"
        with pytest.raises(ApiError) as refused:
            put(engine, container, "/locked", archive(other=b"x"))
        assert refused.value.status == 403
    assert not (tmp_path / "other").exists()


def test_a_read_only_root_takes_no_copies_but_its_volumes_do(engine: Engine, make: Make) -> None:
    for script, start in (("true", False), ("sleep 600", True)):
        container = make(
            script, start=start, Volumes={"/vol": {}}, HostConfig={"ReadonlyRootfs": True}
        )
        with pytest.raises(ApiError) as refused:
            put(engine, container, "/home", archive(x=b"x"))
        assert refused.value.status == 403
        put(engine, container, "/vol", archive(x=b"x"))
        assert got(engine, container, "/vol")[1].getnames() == ["vol", "vol/x"]


def test_a_directory_is_not_overwritten_where_that_was_asked(engine: Engine, make: Make) -> None:
    container = make("mkdir /d; echo f > /f")
    for tar in (archive(d=b"file"), archive(**{"f/below": b""})):
        with pytest.raises(ApiError) as refused:
            put(engine, container, "/", tar, noOverwriteDirNonDir="true")
        assert refused.value.status == 400
    assert got(engine, container, "/d")[0]["mode"] & (1 << 31)


def test_copied_files_may_be_given_to_the_containers_user(engine: Engine, make: Make) -> None:
    container = make("true", User="nobody")
    put(engine, container, "/home", archive(mine=b""), copyUIDGID="true")
    member = got(engine, container, "/home/mine")[1].getmember("mine")
    assert member.uid == 65534


def test_races_of_the_container_never_reach_the_host(
    engine: Engine, make: Make, tmp_path: Path
) -> None:
    """S-61, S-62: a path that is a directory, then a link to the host, all the time."""
    canary = tmp_path / "target"
    canary.mkdir()
    (canary / "f").write_text("host")
    racer = (
        f"mkdir -p /r/dir /r{tmp_path}; ln -s {canary} /r/link; echo c > /r/dir/f; "
        "while :; do mv /r/dir /r/x 2>/dev/null; mv -T /r/link /r/dir; mv -T /r/dir /r/link; "
        "mv -T /r/x /r/dir; sleep 0; done"
    )
    container = make(racer + " # sleep")
    mounts = _own_mounts(engine)
    for number in range(60):
        for act in (
            lambda: got(engine, container, "/r/dir/f")[1].extractfile("f").read(),  # type: ignore[union-attr]  # a file
            lambda: put(engine, container, "/r/dir", archive(f=b"changed")),
        ):
            try:
                seen = act()
            except (ApiError, KeyError):
                continue
            assert seen != b"host", number
    assert (canary / "f").read_text() == "host"
    assert [path.name for path in canary.iterdir()] == ["f"]
    assert _own_mounts(engine) == mounts


def _own_mounts(engine: Engine) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if engine.instance.name in line]
