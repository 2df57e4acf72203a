# SPDX-License-Identifier: Apache-2.0
"""A container's tar as files here: nothing is written anywhere else."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from toolkit.cli.copying import Place, split_place
from toolkit.cli.localtree import packed, unpack
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from pathlib import Path


def tar(*members: tuple[str, bytes, str]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = kind, link, 0o6755
            archive.addfile(member)
    out.seek(0)
    return out


def unpacked(content: io.BytesIO, directory: Path, top: str = "d") -> list[str]:
    unpack(iter([content.read()]), str(directory), top, with_owner=False)
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


FILE, DIR, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def test_the_top_gets_its_name_here(tmp_path: Path) -> None:
    members = (("x", DIR, ""), ("x/f", FILE, ""), ("x/l", LINK, "/etc"), ("x/h", HARD, "x/f"))
    assert unpacked(tar(*members), tmp_path) == ["d", "d/f", "d/h", "d/l"]
    assert (tmp_path / "d/f").stat().st_nlink == 2
    assert (tmp_path / "d/f").stat().st_mode & 0o7777 == 0o755


def test_content_alone_goes_into_the_directory(tmp_path: Path) -> None:
    assert unpacked(tar(("./", DIR, ""), ("./f", FILE, "")), tmp_path, "") == ["f"]


@pytest.mark.parametrize(
    "members",
    [
        (("x/../../evil", FILE, ""),),
        (("x", DIR, ""), ("x/l", LINK, ".."), ("x/l/evil", FILE, "")),
        (("x", LINK, "/tmp"), ("x/evil", FILE, "")),  # noqa: S108 - a link's text
        (("x", DIR, ""), ("x/h", HARD, "../canary")),
        (("x", DIR, ""), ("x/l", LINK, ".."), ("x/h", HARD, "x/l/canary")),
    ],
)
def test_nothing_is_written_elsewhere(
    tmp_path: Path, members: tuple[tuple[str, bytes, str], ...]
) -> None:
    """Row S-50, on the client's side: a container's tar is nobody's friend."""
    (tmp_path / "canary").write_text("here")
    (tmp_path / "in").mkdir()
    with pytest.raises(InvalidRequestError):
        unpacked(tar(*members), tmp_path / "in")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary", "in"]
    assert (tmp_path / "canary").stat().st_nlink == 1


def test_a_link_that_stands_there_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("here")
    (tmp_path / "d").symlink_to("canary")
    unpacked(tar(("x", FILE, "")), tmp_path)
    assert (tmp_path / "canary").read_text() == "here"
    assert not (tmp_path / "d").is_symlink()


def test_a_tree_is_packed_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t/f").write_text("x")
    with packed(str(tmp_path / "t"), "n", with_owner=False, follow=False) as stream:
        content = io.BytesIO(stream.read())
    with tarfile.open(fileobj=content) as archive:
        assert [(one.name, one.uid, one.uname) for one in archive] == [("n", 0, ""), ("n/f", 0, "")]


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(InvalidRequestError, match="cannot read"),
        packed(str(tmp_path / "missing"), "n", with_owner=False, follow=False) as stream,
    ):
        stream.read()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("c:/x", Place("c", "/x")),
        ("c:x", Place("c", "x")),
        ("c:", Place("c", "/")),
        ("./a:b", Place("", "./a:b")),
        ("/a:b", Place("", "/a:b")),
        ("-", Place("", "-")),
        ("plain", Place("", "plain")),
    ],
)
def test_a_colon_behind_a_name_means_a_container(text: str, place: Place) -> None:
    assert split_place(text) == place


def test_holes_stay_holes(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("x")
        member.size = 4 * 1024 * 1024
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    out.seek(0)
    unpacked(out, tmp_path)
    status = (tmp_path / "d").stat()
    assert (status.st_size, status.st_blocks * 512 < status.st_size) == (4 * 1024 * 1024, True)
