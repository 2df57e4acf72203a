# SPDX-License-Identifier: Apache-2.0
"""Copying trees: holes, hard links, links and times."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from toolkit.storage.copies import copy_tree
from toolkit.storage.opened import opened_directories


def copy(source: Path, target: Path) -> None:
    target.mkdir()
    with opened_directories([source, target]) as (source_fd, target_fd):
        copy_tree(source_fd, target_fd)


def test_hard_links_links_and_fifos_are_copied_and_sockets_are_not(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    (source / "d/f").write_text("x")
    os.link(source / "d/f", source / "d/g")
    (source / "a").symlink_to("/no/where")
    os.mkfifo(source / "fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "s"))
    copy(source, tmp_path / "copy")
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["a", "d", "fifo"]
    assert (tmp_path / "copy/d/f").samefile(tmp_path / "copy/d/g")
    assert (tmp_path / "copy/a").readlink() == Path("/no/where")


def test_holes_stay_holes(tmp_path: Path) -> None:
    """Row S-63."""
    (tmp_path / "source").mkdir()
    with (tmp_path / "source/sparse").open("wb") as file:
        file.seek(10**12)
        file.write(b"end")
        file.truncate(2 * 10**12)
    copy(tmp_path / "source", tmp_path / "copy")
    status = (tmp_path / "copy/sparse").stat()
    assert status.st_size == 2 * 10**12
    assert status.st_blocks < 1000
    with (tmp_path / "copy/sparse").open("rb") as file:
        file.seek(10**12)
        assert file.read(4) == b"end\0"


def test_times_of_directories_survive_their_filling(tmp_path: Path) -> None:
    (tmp_path / "source/d").mkdir(parents=True)
    (tmp_path / "source/d/f").touch()
    for path in ("source/d", "source"):
        os.utime(tmp_path / path, ns=(5, 1_234_567_890_123_456_789))
    copy(tmp_path / "source", tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert (tmp_path / "copy/d").stat().st_mtime_ns == 1_234_567_890_123_456_789
