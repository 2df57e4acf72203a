# SPDX-License-Identifier: Apache-2.0
"""Paths in a hostile tree: whatever its links say, nothing outside is reached or made."""

from __future__ import annotations

import errno
import os
import socket
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import KernelCallError
from toolkit.kernel.paths import (
    RESOLVE_NO_SYMLINKS,
    make_dirs_in_root,
    make_file_in_root,
    open_in_root,
    read_small_file_in_root,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_LINKS = 40  # the kernel's MAXSYMLINKS
ESCAPES = [
    "/etc", "../outside", "../../../../../../outside", "/../outside", "sub/../../outside",
    "//outside", "/proc/self/root", "/proc/self/cwd", "/proc/1/root",
]  # fmt: skip


@contextmanager
def _a_tree() -> Iterator[tuple[Path, int]]:
    """Give a root with a canary beside it, and its descriptor."""
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory).resolve()
        (base / "outside").mkdir()
        (base / "outside/canary").write_text("secret")
        root = base / "root"
        root.mkdir()
        root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
        try:
            yield root, root_fd
        finally:
            os.close(root_fd)
            assert sorted(path.name for path in base.iterdir()) == ["outside", "root"]
            assert [path.name for path in (base / "outside").iterdir()] == ["canary"]


@pytest.fixture
def tree() -> Iterator[tuple[Path, int]]:
    with _a_tree() as tree:
        yield tree


def _path_of(fd: int) -> Path:
    path = Path(f"/proc/self/fd/{fd}").readlink()
    os.close(fd)
    return path


@pytest.mark.parametrize("target", ESCAPES)
@pytest.mark.parametrize("asked", ["link", "link/canary", "/link", "sub/../link", "../link"])
def test_a_link_that_leaves_the_root_stays_inside(
    tree: tuple[Path, int], target: str, asked: str
) -> None:
    """Rows S-20, S-24."""
    root, root_fd = tree
    (root / "sub").mkdir()
    (root / "link").symlink_to(target)
    try:
        found = _path_of(open_in_root(root_fd, asked, os.O_PATH))
    except KernelCallError:
        return
    assert found.is_relative_to(root)


@pytest.mark.parametrize("asked", ["..", "/..", "../../..", "sub/../../..", "/"])
def test_above_the_root_is_the_root(tree: tuple[Path, int], asked: str) -> None:
    root, root_fd = tree
    (root / "sub").mkdir()
    assert _path_of(open_in_root(root_fd, asked, os.O_PATH)) == root


def test_a_descriptor_of_ours_is_no_way_out() -> None:
    """Row S-03: magic links are refused, though the tree be the machine's own."""
    root_fd = os.open("/", os.O_PATH)
    try:
        with pytest.raises(KernelCallError) as caught:
            open_in_root(root_fd, f"/proc/self/fd/{root_fd}/etc", os.O_PATH)
        assert caught.value.errno == errno.ELOOP
    finally:
        os.close(root_fd)


@pytest.mark.parametrize("links", [1, MOST_LINKS, MOST_LINKS + 1])
def test_a_chain_of_links_has_an_end(tree: tuple[Path, int], links: int) -> None:
    """Row S-25."""
    root, root_fd = tree
    (root / "0").touch()
    for number in range(1, links + 1):
        (root / str(number)).symlink_to(str(number - 1))
    if links <= MOST_LINKS:
        assert _path_of(open_in_root(root_fd, str(links), os.O_PATH)) == root / "0"
    else:
        with pytest.raises(KernelCallError) as caught:
            open_in_root(root_fd, str(links), os.O_PATH)
        assert caught.value.errno == errno.ELOOP


def test_more_can_be_forbidden_and_descriptors_are_close_on_exec(tree: tuple[Path, int]) -> None:
    root, root_fd = tree
    (root / "link").symlink_to("/")
    with pytest.raises(KernelCallError):
        open_in_root(root_fd, "link", os.O_PATH, resolve=RESOLVE_NO_SYMLINKS)
    fd = open_in_root(root_fd, "link", os.O_PATH)
    assert not os.get_inheritable(fd)
    os.close(fd)


NAMES = ["a", "b", "c"]
SEGMENTS = st.lists(st.sampled_from([*NAMES, *NAMES, "..", "."]), min_size=1, max_size=4)
PATHS = st.builds(
    lambda segments, start: start + "/".join(segments), SEGMENTS, st.sampled_from(["", "/", "../"])
)
TREES = st.lists(st.tuples(SEGMENTS, st.one_of(st.none(), PATHS)), max_size=12)


