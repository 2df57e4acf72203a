# SPDX-License-Identifier: Apache-2.0
"""What differs between two directories: the cases of 0.7.2's own tests."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from toolkit.storage.changes import changed_bytes, directory_changes
from toolkit.storage.copies import copy_tree
from toolkit.storage.opened import opened_directories

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """The sample tree of changes_test.go, and its copy."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    for number in range(1, 6):
        (old / f"file{number}").write_text(f"file{number}\n")
    for number in range(1, 4):
        (old / f"dir{number}").mkdir()
        (old / f"dir{number}/file").write_text("content\n")
    (old / "dir1").chmod(0o1700)
    (old / "file2").chmod(0o600)
    (old / "symlink1").symlink_to("target1")
    (old / "symlink2").symlink_to("target2")
    for path in sorted(old.rglob("*")):
        os.utime(path, ns=(0, 10**18), follow_symlinks=False)
    with opened_directories([old, new]) as (old_fd, new_fd):
        copy_tree(old_fd, new_fd)
    return old, new


def changes(trees: tuple[Path, Path]) -> list[str]:
    with opened_directories(trees) as (old_fd, new_fd):
        return [str(change) for change in directory_changes(new_fd, old_fd)]


def test_a_copy_has_no_changes(trees: tuple[Path, Path]) -> None:
    """RT-185."""
    assert changes(trees) == []


def test_every_kind_of_change_is_told(trees: tuple[Path, Path]) -> None:
    """RT-186, rules 9.28 and 9.29."""
    _, new = trees
    shutil.rmtree(new / "dir1")
    (new / "file1").unlink()
    (new / "symlink1").unlink()
    (new / "file2").write_text("more text than before\n")
    (new / "file3").unlink()
    (new / "file3").write_text("file3\n")
    os.utime(new / "file4", ns=(0, 2 * 10**18))
    (new / "file5").unlink()
    (new / "file5").mkdir()
    (new / "filenew").write_text("new")
    (new / "symlink2").unlink()
    (new / "symlink2").symlink_to("target2change")
    (new / "symlinknew").symlink_to("newtarget")
    shutil.rmtree(new / "dir2")
    (new / "dir2").write_text("file now")
    os.utime(new / "dir3", ns=(0, 2 * 10**18))
    (new / "dirnew").mkdir()
    assert changes(trees) == [
        "D /dir1", "C /dir2", "C /dir3", "A /dirnew", "D /file1", "C /file2", "C /file3",
        "C /file4", "C /file5", "A /filenew", "D /symlink1", "C /symlink2", "A /symlinknew",
    ]  # fmt: skip


def test_all_below_a_new_directory_is_added(trees: tuple[Path, Path]) -> None:
    """Rule 9.28."""
    _, new = trees
    (new / "n/m").mkdir(parents=True)
    (new / "n/m/f").write_bytes(bytes(100))
    assert changes(trees) == ["A /n", "A /n/m", "A /n/m/f"]
    with opened_directories(trees) as (old_fd, new_fd):
        assert changed_bytes(directory_changes(new_fd, old_fd)) == 100
