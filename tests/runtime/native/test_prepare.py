# SPDX-License-Identifier: Apache-2.0
"""Reading the mounts of a launch document, and what crosses to the child."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import BackendError
from toolkit.kernel import mounts
from toolkit.runtime.document import default_mounts
from toolkit.runtime.native.prepare import (
    ATTRIBUTES,
    PROPAGATIONS,
    PlannedMount,
    Stdio,
    open_stdio,
    read_mount,
    read_seccomp,
)


def _mount(*options: str, kind: str = "tmpfs") -> PlannedMount:
    return read_mount({"destination": "/x", "type": kind, "source": "s", "options": [*options]})


def test_a_bare_mount_is_private_and_has_no_options() -> None:
    assert read_mount({"destination": "/x", "type": "tmpfs"}) == PlannedMount("/x", "tmpfs")


@pytest.mark.parametrize(
    ("word", "attribute"),
    [
        ("ro", mounts.MOUNT_ATTR_RDONLY),
        ("nosuid", mounts.MOUNT_ATTR_NOSUID),
        ("nodev", mounts.MOUNT_ATTR_NODEV),
        ("noexec", mounts.MOUNT_ATTR_NOEXEC),
    ],
)
def test_words_of_the_mount_are_flags(word: str, attribute: int) -> None:
    planned = _mount(word)
    assert (planned.attributes, planned.options) == (attribute, {})


@pytest.mark.parametrize("word", ["rw", "suid", "dev", "exec", "relatime"])
def test_words_of_what_is_so_anyway_are_no_options(word: str) -> None:
    assert _mount(word) == _mount()


@pytest.mark.parametrize("word", ["private", "slave", "shared"])
def test_propagation_is_the_same_with_and_without_r(word: str) -> None:
    assert _mount(word).propagation == _mount("r" + word).propagation == PROPAGATIONS[word]


@pytest.mark.parametrize(("word", "recursive"), [("bind", False), ("rbind", True)])
@pytest.mark.parametrize("kind", ["bind", "none", ""])
def test_a_bind_is_one_by_its_options(word: str, kind: str, *, recursive: bool) -> None:
    planned = _mount(word, "ro", kind=kind)
    assert (planned.kind, planned.recursive, planned.options) == ("bind", recursive, {})


def test_all_else_goes_to_the_filesystem() -> None:
    planned = _mount("size=64m", "mode=1777", "gid=5", "noswap", "nosuid", "context=a=b")
    assert planned.options == {
        "size": "64m", "mode": "1777", "gid": "5", "noswap": None, "context": "a=b",
    }  # fmt: skip


WORDS = st.sampled_from(
    [*ATTRIBUTES, *PROPAGATIONS, "rbind", "bind", "rw", "rslave", "size=1", "x"]
)


@given(st.lists(WORDS, max_size=8))
def test_no_word_is_lost_and_none_is_taken_twice(words: list[str]) -> None:
    planned = _mount(*words)
    flags = [word for word, flag in ATTRIBUTES.items() if planned.attributes & flag]
    assert set(flags) == set(words) & set(ATTRIBUTES)
    assert set(planned.options) == {word.partition("=")[0] for word in words} & {"size", "x"}
    asked = [word.removeprefix("r") for word in words if word.removeprefix("r") in PROPAGATIONS]
    assert planned.propagation == PROPAGATIONS[asked[-1] if asked else "private"]


def test_the_default_mounts_are_all_read() -> None:
    planned = {
        entry.target: entry for entry in map(read_mount, default_mounts(shm_size_bytes=1 << 20))
    }
    assert planned["/proc"].kind == "proc"
    assert planned["/dev"].options.keys() >= {"mode", "size"}
    assert all(entry.attributes & mounts.MOUNT_ATTR_NOSUID for entry in planned.values())


def test_streams_are_pipes_without_a_terminal() -> None:
    dev_fd = os.open("/dev", os.O_PATH)
    with ExitStack() as undo:
        undo.callback(os.close, dev_fd)
        stdio = _open(undo, open_stdin=True, null_dir_fd=dev_fd)
        os.write(stdio.child_stdout, b"out")
        os.write(stdio.child_stderr, b"err")
        os.write(stdio.stdin, b"in")
        read = [os.read(fd, 9) for fd in (stdio.stdout, stdio.stderr, stdio.child_stdin)]
        assert read == [b"out", b"err", b"in"]
        assert stdio.terminal == -1
        assert not any(map(os.get_inheritable, _fds(stdio)))


def test_a_standard_input_that_is_not_open_is_the_containers_null() -> None:
    dev_fd = os.open("/dev", os.O_PATH)
    with ExitStack() as undo:
        undo.callback(os.close, dev_fd)
        stdio = _open(undo, open_stdin=False, null_dir_fd=dev_fd)
        assert stdio.stdin == -1
        assert os.fstat(stdio.child_stdin).st_rdev == os.makedev(1, 3)


def test_a_terminal_needs_a_devpts() -> None:
    with ExitStack() as undo, pytest.raises(BackendError, match="devpts"):
        open_stdio(has_tty=True, open_stdin=True, null_dir_fd=-1, devpts_fd=-1, undo=undo)


def _open(undo: ExitStack, *, open_stdin: bool, null_dir_fd: int) -> Stdio:
    stdio = open_stdio(
        has_tty=False, open_stdin=open_stdin, null_dir_fd=null_dir_fd, devpts_fd=-1, undo=undo
    )
    for fd in (stdio.stdin, stdio.stdout, stdio.stderr):
        if fd >= 0:
            undo.callback(os.close, fd)
    return stdio


def _fds(stdio: Stdio) -> list[int]:
    return [fd for fd in vars(stdio).values() if fd >= 0]


def test_the_programs_ends_cross_by_position() -> None:
    fds = [100]
    stdio = Stdio(child_stdin=7, child_stdout=8, child_stderr=9, stdout=5)
    positions = stdio.describe(fds)
    there = Stdio.from_description(positions, [number + 1000 for number in fds])
    assert there == Stdio(child_stdin=1007, child_stdout=1008, child_stderr=1009)


def test_ends_that_are_one_descriptor_are_closed_once() -> None:
    read_fd, write_fd = os.pipe()
    stdio = Stdio(child_stdin=write_fd, child_stdout=write_fd, child_stderr=write_fd)
    stdio.close_child_ends()
    stdio.close_child_ends()
    assert os.read(read_fd, 1) == b""
    os.close(read_fd)


def test_no_filter_is_no_filter(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("seccomp") / "program"
    path.write_bytes(b"filter")
    texts: list[dict[str, Any]] = [{}, {"toolkit.seccomp.program": ""}]
    assert [read_seccomp(text) for text in texts] == [b"", b""]
    assert read_seccomp({"toolkit.seccomp.program": str(path)}) == b"filter"