def _grow(root: Path, entries: list[tuple[list[str], str | None]]) -> None:
    """Make directories (None) and links, wherever nothing is yet and no link is on the way."""
    for segments, target in entries:
        names = [segment for segment in segments if segment in NAMES]
        path = root.joinpath(*names)
        parents = [root.joinpath(*names[:depth]) for depth in range(1, len(names))]
        if any(parent.is_symlink() for parent in parents) or os.path.lexists(path):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if target is None:
            path.mkdir()
        else:
            path.symlink_to(target)


def _resolve(root: Path, asked: str) -> Path | None:
    """Resolve as chroot(2) would: an own, slow oracle. None where there is nothing."""
    todo, at, followed = [*reversed(PurePosixPath(asked).parts)], root, 0
    while todo:
        part = todo.pop()
        if part == "/":
            at = root
        elif part == "..":
            at = at if at == root else at.parent
        elif part != ".":
            here = at / part
            if here.is_symlink():
                followed += 1
                if followed > MOST_LINKS:
                    return None
                todo += reversed(PurePosixPath(here.readlink()).parts)
            elif here.is_dir():
                at = here
            else:
                return None
    return at


@given(TREES, PATHS)
@settings(max_examples=200)
def test_any_tree_is_resolved_as_chroot_would(
    entries: list[tuple[list[str], str | None]], asked: str
) -> None:
    """Row S-25: equal to an oracle, and always within."""
    with _a_tree() as (root, root_fd):
        _grow(root, entries)
        try:
            found = _path_of(open_in_root(root_fd, asked, os.O_PATH))
        except KernelCallError:
            found = None
        assert found is None or found.is_relative_to(root)
        assert found == _resolve(root, asked)


@given(TREES, PATHS)
@settings(max_examples=200)
def test_in_any_tree_directories_are_made_within_or_not_at_all(
    entries: list[tuple[list[str], str | None]], asked: str
) -> None:
    """Row S-24; the tree looks at its canary when it goes."""
    with _a_tree() as (root, root_fd):
        _grow(root, entries)
        try:
            made = _path_of(make_dirs_in_root(root_fd, asked))
        except KernelCallError:
            return
        assert made.is_dir()
        assert made.is_relative_to(root)
        assert made == _resolve(root, asked)


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_directories_have_the_mode_that_was_asked_for(tree: tuple[Path, int], umask: int) -> None:
    root, root_fd = tree
    before = os.umask(umask)
    try:
        os.close(make_dirs_in_root(root_fd, "/a/b//c/", 0o750))
    finally:
        os.umask(before)
    modes = {stat.S_IMODE((root / name).stat().st_mode) for name in ("a", "a/b", "a/b/c")}
    assert modes == {0o750}


def test_what_exists_is_left_as_it_is(tree: tuple[Path, int]) -> None:
    root, root_fd = tree
    (root / "a").mkdir(mode=0o700)
    os.close(make_dirs_in_root(root_fd, "a/b"))
    os.close(make_dirs_in_root(root_fd, "a"))
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o700


