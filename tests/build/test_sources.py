# SPDX-License-Identifier: Apache-2.0
"""Sources of COPY and ADD in a tree that nobody vouches for."""

from __future__ import annotations

import os
import shutil
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from toolkit.build.sources import (
    DirectoryTree,
    ForbiddenPathError,
    Source,
    SourceMissingError,
    find_sources,
)
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A context, and a file outside it that links in it point to."""
    (tmp_path / "outside").write_text("secret")
    root = tmp_path / "context"
    (root / "d/e").mkdir(parents=True)
    for name, text in (("f", "hello"), ("g.c", "1"), ("d/h.c", "2"), ("d/e/i.c", "3")):
        (root / name).write_text(text)
    return root


def found(tree: Path, *paths: str) -> list[Source]:
    return find_sources(DirectoryTree(tree), paths, word="COPY")


def test_files_directories_and_patterns_are_found(tree: Path) -> None:
    assert [(one.path, one.is_directory) for one in found(tree, "f", "./d/", "*.c", "*/*.c")] == [
        (b"f", False),
        (b"d", True),
        (b"g.c", False),
        (b"d/h.c", False),
    ]
    assert found(tree, ".")[0].path == b""
    assert found(tree, "d/../f")[0].path == b"f"


@pytest.mark.parametrize("path", ["../outside", "..", "d/../../outside", "/../outside", "../../"])
def test_a_path_that_leads_out_is_forbidden(tree: Path, path: str) -> None:
    """API-065."""
    with pytest.raises(ForbiddenPathError, match="Forbidden path outside the build context"):
        found(tree, path)


@pytest.mark.parametrize("target", ["../outside", "/outside", "{out}", "d/../../outside"])
def test_a_link_that_leads_out_leads_nowhere(tree: Path, tmp_path: Path, target: str) -> None:
    """S-64; the controls: by its joined path it is the host's file; a link inside is followed."""
    (tree / "link").symlink_to(target.format(out=tmp_path / "outside"))
    (tree / "inside").symlink_to("/d/../f")
    if target in {"../outside", "{out}"}:
        assert (tree / "link").read_text() == "secret"
    with pytest.raises(SourceMissingError, match="link"):
        found(tree, "link")
    assert found(tree, "inside")[0].path == b"f"
    (tree / "up").symlink_to("../..")
    assert found(tree, "up/f")[0].path == b"f"


@pytest.mark.parametrize("path", ["foo", "f/x", "d/none"])
def test_what_is_not_there_is_named(tree: Path, path: str) -> None:
    """API-066."""
    with pytest.raises(SourceMissingError, match=path):
        found(tree, path)


@pytest.mark.parametrize("path", ["*.none", "[", "d/[b-a]"])
def test_a_pattern_that_fits_nothing_or_is_none_is_refused(tree: Path, path: str) -> None:
    with pytest.raises(InvalidRequestError, match="COPY failed"):
        found(tree, path)


def test_a_fifo_is_neither_read_nor_waited_for(tree: Path) -> None:
    os.mkfifo(tree / "d/fifo")
    assert len(found(tree, "d", "d/fifo")) == 2


def test_a_name_that_means_a_removed_file_is_refused(tree: Path) -> None:
    (tree / "d/.wh.etc").touch()
    with pytest.raises(InvalidRequestError, match=r"\.wh\."):
        found(tree, "d")


def test_the_digest_is_of_what_is_there_and_not_of_when_or_whose(tree: Path) -> None:
    before = found(tree, "d")[0].digest
    os.utime(tree / "d/h.c", (1, 1))
    assert found(tree, "d")[0].digest == before
    seen = {before}
    for change in (
        lambda: (tree / "d/h.c").write_text("9"),
        lambda: (tree / "d/h.c").chmod(0o711),
        lambda: (tree / "d/h.c").rename(tree / "d/j.c"),
        lambda: (tree / "d/k").symlink_to("j.c"),
        lambda: os.setxattr(tree / "d/j.c", "user.a", b"b"),
        lambda: shutil.rmtree(tree / "d/e"),
    ):
        change()
        seen.add(found(tree, "d")[0].digest)
    assert len(seen) == 7


def test_archives_are_told_from_files(tree: Path) -> None:
    for mode in ("w", "w:gz", "w:xz", "w:bz2"):
        with tarfile.open(tree / "a", mode) as archive:
            archive.add(tree / "f", "f")
        (one,) = found(tree, "a")
        assert not one.is_archive()
        assert replace(one, unpacks=True).is_archive()
    for content in (b"", b"text", b"\x1f\x8b garbage", bytes(2048)):
        (tree / "a").write_bytes(content)
        (one,) = found(tree, "a")
        assert not replace(one, unpacks=True).is_archive()
