# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import struct
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.bootstrap.busybox import (
    applet_links,
    find_static_busybox,
    is_static_program,
    write_busybox_root,
)
from toolkit.bootstrap.errors import BusyboxMissingError

APPLETS = ["bin/sh", "bin/busybox", "usr/bin/env", "usr/sbin/httpd", "linuxrc", "usr/bin/["]


def elf(*kinds: int) -> bytes:
    """Return a 64-bit program with these program headers."""
    head = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, len(kinds), 0, 0, 0)
    )
    return head + b"".join(struct.pack("<I", kind) + bytes(52) for kind in kinds)


def program(directory: Path, content: bytes) -> Path:
    directory.mkdir(exist_ok=True)
    file = directory / "busybox"
    file.write_bytes(content)
    file.chmod(0o755)
    return file


@pytest.fixture
def root() -> tarfile.TarFile:
    stream = io.BytesIO()
    write_busybox_root(stream, b"program", APPLETS)
    stream.seek(0)
    return tarfile.open(fileobj=stream)


def test_a_static_busybox_is_found_behind_one_that_needs_libraries(tmp_path: Path) -> None:
    program(tmp_path / "a", elf(1, 3))
    static = program(tmp_path / "b", elf(1, 4))
    assert find_static_busybox(f"{tmp_path}/none:{tmp_path}/a:{tmp_path}/b") == static


def test_one_that_needs_libraries_is_refused_with_the_remedy(tmp_path: Path) -> None:
    program(tmp_path, elf(3))
    with pytest.raises(BusyboxMissingError, match="is not static") as caught:
        find_static_busybox(str(tmp_path))
    assert "busybox-static" in caught.value.hint


def test_none_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(BusyboxMissingError, match="no busybox on PATH"):
        find_static_busybox(str(tmp_path))


def test_a_script_is_no_static_program(tmp_path: Path) -> None:
    assert not is_static_program(program(tmp_path, b"#!/bin/sh\n" * 20))
    assert is_static_program(program(tmp_path, elf(1)))


def test_this_interpreter_tells_whether_it_has_an_interpreter() -> None:
    listed = Path(sys.executable).resolve()
    assert isinstance(is_static_program(listed), bool)


def test_the_same_busybox_gives_the_same_bytes() -> None:
    first, second = io.BytesIO(), io.BytesIO()
    write_busybox_root(first, b"program", APPLETS)
    write_busybox_root(second, b"program", reversed(APPLETS))
    assert first.getvalue() == second.getvalue()


def test_every_applet_is_in_bin_and_where_it_is_looked_for(root: tarfile.TarFile) -> None:
    assert root.getmember("bin/sh").linkname == "busybox"
    assert root.getmember("bin/httpd").linkname == "busybox"
    assert root.getmember("usr/sbin/httpd").linkname == "../../bin/busybox"
    assert root.getmember("usr/bin/env").linkname == "../../bin/busybox"
    assert root.getmember("bin/busybox").mode == 0o755


def test_the_users_of_the_conformance_rows_exist(root: tarfile.TarFile) -> None:
    passwd = root.extractfile("etc/passwd")
    assert passwd is not None
    users = {line.split(":")[0]: line.split(":")[2:4] for line in passwd.read().decode().split()}
    assert (users["root"], users["daemon"]) == (["0", "0"], ["1", "1"])
    assert "nobody" in users


def test_directories_have_their_modes_and_come_before_what_is_in_them(
    root: tarfile.TarFile,
) -> None:
    names = root.getnames()
    assert root.getmember("tmp").mode == 0o1777
    assert {"root", "home", "var", "proc", "sys", "dev", "usr/bin"} <= set(names)
    for name in names:
        parent = name.rpartition("/")[0]
        assert not parent or names.index(parent) < names.index(name)


def test_nothing_in_the_archive_depends_on_when_or_by_whom_it_was_made(
    root: tarfile.TarFile,
) -> None:
    assert {(one.mtime, one.uid, one.gid, one.uname) for one in root} == {(0, 0, 0, "")}


@given(st.lists(st.from_regex(r"(usr/)?s?bin/[a-z\[]{1,8}", fullmatch=True)))
def test_every_link_leads_to_busybox(applets: list[str]) -> None:
    for path, target in applet_links(applets).items():
        parts = [*path.split("/")[:-1], *target.split("/")]
        resolved: list[str] = []
        for part in parts:
            if part == "..":
                resolved.pop()
            else:
                resolved.append(part)
        assert resolved == ["bin", "busybox"]
