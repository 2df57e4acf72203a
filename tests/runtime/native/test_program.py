# SPDX-License-Identifier: Apache-2.0
"""The last steps before the program: where it is looked for, and what its absence is called."""

from __future__ import annotations

import errno
import os
import resource
from typing import TYPE_CHECKING

import pytest

from toolkit.errors import (
    CommandNotExecutableError,
    CommandNotFoundError,
    InvalidRequestError,
    ToolkitError,
)
from toolkit.runtime.native import program
from toolkit.runtime.native.prepare import Stdio
from toolkit.runtime.native.program import command_error, plan_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "number", "kind", "text"),
    [
        ("nope", 0, CommandNotFoundError, "executable file not found in $PATH"),
        ("/bin/nope", 0, CommandNotFoundError, "stat /bin/nope: no such file or directory"),
        ("./nope", 0, CommandNotFoundError, "stat ./nope: no such file or directory"),
        ("/etc", errno.EACCES, CommandNotExecutableError, "permission denied"),
        ("x", errno.ENOEXEC, CommandNotExecutableError, "exec format error"),
        ("x", errno.E2BIG, CommandNotExecutableError, "argument list too long"),
    ],
)
def test_a_command_that_did_not_start_is_named_as_docker_does(
    name: str, number: int, kind: type[ToolkitError], text: str
) -> None:
    error = command_error(name, number)
    assert type(error) is kind
    assert str(error) == f'exec: "{name}": {text}'
    assert error.exit_code == (127 if kind is CommandNotFoundError else 126)


@pytest.mark.parametrize(
    ("name", "env", "candidates"),
    [
        ("/bin/sh", {b"PATH": b"/x"}, [b"/bin/sh"]),
        ("./sh", {b"PATH": b"/x"}, [b"./sh"]),
        ("sub/sh", {b"PATH": b"/x"}, [b"sub/sh"]),
        ("sh", {b"PATH": b"/a:/b"}, [b"/a/sh", b"/b/sh"]),
        ("sh", {b"PATH": b":/b:"}, [b"./sh", b"/b/sh", b"./sh"]),
        ("sh", {b"PATH": b""}, [b"./sh"]),
        (os.fsdecode(b"\xff"), {b"PATH": b"/\xfe"}, [b"/\xfe/\xff"]),
    ],
)
def test_a_command_is_looked_for_in_the_containers_own_path(
    name: str, env: dict[bytes, bytes], candidates: list[bytes]
) -> None:
    assert program._candidates(name, env) == candidates


def test_without_a_path_the_usual_places_are_looked_in() -> None:
    found = program._candidates("sh", {})
    assert found[0] == b"/usr/local/sbin/sh"
    assert found[-1] == b"/bin/sh"


@pytest.fixture
def root_fd(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("bob:x:1000:1001::/home/bob:/bin/sh\n")
    (tmp_path / "etc/group").write_text("wheel:x:10:bob\n")
    (tmp_path / "file").touch()
    (tmp_path / "out").symlink_to("../../../../tmp")
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


def _plan(root_fd: int, user: str = "", **words: object) -> program.Program:
    spec = {
        "args": ["sh", "-c", "true"],
        "env": ["PATH=/bin"],
        "cwd": "/",
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "capabilities": {"bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"],
                         "permitted": ["CAP_CHOWN"], "inheritable": []},
        **words,
    }  # fmt: skip
    annotations = {"toolkit.user": user, "toolkit.home.default": "1"}
    planned = plan_program(spec, annotations, root_fd, stdio=Stdio(), seccomp=b"")
    os.close(planned.cwd_fd)
    return planned


def test_a_user_has_ids_groups_and_home_of_the_image_and_no_capability(root_fd: int) -> None:
    """Rows S-07, S-08: a user other than root keeps the bounding set at most."""
    planned = _plan(root_fd, "bob")
    assert (planned.identity.uid, planned.identity.gid) == (1000, 1001)
    assert planned.identity.groups == (10,)
    assert planned.env[b"HOME"] == b"/home/bob"
    sets = planned.capabilities
    assert not sets.effective
    assert not sets.permitted
    assert not sets.inheritable


