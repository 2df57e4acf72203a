# SPDX-License-Identifier: Apache-2.0
"""The init of LXC containers, run for real: it needs no privilege by itself."""

from __future__ import annotations

import array
import errno
import os
import platform
import socket
import subprocess
from pathlib import Path

import pytest

from toolkit.errors import KernelFeatureMissingError
from toolkit.runtime.lxc.first_step import REPORT, TASK_ADDRESS, Table, first_step

runs_here = pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() not in {"x86_64", "aarch64"},
    reason="there is no first step for this machine",
)


class Started:
    """A first step that has said that it is ready."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "first-step"
        self.path.write_bytes(first_step(str(self.path)))
        self.path.chmod(0o700)
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [str(self.path)], stdin=theirs.fileno(), stdout=subprocess.PIPE, pass_fds=(1,)
            )
        assert REPORT.unpack(self.link.recv(REPORT.size)) == (0, 0)

    def send(self, table: Table) -> list[tuple[str, int]]:
        memory_fd = os.memfd_create("task")
        os.write(memory_fd, table.encode())
        rights = array.array("i", [memory_fd, 1])
        self.link.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        os.close(memory_fd)
        reports = []
        while report := self.link.recv(REPORT.size):
            address, number = REPORT.unpack(report)
            reports.append((table.call_at(address).name, number))
        return reports

    def end(self) -> tuple[int, bytes]:
        output, _ = self.process.communicate(timeout=10)
        self.link.close()
        return self.process.returncode, output


def table() -> Table:
    made = Table(TASK_ADDRESS)
    made.reserve(8)
    return made


def add_execve(made: Table, *words: str, tolerated: tuple[int, ...] = ()) -> None:
    argv = made.place_list([word.encode() for word in words])
    env = made.place_list([b"A=b"])
    made.add("execve", made.place_text(words[0].encode()), argv, env, tolerated=tolerated)


@runs_here
def test_it_becomes_the_program_that_its_table_says(tmp_path: Path) -> None:
    started = Started(tmp_path)
    made = table()
    add_execve(made, "/nonexistent/echo", tolerated=(errno.ENOENT,))
    add_execve(made, "/bin/sh", "-c", "echo $A; exit 7")
    made.add("exit_group", 1)

    assert started.send(made) == [("execve", errno.ENOENT)]
    assert started.end() == (7, b"b\n")


@runs_here
def test_a_call_that_fails_ends_it_and_is_told(tmp_path: Path) -> None:
    started = Started(tmp_path)
    made = table()
    made.add("fchdir", 250)
    add_execve(made, "/bin/sh", "-c", "echo no")

    assert started.send(made) == [("fchdir", errno.EBADF)]
    assert started.end() == (1, b"")


@runs_here
def test_it_takes_itself_away_and_keeps_no_descriptor(tmp_path: Path) -> None:
    """S-02, S-43: whatever it inherited, the program gets nothing of it."""
    started = Started(tmp_path)
    names = {int(fd.name) for fd in Path(f"/proc/{started.process.pid}/fd").iterdir()}
    made = table()
    made.add("exit_group", 0)

    assert not started.path.exists()
    assert names == {0, 1, 2, 10}
    assert started.send(made) == []
    assert started.end() == (0, b"")


@runs_here
def test_it_ends_when_nobody_is_there_to_tell_it(tmp_path: Path) -> None:
    started = Started(tmp_path)
    started.link.close()
    assert started.end() == (1, b"")


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 62), ("aarch64", 183)])
def test_it_is_an_executable_of_its_machine(machine: str, number: int) -> None:
    program = first_step("/dev/x", machine)
    assert program[:4] == b"\x7fELF"
    assert int.from_bytes(program[18:20], "little") == number
    assert b"/dev/x\0" in program


def test_another_machine_is_refused_by_name() -> None:
    with pytest.raises(KernelFeatureMissingError, match="riscv64"):
        first_step("/dev/x", "riscv64")


def test_a_table_knows_its_calls_by_their_address() -> None:
    made = table()
    made.add("setsid")
    made.add("fchdir", 7, subject="cwd")
    assert made.call_at(TASK_ADDRESS + 64).subject == "cwd"


def test_a_table_does_not_write_over_its_own_bytes() -> None:
    made = Table(TASK_ADDRESS)
    made.reserve(1)
    made.add("setsid")
    made.add("setsid")
    with pytest.raises(ValueError, match="2 calls"):
        made.encode()
