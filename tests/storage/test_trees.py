# SPDX-License-Identifier: Apache-2.0
"""Walking and removing trees of any shape."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from toolkit.storage.opened import opened_directories
from toolkit.storage.trees import remove_entry, tree_size_bytes, walk_tree

if TYPE_CHECKING:
    from pathlib import Path


def make_deep(base: Path, levels: int) -> None:
    """Make a tree that no path can reach the end of."""
    fd = os.open(base, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("n" * 200, dir_fd=fd)
        below_fd = os.open("n" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below_fd
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)


def test_a_walk_gives_parents_first_and_names_sorted(tmp_path: Path) -> None:
    for name in ("b/y", "b/x", "a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "l").symlink_to("b")
    with opened_directories([tmp_path]) as (root_fd,):
        assert [entry.path for entry in walk_tree(root_fd)] == [
            b"", b"a", b"b", b"l", b"b/x", b"b/y",
        ]  # fmt: skip


def test_a_tree_weighs_each_inode_once(tmp_path: Path) -> None:
    """Rule 9.31."""
    (tmp_path / "a").write_bytes(bytes(1000))
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").write_bytes(bytes(24))
    with opened_directories([tmp_path]) as (root_fd,):
        assert tree_size_bytes(root_fd) == 1024


def test_a_tree_deeper_than_any_path_is_removed(tmp_path: Path) -> None:
    doomed = tmp_path / "doomed"
    doomed.mkdir()
    make_deep(doomed, 1200)
    with opened_directories([tmp_path]) as (parent_fd,):
        remove_entry(parent_fd, b"doomed")
    assert list(tmp_path.iterdir()) == []


def test_removing_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/f").touch()
    (tmp_path / "doomed").mkdir()
    (tmp_path / "doomed/l").symlink_to("../kept")
    (tmp_path / "link").symlink_to("kept")
    with opened_directories([tmp_path]) as (parent_fd,):
        for name in (b"doomed", b"link", b"nothing"):
            remove_entry(parent_fd, name)
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "f"]
