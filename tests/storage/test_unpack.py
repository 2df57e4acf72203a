# SPDX-License-Identifier: Apache-2.0
"""Unpacking without root: what archives mean, and the table of hostile ones."""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.storage.archives import archive, directory, hard_link, member, symlink
from tests.storage.hostile import GREEDY, HOSTILE, REFUSED, WHITEOUTS, Members, located
from toolkit.errors import StorageError, UnsafeArchiveError
from toolkit.storage.limits import ArchiveLimits
from toolkit.storage.names import Whiteouts
from toolkit.storage.opened import opened_directories
from toolkit.storage.trees import remove_entry
from toolkit.storage.unpack import Unpacked, unpack_tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root to unpack into; the canary lives beside it."""
    (tmp_path / "root").mkdir()
    canary = tmp_path / "canary"
    (canary / "d").mkdir(parents=True)
    (canary / "f").write_text("untouched")
    (canary / "link").symlink_to("f")
    return tmp_path / "root"


def unpack(root: Path, content: io.BytesIO | bytes, **options: Any) -> Unpacked:
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return unpack_tree(source, root_fd, with_owner=False, **options)
    finally:
        os.close(root_fd)


def names_in(directory_: Path) -> list[str]:
    return sorted(path.name for path in directory_.iterdir())


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def snapshot(directory_: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in [directory_, *sorted(directory_.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path)] = (status.st_mode, status.st_mtime_ns, status.st_nlink, content)
    return found


@pytest.mark.parametrize(("_what", "members", "outcome"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_nothing_outside_the_root_is_touched(
    root: Path, _what: str, members: Members, outcome: str
) -> None:
    """Row S-50: refused by name, or made inside the root."""
    canary = root.parent / "canary"
    before = snapshot(canary)
    source = located(members, canary)
    if outcome == REFUSED:
        with pytest.raises(UnsafeArchiveError) as refused:
            unpack(root, source)
        assert refused.value.member
    else:
        unpack(root, source)
    assert snapshot(canary) == before
    assert sorted(path.name for path in root.parent.iterdir()) == ["canary", "root"]


@pytest.mark.parametrize(
    ("_what", "members", "outcome"), WHITEOUTS, ids=[row[0] for row in WHITEOUTS]
)
def test_only_what_is_in_its_directory_is_whited_out(
    root: Path, _what: str, members: Members, outcome: str
) -> None:
    """Row S-51."""
    canary = root.parent / "canary"
    before = snapshot(canary)
    source = located(members, canary)
    if outcome == REFUSED:
        with pytest.raises(UnsafeArchiveError):
            unpack(root, source, whiteouts=Whiteouts.KEEP)
    else:
        unpack(root, source, whiteouts=Whiteouts.KEEP)
    assert snapshot(canary) == before


@pytest.mark.parametrize(("_what", "content"), GREEDY, ids=[row[0] for row in GREEDY])
def test_what_asks_for_too_much_is_refused_at_once(root: Path, _what: str, content: bytes) -> None:
    """Row S-56."""
    with pytest.raises(UnsafeArchiveError):
        unpack(root, content)


def test_a_member_that_is_swapped_for_a_link_does_not_lead_out(root: Path) -> None:
    """Row S-50: open directories are forgotten when what they stood on is replaced."""
    source = archive(
        directory("a"), directory("b"), member("a/x", b"1"),
        symlink("a", "b"), member("a/y", b"2"),
    )  # fmt: skip
    unpack(root, source)
    assert (root / "b" / "y").read_bytes() == b"2"
    assert (root / "a").is_symlink()


def test_names_links_modes_and_times_are_as_in_the_archive(root: Path) -> None:
    unpacked = unpack(
        root,
        archive(
            directory("d", mode=0o750, mtime=1000),
            member("d/f", b"abc", mode=0o4711, pax_headers={"mtime": "99.123456789"}),
            symlink("d/l", "/no/where"),
            hard_link("h", "d/f"),
            member("p", type=tarfile.FIFOTYPE, mode=0o600),
            format=tarfile.PAX_FORMAT,
        ),
    )
    assert (root / "d/f").read_bytes() == b"abc"
    assert stat.S_IMODE((root / "d/f").stat().st_mode) == 0o4711
    assert (root / "d/f").stat().st_mtime_ns == 99_123_456_789
    assert (root / "d").stat().st_mtime_ns == 1000 * 10**9
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o750
    assert (root / "d/l").readlink() == Path("/no/where")
    assert (root / "h").stat().st_ino == (root / "d/f").stat().st_ino
    assert stat.S_ISFIFO((root / "p").stat().st_mode)
    assert (unpacked.size_bytes, unpacked.members) == (3, 5)


def test_names_may_hold_any_byte(root: Path) -> None:
    """Rule 9.32."""
    name = bytes(range(1, 256)).replace(b"/", b"")
    for part in (name[:200], name[200:]):
        unpack(root, archive(member(os.fsdecode(part), b"x"), format=tarfile.GNU_FORMAT))
    assert sorted(os.fsencode(path.name) for path in root.iterdir()) == sorted(
        [name[:200], name[200:]]
    )


def test_missing_directories_are_made(root: Path) -> None:
    unpack(root, archive(member("a/b/c/f", b"x")))
    assert (root / "a/b/c/f").read_bytes() == b"x"
    assert stat.S_IMODE((root / "a/b").stat().st_mode) == 0o755


def test_a_thousand_missing_directories_are_no_recursion(root: Path) -> None:
    """Row S-56."""
    unpack(root, archive(member("a/" * 1500 + "f", b"x"), format=tarfile.GNU_FORMAT))
    assert (root / "a/a/a").is_dir()
    with opened_directories([root]) as (root_fd,):
        remove_entry(root_fd, b"a")  # pytest's own cleaning would recurse


def test_links_of_the_archive_are_followed_inside_the_root(root: Path) -> None:
    unpack(
        root,
        archive(
            directory("usr"),
            directory("usr/lib"),
            symlink("lib", "/usr/lib"),
            member("lib/f", b"x"),
        ),
    )
    assert (root / "usr/lib/f").read_bytes() == b"x"


def test_later_members_replace_earlier_ones(root: Path) -> None:
    """Rules 9.36 and 9.41: directories merge; anything else gives way, a full directory too."""
    first = archive(directory("d"), member("d/a"), directory("e"), member("e/f"), member("f"))
    second = archive(directory("d", mode=0o700), member("e", b"x"), directory("f"))
    unpack(root, first)
    unpack(root, second)
    assert (root / "d/a").exists()
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o700
    assert (root / "e").read_bytes() == b"x"
    assert (root / "f").is_dir()


def test_devices_can_be_refused(root: Path) -> None:
    device = member("dev", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
    with pytest.raises(UnsafeArchiveError, match="not allowed") as refused:
        unpack(root, archive(device), devices=False)
    assert refused.value.member == "dev"


def test_a_whiteout_in_device_form_is_dropped(root: Path) -> None:
    """Row S-33."""
    unpack(root, archive(member("w", type=tarfile.CHRTYPE), member("f")))
    assert names_in(root) == ["f"]


def test_attributes_of_overlayfs_never_arrive(root: Path) -> None:
    """Row S-33; an attribute of a user does."""
    attributes = {
        "SCHILY.xattr.user.kept": "value",
        "SCHILY.xattr.user.overlay.redirect": "/../..",
        "SCHILY.xattr.trusted.overlay.redirect": "/../..",
        "SCHILY.xattr.security.selinux": "x",
    }
    source = archive(member("f", pax_headers=attributes), format=tarfile.PAX_FORMAT)
    unpack(root, source)
    assert set(os.listxattr(root / "f")) <= {"user.kept"}


def test_whiteouts_can_be_kept_as_files(root: Path) -> None:
    """Row S-51: aufs metadata is dropped."""
    source = archive(
        directory("d"), member("d/.wh.f", b"ignored"), member("d/.wh..wh..opq"),
        directory(".wh..wh.plnk"), member(".wh..wh.plnk/1.2", b"x"), member("d/.wh..wh.aufs"),
    )  # fmt: skip
    unpack(root, source, whiteouts=Whiteouts.KEEP)
    found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))
    assert found == ["d", "d/.wh..wh..opq", "d/.wh.f"]
    assert (root / "d/.wh.f").read_bytes() == b""


@pytest.mark.parametrize(
    "name", [".wh.", ".wh..", ".wh...", "d/.wh...", ".wh.../..", ".wh.../../x", ".wh.d/x"]
)
@pytest.mark.parametrize("whiteouts", [Whiteouts.KEEP, Whiteouts.OVERLAY])
def test_whiteouts_of_other_places_are_refused(root: Path, name: str, whiteouts: Whiteouts) -> None:
    """Row S-51."""
    with pytest.raises(UnsafeArchiveError, match="whiteout"):
        unpack(root, archive(member(name)), whiteouts=whiteouts)
    assert names_in(root) == []


def test_a_whiteout_below_a_link_that_leads_out_is_refused(root: Path) -> None:
    """Row S-51."""
    source = archive(symlink("l", "../canary"), member("l/.wh.f"))
    with pytest.raises(UnsafeArchiveError):
        unpack(root, source, whiteouts=Whiteouts.KEEP)
    assert (root.parent / "canary/f").exists()


def test_in_an_archive_that_is_no_layer_a_whiteout_is_a_file(root: Path) -> None:
    unpack(root, archive(member(".wh.f", b"x")))
    assert (root / ".wh.f").read_bytes() == b"x"


def test_limits_hold_before_anything_is_written(root: Path) -> None:
    """Row S-56."""
    limits = ArchiveLimits(unpacked_bytes=1000)
    with pytest.raises(UnsafeArchiveError, match="1000 bytes"):
        unpack(root, archive(member("a", bytes(600)), member("b", bytes(600))), limits=limits)
    assert names_in(root) == ["a"]


def test_directories_that_the_archive_only_implies_count_too(root: Path) -> None:
    """Row S-56: a few short members must not make a million directories."""
    limits = ArchiveLimits(members=20)
    source = archive(*(member(f"{number}/a/b/c/d/e/f") for number in range(10)))
    with pytest.raises(UnsafeArchiveError, match="more than the 20 files"):
        unpack(root, source, limits=limits)


def test_what_follows_the_end_is_part_of_the_digest(root: Path) -> None:
    source = archive(member("f")).getvalue()
    plain, longer = unpack(root, source), unpack(root, source + bytes(10_240))
    assert plain.diff_id != longer.diff_id


def test_a_full_disk_is_not_the_archives_fault(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "")

    monkeypatch.setattr("toolkit.storage.tarreader.os.write", full)
    with pytest.raises(StorageError, match="No space left"):
        unpack(root, archive(member("f", b"abc")))


def test_no_descriptor_is_left_open(root: Path) -> None:
    before = open_descriptors()
    unpack(root, archive(*(member(f"d{number}/f") for number in range(200))))
    with pytest.raises(UnsafeArchiveError):
        unpack(root, archive(member("a/b/f"), member("../x")))
    assert open_descriptors() == before
