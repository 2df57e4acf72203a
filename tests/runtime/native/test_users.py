# SPDX-License-Identifier: Apache-2.0
"""Who a program runs as, against the passwd and group files of a hostile image (row S-06)."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import InvalidRequestError
from toolkit.kernel.paths import SMALL_FILE_BYTES, read_small_file_in_root
from toolkit.runtime.native.users import Identity, resolve_identity

if TYPE_CHECKING:
    from pathlib import Path

PASSWD = b"""\
# the users of the image
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1::/usr/sbin:/bin/false
bob:x:1000:1001:Bob:/home/bob:/bin/sh
1000:x:2000:2001:a name that is a number:/home/thousand:/bin/sh
nohome:x:1002:1002:::/bin/sh
negative:x:-1:-1::/:/bin/sh
large:x:4294967296:4294967296::/:/bin/sh
short:x:7
#bob:x:0:0::/:/bin/sh
"""
GROUP = b"""\
root:x:0:
daemon:x:1:daemon
bob:x:1001:
wheel:x:10:bob,daemon
video:x:44:bob
2000:x:3000:
empty:x:55
bad:x:99999999999:bob
"""


@pytest.mark.parametrize(
    ("user", "uid", "gid", "groups", "home"),
    [
        ("", 0, 0, (0,), "/root"),
        ("root", 0, 0, (), "/root"),
        ("bob", 1000, 1001, (10, 44), "/home/bob"),
        ("daemon", 1, 1, (1, 10), "/usr/sbin"),
        ("1", 1, 1, (1, 10), "/usr/sbin"),
        ("4711", 4711, 0, (), "/"),
        ("4711:5", 4711, 5, (), "/"),
        ("0:bob", 0, 1001, (), "/root"),
        ("bob:wheel", 1000, 10, (), "/home/bob"),
        ("bob:0", 1000, 0, (), "/home/bob"),
        ("bob:empty", 1000, 55, (), "/home/bob"),
        (":wheel", 0, 10, (), "/root"),
        ("bob:", 1000, 1001, (10, 44), "/home/bob"),
        ("nohome", 1002, 1002, (), "/"),
        ("4294967294", 2**32 - 2, 0, (), "/"),
    ],
)
def test_a_user_is_found_by_name_or_number(
    user: str, uid: int, gid: int, groups: tuple[int, ...], home: str
) -> None:
    identity = resolve_identity(user, PASSWD, GROUP)
    assert (identity.uid, identity.gid, identity.home) == (uid, gid, home)
    assert set(identity.groups) == set(groups) - ({0} if user == "" else set())


def test_a_name_that_is_a_number_comes_before_the_number() -> None:
    """CVE-2016-3697, row S-06."""
    assert resolve_identity("1000", PASSWD, GROUP).uid == 2000
    assert resolve_identity("bob:2000", PASSWD, GROUP).gid == 3000


@pytest.mark.parametrize(
    "user",
    ["nobody", "-1", "+1", "negative", "large", "short", "#bob", "4294967295", "4294967296",
     "9" * 100, "1.0", "0x0", " ", "٣", "bob\0", "bo", "x:1000", "bob:nobody", "bob:-1",
     "bob:4294967296", "bob:bad", "bob:wheel:video", "a:b:c"],
)  # fmt: skip
def test_what_names_nobody_is_refused(user: str) -> None:
    with pytest.raises(InvalidRequestError, match="unable to find"):
        resolve_identity(user, PASSWD, GROUP)


def test_groups_are_those_of_the_image_and_those_asked_for_only() -> None:
    """Row S-07: nothing of the engine's own groups is left."""
    assert resolve_identity("4711", PASSWD, GROUP).groups == ()
    assert resolve_identity("bob", PASSWD, GROUP, ("44", "video", "7")).groups == (10, 44, 7)


def test_an_image_without_files_knows_numbers_only() -> None:
    assert resolve_identity("", None, None) == Identity()
    assert resolve_identity("5:6", None, None) == Identity(uid=5, gid=6)
    with pytest.raises(InvalidRequestError):
        resolve_identity("root", None, None)


def test_nul_bytes_and_bytes_that_are_no_text_hurt_nothing() -> None:
    passwd = b"\0\0\0:\0:\xff:\n\xff\xfe:x:5:6::/h\0me:\n" + PASSWD
    assert resolve_identity("bob", passwd, b"\0" * 1000 + b"\n" + GROUP).groups == (10, 44)
    assert resolve_identity(os.fsdecode(b"\xff\xfe"), passwd, GROUP).uid == 5


@given(st.text(max_size=12), st.binary(max_size=200), st.binary(max_size=200))
def test_any_files_give_ids_in_range_or_a_refusal(user: str, passwd: bytes, group: bytes) -> None:
    try:
        identity = resolve_identity(user, passwd + PASSWD, group + GROUP)
    except InvalidRequestError:
        return
    ids = (identity.uid, identity.gid, *identity.groups)
    assert all(0 <= number < 2**32 - 1 for number in ids)


def _root_with_passwd(directory: Path, content: bytes) -> int:
    (directory / "etc").mkdir()
    (directory / "etc/passwd").write_bytes(content)
    return os.open(directory, os.O_PATH)


def test_a_million_users_are_answered_within_a_second(tmp_path: Path) -> None:
    """Row S-06: what counts of the file is its first MiB."""
    line = b"user%07d:x:%d:100::/home:/bin/sh\n"
    content = line % (1, 1) + line % (2, 2) * 999_997 + line % (999999, 999999)
    root_fd = _root_with_passwd(tmp_path, content)
    began = time.process_time()
    try:
        passwd = read_small_file_in_root(root_fd, "/etc/passwd")
        assert resolve_identity("user0000001", passwd, passwd).uid == 1
        with pytest.raises(InvalidRequestError):
            resolve_identity("user0999999", passwd, passwd)
    finally:
        os.close(root_fd)
    assert time.process_time() - began < 1.0


def test_one_endless_line_is_answered_within_a_second(tmp_path: Path) -> None:
    """Row S-06: a line without end."""
    root_fd = _root_with_passwd(tmp_path, b"bob:" + b"x" * (8 * SMALL_FILE_BYTES))
    began = time.process_time()
    try:
        passwd = read_small_file_in_root(root_fd, "/etc/passwd")
    finally:
        os.close(root_fd)
    assert passwd is not None
    assert len(passwd) == SMALL_FILE_BYTES
    with pytest.raises(InvalidRequestError):
        resolve_identity("bob", passwd, b":" * SMALL_FILE_BYTES)
    assert time.process_time() - began < 1.0
