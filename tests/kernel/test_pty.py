# SPDX-License-Identifier: Apache-2.0
"""Terminals: a pair from a devpts, its size, and whose it is."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pytest

from toolkit.errors import KernelCallError
from toolkit.kernel import pty

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pair() -> Iterator[tuple[int, int]]:
    """A pair of this machine's own devpts."""
    devpts_fd = os.open("/dev/pts", os.O_RDONLY | os.O_DIRECTORY)
    try:
        master_fd, slave_fd, _ = pty.open_pty(devpts_fd)
    except KernelCallError as error:  # /dev/pts/ptmx has mode 000 on some machines
        pytest.skip(str(error))
    finally:
        os.close(devpts_fd)
    yield master_fd, slave_fd
    os.close(slave_fd)
    os.close(master_fd)


def test_what_is_written_on_one_end_comes_out_of_the_other(pair: tuple[int, int]) -> None:
    master_fd, slave_fd = pair
    assert os.isatty(slave_fd)
    os.write(slave_fd, b"hi\n")
    assert os.read(master_fd, 10) == b"hi\r\n"
    os.write(master_fd, b"yes\n")
    assert os.read(slave_fd, 10) == b"yes\n"


def test_neither_end_reaches_a_program_by_itself(pair: tuple[int, int]) -> None:
    """Row S-02."""
    assert [os.get_inheritable(fd) for fd in pair] == [False, False]


def test_the_pair_has_the_number_that_devpts_gave_it() -> None:
    devpts_fd = os.open("/dev/pts", os.O_RDONLY | os.O_DIRECTORY)
    try:
        master_fd, slave_fd, number = pty.open_pty(devpts_fd)
    except KernelCallError as error:
        pytest.skip(str(error))
    finally:
        os.close(devpts_fd)
    assert os.ttyname(slave_fd) == f"/dev/pts/{number}"
    os.close(slave_fd)
    os.close(master_fd)


def test_a_directory_that_is_no_devpts_is_an_error(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("pts")
    (directory / "ptmx").touch()
    dir_fd = os.open(directory, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    with pytest.raises(KernelCallError, match="ptmx"):
        pty.open_pty(dir_fd)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - a count
    os.close(dir_fd)


def test_a_resize_is_seen_on_the_other_end(pair: tuple[int, int]) -> None:
    master_fd, slave_fd = pair
    pty.resize(master_fd, 50, 132)
    window = fcntl.ioctl(slave_fd, termios.TIOCGWINSZ, b"\0" * 8)
    assert struct.unpack("HHHH", window)[:2] == (50, 132)


def test_what_is_no_terminal_has_no_size() -> None:
    read_fd, write_fd = os.pipe()
    with pytest.raises(KernelCallError, match="TIOCSWINSZ"):
        pty.resize(read_fd, 1, 1)
    os.close(read_fd)
    os.close(write_fd)


def test_a_terminal_becomes_the_controlling_one_of_its_session() -> None:
    """Row S-13."""
    script = (
        "import os; from toolkit.kernel import pty\n"
        "master, slave = os.openpty(); name = os.ttyname(slave)\n"
        "os.setsid()\n"
        "try: os.open('/dev/tty', os.O_RDWR); print('had one')\n"
        "except OSError: pty.make_controlling(slave)\n"
        "print(os.tcgetpgrp(os.open('/dev/tty', os.O_RDWR)) == os.getpgrp())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.split() == ["True"]
