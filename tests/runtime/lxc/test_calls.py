# SPDX-License-Identifier: Apache-2.0
"""The last steps as system calls, and what a failure of one means."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from toolkit.errors import (
    BackendError,
    CommandNotExecutableError,
    CommandNotFoundError,
    InvalidRequestError,
)
from toolkit.kernel.capabilities import CapabilitySets
from toolkit.runtime.lxc.calls import failure_of, program_table
from toolkit.runtime.native.prepare import Stdio
from toolkit.runtime.native.program import Program
from toolkit.runtime.native.users import Identity

if TYPE_CHECKING:
    from toolkit.runtime.lxc.first_step import Call, Table


def program(**changes: object) -> Program:
    values: dict[str, object] = {
        "argv": [b"x"], "env": {b"A": b"b"}, "candidates": [b"/bin/x", b"/usr/bin/x"], "cwd_fd": 9,
        "identity": Identity(uid=5, gid=6, groups=(7,)), "stdio": Stdio(), "has_tty": False,
        "capabilities": CapabilitySets(bounding=frozenset({0})), "rlimits": [(7, 10, -1)],
        "no_new_privileges": False, "seccomp": b"\0" * 16, **changes,
    }  # fmt: skip
    return Program(**values)  # type: ignore[arg-type]  # by name, as the dataclass has them


def table(**changes: object) -> Table:
    return program_table(program(**changes), frozenset({0, 1, 2}), machine="x86_64")


def names(made: Table) -> list[str]:
    return [call.name for call in made.calls]


def reports(made: Table, *pairs: tuple[str, int]) -> list[tuple[Call, int]]:
    found: list[tuple[Call, int]] = []
    for name, number in pairs:
        call = next(c for c in made.calls if c.name == name and c not in [f for f, _ in found])
        found.append((call, number))
    return found


def test_privileges_go_in_the_order_of_the_native_backend() -> None:
    order = [n for n in names(table()) if n in {"seccomp", "setgroups", "setresgid", "setresuid"}]
    assert order == ["seccomp", "setgroups", "setresgid", "setresuid"]
    late = names(table(no_new_privileges=True))
    assert late.index("seccomp") > late.index("capset")


def test_every_capability_that_is_not_kept_leaves_the_bounding_set() -> None:
    """S-09."""
    dropped = [c.arguments[1] for c in table().calls if c.name == "prctl" and c.arguments[0] == 24]
    assert dropped == [1, 2]


def test_only_a_terminal_becomes_the_controlling_one() -> None:
    """S-13."""
    assert "ioctl" not in names(table())
    assert "ioctl" in names(table(has_tty=True))


def test_the_program_dies_with_its_shim_and_inherits_no_descriptor() -> None:
    """S-02, S-43: the last two steps before the program."""
    calls = table().calls
    first = next(i for i, call in enumerate(calls) if call.name == "execve")
    assert [call.name for call in calls[first - 2 : first]] == ["prctl", "close_range"]
    assert calls[first - 2].arguments == (1, 9)


def test_both_machines_have_every_call() -> None:
    for machine in ("x86_64", "aarch64"):
        made = program_table(program(has_tty=True), frozenset({1}), machine=machine)
        assert made.encode()


def test_a_candidate_that_is_not_there_is_no_failure_while_another_runs() -> None:
    made = table()
    assert failure_of(made, reports(made, ("keyctl", errno.EPERM))) is None
    assert failure_of(made, reports(made, ("execve", errno.ENOENT))) is None


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (errno.ENOENT, errno.ENOENT, CommandNotFoundError),
        (errno.ENOENT, errno.EACCES, CommandNotExecutableError),
        (errno.EACCES, errno.ENOENT, CommandNotExecutableError),
    ],
)
def test_when_no_candidate_runs_the_error_is_that_of_the_native_backend(
    first: int, second: int, kind: type[Exception]
) -> None:
    made = table()
    error = failure_of(made, reports(made, ("execve", first), ("execve", second)))
    assert isinstance(error, kind)


def test_a_candidate_that_is_no_program_ends_the_search() -> None:
    made = table()
    error = failure_of(made, reports(made, ("execve", errno.ENOEXEC)))
    assert isinstance(error, CommandNotExecutableError)
    assert str(error) == 'exec: "x": exec format error'


def test_another_step_that_fails_is_named() -> None:
    made = table()
    error = failure_of(made, reports(made, ("setresuid", errno.EPERM)))
    assert isinstance(error, BackendError)
    assert str(error) == "setresuid 5: Operation not permitted"


def test_more_than_a_start_can_hand_over_is_refused() -> None:
    with pytest.raises(BackendError, match="larger"):
        table(argv=[b"x" * (17 << 20)])


def test_a_directory_that_only_the_container_can_open_is_opened_there() -> None:
    made = program_table(program(), frozenset(), cwd="/proc/self", machine="x86_64")
    opened = next(call for call in made.calls if call.name == "openat2")
    entered = next(call for call in made.calls if call.name == "fchdir")
    assert entered.arguments == (8,)

    error = failure_of(made, [(opened, errno.ENOENT)])

    assert isinstance(error, InvalidRequestError)
    assert str(error) == "working directory '/proc/self' cannot be used: No such file or directory"
