# SPDX-License-Identifier: Apache-2.0
"""Packing: the same bytes for the same tree, and a tree that comes back as it was."""

from __future__ import annotations

import io
import os
import shutil
import socket
import stat
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.storage.changes import directory_changes
from toolkit.storage.names import Whiteouts
from toolkit.storage.opened import opened_directories
from toolkit.storage.pack import pack_tree
from toolkit.storage.unpack import unpack_tree

NAMES = st.binary(min_size=1, max_size=120).filter(
    lambda name: not {0, ord("/")} & set(name) and name not in {b".", b".."}
)
TREES = st.recursive(
    st.one_of(
        st.tuples(st.just("file"), st.binary(max_size=2000), st.integers(0, 0o777)),
        st.tuples(
            st.just("link"), st.binary(min_size=1, max_size=150).filter(lambda t: 0 not in t)
        ),
        st.tuples(st.just("fifo"), st.integers(0, 0o777)),
        st.tuples(st.just("again")),
    ),
    lambda below: st.tuples(st.just("dir"), st.dictionaries(NAMES, below, max_size=5)),
    max_leaves=15,
)


def grow(tree: dict[bytes, tuple[object, ...]], at: bytes, files: list[bytes]) -> None:
    """Make a tree of a strategy below the directory *at*."""
    for name, (kind, *facts) in tree.items():
        path = at + b"/" + name
        match kind, facts:
            case "file", [bytes(content), int(mode)]:
                Path(os.fsdecode(path)).write_bytes(content)
                Path(os.fsdecode(path)).chmod(mode | 0o400)
                files.append(path)
            case "link", [bytes(target)]:
                Path(os.fsdecode(path)).symlink_to(os.fsdecode(target))
            case "fifo", [int(mode)]:
                os.mkfifo(path, mode)
            case "again", []:
                if files:
                    os.link(files[-1], path)
            case "dir", [dict(below)]:
                Path(os.fsdecode(path)).mkdir()
                grow(below, path, files)
        if os.path.lexists(path):
            os.utime(path, ns=(0, 1_600_000_000_123_456_789), follow_symlinks=False)


def pack(directory: Path, **options: object) -> bytes:
    out = io.BytesIO()
    with opened_directories([directory]) as (root_fd,):
        pack_tree(root_fd, out, **options)  # type: ignore[arg-type] # passed on by the tests
    return out.getvalue()


def members(content: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        return {info.name: info for info in opened}


@settings(max_examples=60)
@given(st.dictionaries(NAMES, TREES, max_size=6))
def test_a_tree_comes_back_as_it_was(tree: dict[bytes, tuple[object, ...]]) -> None:
    """Row S-50's counterpart: extract(pack(tree)) == tree."""
    base = Path(tempfile.mkdtemp())
    try:
        source, copy = base / "source", base / "copy"
        source.mkdir()
        copy.mkdir()
        grow(tree, os.fsencode(source), [])
        content = pack(source)
        with opened_directories([copy, source]) as (copy_fd, source_fd):
            unpack_tree(io.BytesIO(content), copy_fd)
            assert directory_changes(copy_fd, source_fd) == []
        assert pack(copy) == content
    finally:
        shutil.rmtree(base)


def test_two_trees_made_in_another_order_give_the_same_bytes(tmp_path: Path) -> None:
    for base, names in (("one", "abc"), ("two", "cba")):
        (tmp_path / base).mkdir()
        for name in names:
            (tmp_path / base / name).write_text(name)
            os.utime(tmp_path / base / name, ns=(1, 1))
        os.utime(tmp_path / base, ns=(1, 1))
    assert pack(tmp_path / "one") == pack(tmp_path / "two")


def test_names_begin_as_asked_for(tmp_path: Path) -> None:
    """RT-160: an export has ``./test``."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/test").touch()
    assert set(members(pack(tmp_path))) == {".", "d", "d/test"}
    assert set(members(pack(tmp_path, prefix=b"./"))) == {".", "./d", "./d/test"}


def test_hard_links_are_written_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x" * 1000)
    os.link(tmp_path / "a", tmp_path / "b")
    packed = members(pack(tmp_path, prefix=b"./"))
    assert packed["./b"].islnk()
    assert packed["./b"].linkname == "./a"


def test_sockets_are_left_out_and_fifos_do_not_block(tmp_path: Path) -> None:
    """Row S-63."""
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert set(members(pack(tmp_path))) == {".", "fifo"}


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").touch()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link").symlink_to("../outside")
    assert set(members(pack(tmp_path / "root"))) == {".", "link"}


def test_a_file_that_shrinks_meanwhile_is_filled_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row S-63."""
    (tmp_path / "f").write_bytes(b"12345")
    monkeypatch.setattr("toolkit.storage.pack.os.read", lambda *_: b"")
    assert members(pack(tmp_path))["f"].size == 5


def test_attributes_travel(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    for directory in (source, copy):
        directory.mkdir()
    (source / "f").touch()
    try:
        os.setxattr(source / "f", "user.name", b"\0\xff=\n")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    with opened_directories([copy]) as (copy_fd,):
        unpack_tree(io.BytesIO(pack(source)), copy_fd, whiteouts=Whiteouts.KEEP)
    assert os.getxattr(copy / "f", "user.name") == b"\0\xff=\n"


def test_large_numbers_and_long_names_come_back(tmp_path: Path) -> None:
    name = "n" * 250
    (tmp_path / name).touch()
    os.utime(tmp_path / name, ns=(0, 8**11 * 10**9 + 5))
    info = members(pack(tmp_path))[name]
    assert info.mtime == pytest.approx(8**11)
    assert stat.S_IMODE(info.mode) == stat.S_IMODE((tmp_path / name).stat().st_mode)
