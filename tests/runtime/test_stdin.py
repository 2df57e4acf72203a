# SPDX-License-Identifier: Apache-2.0
"""Standard input on its way to a program: bounded, never waited for, closed once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.runtime.stdin import BUFFER_BYTES, StdinWriter

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pipe:
    """A program's standard input: the writer, and the end that the program reads."""

    def __init__(self) -> None:
        self.read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.writer = StdinWriter(write_fd, owns_fd=True)

    def read(self, limit_bytes: int = 1 << 20) -> bytes | None:
        """Return what there is; None for nothing yet, empty at the end."""
        try:
            return os.read(self.read_fd, limit_bytes)
        except BlockingIOError:
            return None

    def close(self) -> None:
        self.writer.close()
        if self.read_fd >= 0:
            os.close(self.read_fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_input_is_there_at_once(pipe: Pipe) -> None:
    pipe.writer.write(b"hello")
    assert pipe.read() == b"hello"
    assert not pipe.writer.flush_needed


def test_what_the_program_does_not_read_waits_and_more_is_not_wanted(pipe: Pipe) -> None:
    """RT-041 in spirit: writing does not block, and all of it is read afterwards."""
    data = bytes(range(256)) * 2048
    pipe.writer.write(data)
    assert pipe.writer.flush_needed
    assert not pipe.writer.has_room
    read = b""
    while len(read) < len(data):
        read += pipe.read() or b""
        pipe.writer.flush()
    assert read == data
    assert pipe.writer.has_room


@given(st.lists(st.binary(max_size=40_000), max_size=8), st.integers(1, 100_000))
@settings(max_examples=50)
def test_the_end_comes_behind_the_last_byte(chunks: list[bytes], read_bytes: int) -> None:
    """Row F-23."""
    pipe = Pipe()
    for chunk in chunks:
        pipe.writer.write(chunk)
    pipe.writer.close_after_output()
    read = b""
    while (data := pipe.read(read_bytes)) != b"":
        read += data or b""
        pipe.writer.flush()
    assert read == b"".join(chunks)
    assert pipe.writer.fd == -1
    pipe.close()


def test_nothing_follows_the_end(pipe: Pipe) -> None:
    """Rule 2.40: closing it gives the program its end of file for good."""
    pipe.writer.close_after_output()
    pipe.writer.write(b"late")
    assert pipe.read() == b""
    assert not pipe.writer.flush_needed


def test_a_program_that_closed_its_input_ends_it(pipe: Pipe) -> None:
    os.close(pipe.read_fd)
    pipe.read_fd = -1
    pipe.writer.write(b"x" * (2 * BUFFER_BYTES))
    assert pipe.writer.fd == -1
    assert pipe.writer.has_room
    assert not pipe.writer.flush_needed


def test_without_a_standard_input_everything_is_swallowed() -> None:
    """Rule 2.40."""
    writer = StdinWriter(-1, owns_fd=True)
    writer.write(b"x" * BUFFER_BYTES)
    writer.close_after_output()
    assert writer.has_room
    assert not writer.flush_needed


def test_a_terminal_stays_open_for_its_owner() -> None:
    master_fd, slave_fd = os.openpty()
    writer = StdinWriter(master_fd, owns_fd=False)
    writer.write(b"hi\n")
    writer.close()
    assert writer.fd == -1
    assert os.read(slave_fd, 10) == b"hi\n"
    os.close(slave_fd)
    os.close(master_fd)