def test_a_link_in_place_of_a_new_directory_is_not_followed(
    tree: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row S-21: somebody swaps it between the making and the change of mode."""
    root, root_fd = tree
    canary = root.parent / "outside/canary"
    canary.chmod(0o600)
    mkdir = os.mkdir

    def make_and_swap(name: bytes, mode: int, *, dir_fd: int) -> None:
        mkdir(name, mode, dir_fd=dir_fd)
        os.rmdir(name, dir_fd=dir_fd)
        os.symlink(canary, os.fsdecode(name), dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", make_and_swap)
    with pytest.raises(KernelCallError):
        make_dirs_in_root(root_fd, "new")
    assert stat.S_IMODE(canary.stat().st_mode) == 0o600
    assert (root / "new").is_symlink()


@pytest.mark.parametrize("asked", ["a/b", "a", "link/x"])
def test_what_is_no_directory_is_an_error(tree: tuple[Path, int], asked: str) -> None:
    root, root_fd = tree
    (root / "a").touch()
    (root / "link").symlink_to("a")
    with pytest.raises(KernelCallError) as caught:
        make_dirs_in_root(root_fd, asked)
    assert caught.value.errno == errno.ENOTDIR


def test_a_path_of_many_parts_is_made(tree: tuple[Path, int]) -> None:
    root, root_fd = tree
    os.close(make_dirs_in_root(root_fd, "a/" * 1500))
    for depth in range(1500, 0, -1):  # each is there, and deeper than rmtree would go
        (root / ("a/" * depth)).rmdir()


@pytest.mark.parametrize("asked", ["", "x" * 300, "a/" * 3000, "a/../b", "a/.."])
def test_a_path_that_cannot_be_made_leaves_nothing(tree: tuple[Path, int], asked: str) -> None:
    """Row S-27."""
    root, root_fd = tree
    if asked == "":
        os.close(make_dirs_in_root(root_fd, asked))
    else:
        with pytest.raises(KernelCallError):
            make_dirs_in_root(root_fd, asked)
    assert list(root.iterdir()) == []


@given(TREES, PATHS)
@settings(max_examples=100)
def test_in_any_tree_a_file_is_made_within_or_not_at_all(
    entries: list[tuple[list[str], str | None]], asked: str
) -> None:
    """Row S-24: mount points of files, such as ``/etc/hosts``."""
    with _a_tree() as (root, root_fd):
        _grow(root, entries)
        try:
            made = _path_of(make_file_in_root(root_fd, asked))
        except KernelCallError:
            return
        assert made.is_relative_to(root)


def test_a_file_is_made_once(tree: tuple[Path, int]) -> None:
    root, root_fd = tree
    os.close(make_file_in_root(root_fd, "/etc/hosts"))
    (root / "etc/hosts").write_text("mine")
    os.close(make_file_in_root(root_fd, "/etc/hosts"))
    assert (root / "etc/hosts").read_text() == "mine"


def test_a_small_file_is_read_through_links_of_the_tree(tree: tuple[Path, int]) -> None:
    root, root_fd = tree
    (root / "etc").mkdir()
    (root / "etc/passwd").write_bytes(b"content")
    (root / "link").symlink_to("/etc/passwd")
    assert read_small_file_in_root(root_fd, "link") == b"content"
    assert read_small_file_in_root(root_fd, "link", 3) == b"con"
    (root / "etc/empty").touch()
    assert read_small_file_in_root(root_fd, "etc/empty") == b""


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "socket", "outside", "loop"])
def test_what_is_no_regular_file_is_none_at_once(tree: tuple[Path, int], kind: str) -> None:
    """Row S-06: a FIFO hung 0.7.2 for ever."""
    root, root_fd = tree
    path = root / "passwd"
    with socket.socket(socket.AF_UNIX) as listener:
        match kind:
            case "directory":
                path.mkdir()
            case "fifo":
                os.mkfifo(path)
            case "socket":
                listener.bind(str(path))
            case "outside":
                path.symlink_to("../outside/canary")
            case "loop":
                path.symlink_to("passwd")
        assert read_small_file_in_root(root_fd, "/passwd") is None


def test_a_device_is_none_at_once() -> None:
    """Row S-06: it would give bytes without end."""
    dev_fd = os.open("/dev", os.O_PATH)
    assert read_small_file_in_root(dev_fd, "zero") is None
    os.close(dev_fd)


@pytest.mark.parametrize(
    ("target", "made"),
    [
        ("/new/place", "new/place"),
        ("new/place", "sub/new/place"),
        ("../new", "new"),
        ("../../../../outside/new", "outside/new"),
        ("/sub/second", "third"),
    ],
)
def test_what_a_link_points_to_is_made_inside(
    tree: tuple[Path, int], target: str, made: str
) -> None:
    """Rule 8.20: a volume on a link of the image that leads nowhere yet."""
    root, root_fd = tree
    (root / "sub").mkdir()
    (root / "sub/second").symlink_to("../third")
    (root / "sub/link").symlink_to(target)
    os.close(make_dirs_in_root(root_fd, "/sub/link/x"))
    assert (root / made / "x").is_dir()


def test_a_file_behind_a_dangling_link_is_made_inside(tree: tuple[Path, int]) -> None:
    root, root_fd = tree
    (root / "etc").mkdir()
    (root / "etc/resolv.conf").symlink_to("../run/net/resolv.conf")
    os.close(make_file_in_root(root_fd, "/etc/resolv.conf"))
    assert (root / "run/net/resolv.conf").is_file()


def test_links_to_what_is_not_there_have_an_end(
    tree: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row S-21: a name that always is another dangling link by the time it is looked at."""
    root, root_fd = tree
    (root / "l").symlink_to("gone")
    mkdir, count = os.mkdir, iter(range(1000))

    def swap(name: bytes, mode: int, *, dir_fd: int) -> None:
        if name == b"gone":
            os.symlink(f"gone{next(count)}", b"gone", dir_fd=dir_fd)
        elif name.startswith(b"gone"):
            os.symlink(f"gone{next(count)}", name, dir_fd=dir_fd)
        mkdir(name, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", swap)
    with pytest.raises(KernelCallError) as caught:
        make_dirs_in_root(root_fd, "l")
    assert caught.value.errno == errno.ELOOP
