# SPDX-License-Identifier: Apache-2.0
"""The grace period that is waited for ahead: one at a time, and never an error."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from toolkit.kernel import cgroup_grace
from toolkit.kernel.cgroup_tree import CgroupTree

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.kernel.cgroup_tree import Hierarchy


def test_a_second_one_is_not_begun_while_the_first_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, ended = threading.Event(), threading.Event()
    begun: list[int] = []

    def wait() -> None:
        begun.append(1)
        goes_on.wait(10)
        ended.set()

    monkeypatch.setattr(cgroup_grace, "await_grace_period", wait)
    grace = cgroup_grace.GracePeriod()
    grace.begin()
    grace.begin()
    goes_on.set()
    assert ended.wait(10)
    assert len(begun) == 1


@pytest.mark.parametrize(
    ("own", "mountinfo", "written"),
    [
        (
            "4:memory:/a/b\n0::/\n",
            "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
            "sys/fs/cgroup/memory/a/b/cgroup.procs",
        ),
        (
            "0::/u\n",
            "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
            "sys/fs/cgroup/u/cgroup.procs",
        ),
    ],
    ids=["v1", "v2"],
)
def test_this_process_is_written_where_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: str, mountinfo: str, written: str
) -> None:
    place = tmp_path / written
    place.parent.mkdir(parents=True)
    place.write_text("")
    for name, text in (("_SELF", own), ("_MOUNTS", mountinfo)):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(cgroup_grace, name, str(tmp_path / name))

    def rooted(hierarchy: Hierarchy) -> CgroupTree:
        return CgroupTree(hierarchy, str(tmp_path))

    monkeypatch.setattr(cgroup_grace, "CgroupTree", rooted)
    cgroup_grace.await_grace_period()
    assert place.read_text() == str(os.getpid())


def test_a_host_that_refuses_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cgroup_grace, "_SELF", str(tmp_path / "none"))
    cgroup_grace.await_grace_period()  # raises nothing
    assert not list(tmp_path.iterdir())
