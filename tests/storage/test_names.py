# SPDX-License-Identifier: Apache-2.0
"""Names of members: cleaned, refused, or read as whiteouts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import UnsafeArchiveError
from toolkit.storage.names import Mark, clean_name, mark_of, printable


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"a/b", b"a/b"),
        (b"/a//b/", b"a/b"),
        (b"./a/./b", b"a/b"),
        (b"a/../b", b"b"),
        (b".", b""),
        (b"/", b""),
        (b"a/..", b""),
        (b"...", b"..."),
        (b"a\\b", b"a\\b"),
    ],
)
def test_names_are_paths_below_the_root(name: bytes, path: bytes) -> None:
    assert clean_name(name) == path


@pytest.mark.parametrize("name", [b"..", b"../x", b"/../x", b"a/../../x", b"a/b/../../../x"])
def test_a_name_that_leaves_the_root_is_refused_by_name(name: bytes) -> None:
    """Row S-50."""
    with pytest.raises(UnsafeArchiveError, match="leads out") as refused:
        clean_name(name)
    assert refused.value.member == printable(name)


def test_a_name_longer_than_a_path_is_refused() -> None:
    """Row S-50: PATH_MAX."""
    with pytest.raises(UnsafeArchiveError, match="longer"):
        clean_name(b"a/" * 2048 + b"b")


@given(st.binary(max_size=60))
def test_a_cleaned_name_never_has_a_part_that_moves(name: bytes) -> None:
    """Row S-50."""
    try:
        path = clean_name(name)
    except UnsafeArchiveError:
        return
    assert not path.startswith(b"/")
    assert not path or not {b"", b".", b".."} & set(path.split(b"/"))
    assert clean_name(path) == path


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        (b"a/b", Mark.PLAIN),
        (b"a.wh.b", Mark.PLAIN),
        (b".wh", Mark.PLAIN),
        (b".wh.a", Mark.WHITEOUT),
        (b"d/.wh.a/", Mark.WHITEOUT),
        (b".wh....", Mark.WHITEOUT),
        (b".wh..wh..opq", Mark.OPAQUE),
        (b"./d/.wh..wh..opq", Mark.OPAQUE),
        (b".wh..wh.plnk", Mark.IGNORED),
        (b".wh..wh.plnk/12.34", Mark.IGNORED),
        (b"d/.wh..wh.aufs", Mark.IGNORED),
        (b".wh..wh.orph/.wh..wh..opq", Mark.IGNORED),
    ],
)
def test_marks_are_told_by_the_last_part(name: bytes, mark: Mark) -> None:
    """Row S-51."""
    assert mark_of(name) is mark


@pytest.mark.parametrize(
    "name",
    [
        b".wh.",
        b".wh..",
        b".wh...",
        b"d/.wh...",
        b".wh.../..",
        b".wh.../../x",
        b".wh.a/b",
        b".wh./x",
    ],
)
def test_a_whiteout_of_nothing_or_of_the_parent_is_refused(name: bytes) -> None:
    """Row S-51."""
    with pytest.raises(UnsafeArchiveError, match="whiteout"):
        mark_of(name)


def test_a_name_is_shown_whatever_its_bytes_and_length() -> None:
    assert printable(b"a\xff") == "a\\xff"
    assert len(printable(b"a" * 10**6)) < 250
