# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from tests.fakes.cgroupfs import HYBRID_MOUNTS
from toolkit.errors import CgroupError
from toolkit.kernel.cgroup_tree import CgroupTree, Hierarchy, parse_hierarchies

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = Hierarchy(mount_point="/cg", is_v2=True)


@pytest.fixture
def tree(tmp_path: Path) -> CgroupTree:
    (tmp_path / "cg" / "a" / "b" / "c").mkdir(parents=True)
    return CgroupTree(PLAIN, str(tmp_path))


def test_hierarchies_are_read_from_mountinfo() -> None:
    found = {hierarchy.mount_point: hierarchy for hierarchy in parse_hierarchies(HYBRID_MOUNTS)}
    assert found["/sys/fs/cgroup/cpu,cpuacct"].controllers == {"cpu", "cpuacct"}
    assert found["/sys/fs/cgroup/cpuset"].controllers == {"cpuset"}
    assert found["/sys/fs/cgroup/systemd"].name == "systemd"
    assert found["/sys/fs/cgroup/systemd"].controllers == frozenset()
    assert found["/sys/fs/cgroup/unified"].is_v2
    assert len(found) == 9


def test_of_two_mounts_the_one_at_the_usual_place_counts() -> None:
    text = (
        "1 0 0:1 / /run/old rw - cgroup cgroup rw,pids\n"
        "2 0 0:1 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
    )
    (found,) = parse_hierarchies(text)
    assert found.mount_point == "/sys/fs/cgroup/pids"


def test_a_mount_that_another_covers_does_not_count() -> None:
    text = (
        "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
        "2 1 0:2 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    )
    assert parse_hierarchies(text) == []


def test_a_place_with_a_space_is_unescaped() -> None:
    (found,) = parse_hierarchies("1 0 0:1 / /mnt/my\\040groups rw - cgroup2 none rw\n")
    assert found.mount_point == "/mnt/my groups"


def test_a_mount_that_is_not_a_cgroup_file_system_is_refused(tmp_path: Path) -> None:
    """Row S-23: the magic of the file system is asked for."""
    with pytest.raises(CgroupError, match="not a cgroup file"):
        CgroupTree(Hierarchy(mount_point=str(tmp_path), is_v2=True))


def test_a_write_through_a_link_is_refused(tree: CgroupTree, tmp_path: Path) -> None:
    """Row S-23."""
    (tmp_path / "canary").write_text("")
    (tmp_path / "cg" / "link").symlink_to(tmp_path / "canary")
    with pytest.raises(CgroupError) as caught:
        tree.write("link", 1)
    assert caught.value.errno == errno.ELOOP
    assert (tmp_path / "canary").read_text() == ""


def test_an_error_names_the_file_and_the_value(tree: CgroupTree) -> None:
    with pytest.raises(CgroupError, match=r"'2048' to .*/cg/a/pids.max: No such file") as caught:
        tree.write("a/pids.max", 2048)
    assert caught.value.errno == errno.ENOENT


def test_a_missing_file_reads_as_none(tree: CgroupTree) -> None:
    assert tree.read("a/memory.max") is None
    assert tree.open_file("a/memory.max") == -1


def test_descendants_come_deepest_first(tree: CgroupTree) -> None:
    assert tree.descendants("a") == ["a/b/c", "a/b"]
    assert tree.descendants("nothing") == []


def test_a_group_is_made_once(tree: CgroupTree) -> None:
    assert tree.make("new")
    assert not tree.make("new")


def test_a_group_that_is_held_is_not_removed(tree: CgroupTree) -> None:
    assert not tree.remove_one("a/b")
    assert tree.remove_one("a/b/c")
    assert tree.remove_one("a/b/c")


def test_close_can_be_repeated(tree: CgroupTree) -> None:
    tree.close()
    tree.close()
