# SPDX-License-Identifier: Apache-2.0
"""The leak check itself: what it must see is put there, and is seen."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from integration.leaks import Ledger, leaks_after
from toolkit.vm.doctor import cgroup_mounts
from toolkit.vm.leftovers import Leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.conftest import Engine


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def leaks(engine: Engine, before: Ledger) -> list[str]:
    return engine.ledger().leaked_since(before)


def a_cgroup_dir(engine: Engine, mountinfo: Path) -> Path:
    place = next(place for _, place, _ in cgroup_mounts(mountinfo.read_text()))
    return place / engine.instance.cgroup_parent / "leaked"


def test_a_file_is_seen(engine: Engine, undo: ExitStack) -> None:
    before = engine.ledger()
    path = engine.data_dir / "leaked"
    path.write_text("")
    undo.callback(path.unlink)
    assert leaks(engine, before) == [f"files: {path}"]


def test_a_mount_is_seen(engine: Engine, undo: ExitStack) -> None:
    before = engine.ledger()
    place = engine.instance.run_dir / "leaked"
    place.mkdir()
    undo.callback(place.rmdir)
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    undo.callback(subprocess.check_call, ["umount", place])
    assert {leak.split(":")[0] for leak in leaks(engine, before)} == {"files", "mounts"}


def test_a_control_group_and_the_process_in_it_are_seen(engine: Engine, undo: ExitStack) -> None:
    before = engine.ledger()
    group = a_cgroup_dir(engine, Leftovers(engine.instance).mountinfo)
    group.mkdir(parents=True)
    undo.callback(group.rmdir)
    sleeper = subprocess.Popen(["sleep", "60"])
    undo.callback(sleeper.wait)
    undo.callback(sleeper.kill)
    assert {leak.split(":")[0] for leak in leaks(engine, before)} == {"cgroups"}
    if "cpuset" not in str(group):  # a cpuset without cpus takes no process
        (group / "cgroup.procs").write_text(str(sleeper.pid))
        assert any(f"processes: {sleeper.pid} sleep" in leak for leak in leaks(engine, before))


def test_a_link_is_seen(engine: Engine, undo: ExitStack) -> None:
    before = engine.ledger()
    name = f"{engine.instance.name}-x"
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    undo.callback(subprocess.check_call, ["ip", "link", "del", name])
    assert leaks(engine, before) == [f"links: {name}"]


def test_what_goes_away_in_time_is_no_leak(engine: Engine) -> None:
    before = engine.ledger()
    path = engine.data_dir / "passing"
    path.write_text("")
    looks = 0

    def look() -> Ledger:
        nonlocal looks
        looks += 1
        if looks == 3:
            path.unlink()
        return engine.ledger()

    assert leaks_after(before, look, list) == []
    assert looks == 3


def test_two_hundred_lives_leave_nothing(engine: Engine, busybox: str) -> None:
    """The leak check after this test is the assertion; here each life has to end well."""
    wish = {"Image": busybox, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}
    containers = engine.client.containers
    codes = []
    for _ in range(200):
        container = containers.create(wish).id
        containers.start(container)
        codes.append(containers.wait(container).result().exit_code)
        containers.remove(container)
    assert codes == [0] * 200
    assert containers.list(every=True) == []
