# SPDX-License-Identifier: Apache-2.0
"""Where a path leads in a tree that nobody vouches for."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import InvalidRequestError, KernelCallError
from toolkit.kernel.paths import open_in_root
from toolkit.storage.opened import opened_directories
from toolkit.storage.places import (
    NotADirectoryInRootError,
    PathNotFoundError,
    cleaned_path,
    found_place,
    resolve_in_scope,
)


@pytest.fixture
def scope(tmp_path: Path) -> Path:
    """The tree of rule 8.17; the scope is ``testdata``."""
    root = tmp_path / "testdata"
    for directory in ("fs/a", "fs/b"):
        (root / directory).mkdir(parents=True)
    for name, target in (
        ("fs/a/d", "/b"),
        ("fs/a/e", "../b"),
        ("fs/a/f", "../../../../test"),
        ("fs/b/h", "../g"),
        ("fs/g", "../" * 12 + "root"),
        ("loop", "loop"),
        ("data", "store"),
        ("store", "fs"),
    ):
        (root / name).symlink_to(target)
    return root


def resolved(root: Path, path: str) -> str:
    with opened_directories([root]) as (root_fd,):
        return os.fsdecode(resolve_in_scope(root_fd, path.encode()))


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("fs/a/d/c/data", "b/c/data"),
        ("fs/a/d", "b"),
        ("fs/a/e/c/data", "fs/b/c/data"),
        ("fs/a/f", "test"),
        ("fs/b/h", "root"),
        ("data/a", "fs/a"),
    ],
)
def test_links_lead_to_places_inside(scope: Path, path: str, leads_to: str) -> None:
    """RT-150, RT-152, RT-153, RT-154; D-15 in the last one."""
    assert resolved(scope, path) == leads_to


def test_a_path_that_leaves_stays_at_the_root(scope: Path) -> None:
    """RT-151: what 0.7.2 refused by its text cannot even be said: every path is inside."""
    assert resolved(scope, "../../toto") == "toto"


def test_links_without_an_end_are_an_error(scope: Path) -> None:
    """S-25."""
    with pytest.raises(KernelCallError, match="symbolic links"):
        resolved(scope, "loop")


NAMES = st.sampled_from(["a", "b", "c", "d"])
TEXTS = st.builds(
    lambda start, parts: start + "/".join(parts),
    st.sampled_from(["", "/", "../", "./"]),
    st.lists(st.sampled_from(["a", "b", "c", "..", "."]), min_size=1, max_size=4),
)


@settings(max_examples=60)
@given(st.lists(st.tuples(NAMES, NAMES, st.none() | TEXTS), max_size=10), TEXTS)
def test_the_kernel_agrees(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[str, str, str | None]], path: str
) -> None:
    """S-25: any tree of links, with openat2(RESOLVE_IN_ROOT) as the oracle."""
    root = tmp_path_factory.mktemp("root")
    for directory, name, link in made:
        place = root / directory
        if not place.is_symlink():
            place.mkdir(exist_ok=True)
            entry = place / name
            if link is not None and not os.path.lexists(entry):
                entry.symlink_to(link)
    with opened_directories([root]) as (root_fd,):
        try:
            opened = open_in_root(root_fd, path, os.O_PATH)
        except KernelCallError:
            return
        try:
            real = str(Path(f"/proc/self/fd/{opened}").readlink())
        finally:
            os.close(opened)
        found = resolve_in_scope(root_fd, path.encode())
        assert os.path.join(os.path.realpath(root), os.fsdecode(found)).rstrip("/") == real  # noqa: PTH118 - texts


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("/a/b", (b"a/b", False)),
        ("a/../b/", (b"b", True)),
        ("/a/.", (b"a", True)),
        ("/", (b"", False)),
        ("/../..", (b"", False)),
    ],
)
def test_a_path_is_cleaned_as_docker_does(path: str, clean: tuple[bytes, bool]) -> None:
    assert cleaned_path(path) == clean


@pytest.mark.parametrize("path", ["", "a\0b", "x" * 5000])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(InvalidRequestError):
        cleaned_path(path)


def packed(root: Path, path: str) -> list[str]:
    out = io.BytesIO()
    with opened_directories([root]) as (root_fd,), found_place(root_fd, path) as place:
        place.pack(out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        return archive.getnames()


def test_an_archive_begins_with_the_places_name(tmp_path: Path) -> None:
    """RT-162, rule 9.46; with a dot at the end its content alone (api-and-cli 1.9)."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").touch()
    (tmp_path / "l").symlink_to("d")
    assert packed(tmp_path, "/d") == ["d", "d/f"]
    assert packed(tmp_path, "/d/f") == ["f"]
    assert packed(tmp_path, "/d/.") == [".", "./f"]
    assert packed(tmp_path, "/l") == ["l"]
    assert packed(tmp_path, "/l/") == [".", "./f"]


def test_a_link_is_told_with_where_it_leads(tmp_path: Path) -> None:
    """S-60: never outside."""
    (tmp_path / "evil").symlink_to("/etc")
    with opened_directories([tmp_path]) as (root_fd,):
        with found_place(root_fd, "/evil") as place:
            assert place.link_target == "/etc"
        with pytest.raises(PathNotFoundError), found_place(root_fd, "/evil/hostname"):
            pass


def test_what_is_not_there_and_what_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with opened_directories([tmp_path]) as (root_fd,):
        for path in ("/missing", "/f/below"):
            with pytest.raises(PathNotFoundError), found_place(root_fd, path):
                pass
        with pytest.raises(NotADirectoryInRootError), found_place(root_fd, "/f/"):
            pass


def test_a_socket_is_refused_by_name_and_a_fifo_does_not_hang(tmp_path: Path) -> None:
    """S-63."""
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
    assert packed(tmp_path, "/fifo") == ["fifo"]
    with pytest.raises(InvalidRequestError, match="sock"):
        packed(tmp_path, "/sock")


def test_a_file_of_holes_is_small_in_an_archive(tmp_path: Path) -> None:
    """S-63: a terabyte of nothing."""
    with (tmp_path / "big").open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 30)
        file.write(b"here")
    out = io.BytesIO()
    with opened_directories([tmp_path]) as (root_fd,), found_place(root_fd, "/big") as place:
        place.pack(out)
    assert len(out.getvalue()) < 64 * 1024
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        member = archive.getmember("big")
        assert (member.size, member.issparse()) == (1 << 40, True)
        content = archive.extractfile(member)
        assert content is not None
        content.seek(1 << 30)
        assert content.read(5) == b"here\0"