def test_a_home_that_was_asked_for_stays(root_fd: int) -> None:
    assert _plan(root_fd, "bob", env=["HOME=/x"]).env[b"HOME"] == b"/x"
    assert _plan(root_fd, "bob", env=["HOME="]).env[b"HOME"] == b"/home/bob"


def test_the_last_word_of_a_variable_counts_and_values_are_kept_whole(root_fd: int) -> None:
    env = _plan(root_fd, env=["A=1", "A=2", "B=x=y", "C", "D=\udcff", "E= a\nb "]).env
    assert [env[key] for key in (b"A", b"B", b"C", b"D", b"E")] == [
        b"2", b"x=y", b"", b"\xff", b" a\nb ",
    ]  # fmt: skip


def test_a_working_directory_is_made_inside_the_root(root_fd: int, tmp_path: Path) -> None:
    """Rows S-03, S-24."""
    _plan(root_fd, cwd="/a/b")
    assert (tmp_path / "a/b").is_dir()
    _plan(root_fd, cwd="/../../c")
    assert (tmp_path / "c").is_dir()


def test_a_descriptor_of_ours_is_no_working_directory(root_fd: int, tmp_path: Path) -> None:
    """Row S-03: in the container's tree its name is one like any other."""
    _plan(root_fd, cwd="/proc/self/fd/3")
    assert (tmp_path / "proc/self/fd/3").is_dir()


@pytest.mark.parametrize("cwd", ["/file", "/file/x", "/out", "/out/x", "/" + "x" * 300])
def test_a_working_directory_that_cannot_be_is_a_bad_request(root_fd: int, cwd: str) -> None:
    with pytest.raises(InvalidRequestError, match="working directory"):
        _plan(root_fd, cwd=cwd)


def test_limits_are_read_and_unlimited_is_the_kernels_word(root_fd: int) -> None:
    limits = [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20},
              {"type": "RLIMIT_CORE", "soft": -1, "hard": 2**64 - 1}]  # fmt: skip
    assert _plan(root_fd, rlimits=limits).rlimits == [
        (resource.RLIMIT_NOFILE, 10, 20),
        (resource.RLIMIT_CORE, resource.RLIM_INFINITY, resource.RLIM_INFINITY),
    ]


def _execute(root: Path, monkeypatch: pytest.MonkeyPatch, **files: int) -> ToolkitError:
    """Try to execute ``x`` along a path whose directories fail with these errnos; 0 is missing."""
    (root / "r").mkdir()
    numbers = {os.fsencode(f"/{name}/x"): number or errno.ENOENT for name, number in files.items()}

    def execve(path: bytes, _argv: object, _env: object) -> None:
        raise OSError(numbers[path], os.strerror(numbers[path]))

    monkeypatch.setattr(os, "execve", execve)
    fd = os.open(root / "r", os.O_PATH)
    try:
        planned = _plan(fd, args=["x"], env=["PATH=" + ":".join(f"/{name}" for name in files)])
        with pytest.raises(ToolkitError) as caught:
            program._execute(planned)
    finally:
        os.close(fd)
    return caught.value


@pytest.mark.parametrize(
    ("files", "exit_code", "text"),
    [
        ({"a": 0, "b": 0}, 127, "not found"),
        ({"a": errno.ENOTDIR, "b": errno.ELOOP}, 127, "not found"),
        ({"a": errno.EACCES, "b": 0}, 126, "permission denied"),
        ({"a": errno.EACCES, "b": errno.ENOEXEC}, 126, "exec format error"),
        ({"a": errno.ENOEXEC, "b": errno.EACCES}, 126, "exec format error"),
        ({"a": errno.E2BIG}, 126, "too long"),
    ],
)
def test_the_most_telling_failure_along_the_path_is_reported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, int],
    exit_code: int,
    text: str,
) -> None:
    error = _execute(tmp_path, monkeypatch, **files)
    assert (error.exit_code, text in str(error)) == (exit_code, True)
