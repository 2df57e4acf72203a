# SPDX-License-Identifier: Apache-2.0
"""Attached clients: framed or raw, quick or stalled, each gets every byte once."""

from __future__ import annotations

import socket
import struct
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from toolkit.runtime import streams
from toolkit.runtime.logwriter import LogWriter
from toolkit.runtime.protocol import AttachClient
from toolkit.runtime.streams import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = {1: "stdout", 2: "stderr"}
SMALLEST_BUFFER = 1  # the kernel makes it a few KiB


class Session:
    """A client's two ends: the shim's, and ours that plays the person's."""

    def __init__(self, log: LogWriter, *, has_tty: bool = False, **options: Any) -> None:
        self.socket, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST_BUFFER)
        self.socket.settimeout(0)
        self.client = Client(AttachClient(fd=theirs.detach(), **options), log, has_tty=has_tty)
        self.received = bytearray()
        self.ended = False

    def take(self, limit_bytes: int = 1 << 20) -> bytes:
        """Read what has come, up to a limit."""
        before = len(self.received)
        while limit_bytes > 0 and not self.ended:
            try:
                data = self.socket.recv(limit_bytes)
            except BlockingIOError:
                break
            self.ended = not data
            self.received += data
            limit_bytes -= len(data)
        return bytes(self.received[before:])

    def drain(self) -> None:
        """Let the client send and read it, until nothing is left."""
        for _ in range(10_000):
            self.flush()
            if not self.take() and (self.client.gone or not self.client.has_output):
                return
        pytest.fail("the client never has sent everything")

    def flush(self) -> None:
        """Do what the shim does at the end of each turn of its loop."""
        if self.client.has_output:
            self.client.flush()

    def frames(self) -> list[tuple[str, bytes]]:
        """Return what came, by docker's 8-byte heads (rules 2.53, 2.54)."""
        frames, at = [], 0
        while at < len(self.received):
            kind, size = struct.unpack_from(">BxxxI", self.received, at)
            frames.append((KINDS[kind], bytes(self.received[at + 8 : at + 8 + size])))
            at += 8 + size
        assert at == len(self.received)
        return frames

    def content(self, stream: str) -> bytes:
        return b"".join(part for name, part in self.frames() if name == stream)

    def close(self) -> None:
        self.client.close()
        self.socket.close()


class Program:
    """What the shim does with a program's output: clients first, then the log."""

    def __init__(self, log: LogWriter) -> None:
        self.log = log
        self.sessions: list[Session] = []

    def attach(self, **options: Any) -> Session:
        session = Session(self.log, **options)
        self.sessions.append(session)
        return session

    def write(self, stream: str, data: bytes) -> None:
        for session in self.sessions:
            session.client.offer(stream, data)
        self.log.write(stream, data)
        for session in self.sessions:
            session.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for session in self.sessions:
            session.close()

    def end(self) -> None:
        self.log.finish()
        for session in self.sessions:
            session.client.close_after_output()
        for session in self.sessions:
            session.drain()


@contextmanager
def running_program(
    buffer_bytes: int = streams.BUFFER_BYTES, catch_up_bytes: int = streams.CATCH_UP_BYTES
) -> Iterator[Program]:
    """Give a program with a log, and small buffers where a test wants them."""
    with ExitStack() as undo:
        directory = undo.enter_context(tempfile.TemporaryDirectory())
        patch = undo.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(streams, "BUFFER_BYTES", buffer_bytes)
        patch.setattr(streams, "CATCH_UP_BYTES", catch_up_bytes)
        log = LogWriter(str(Path(directory) / "log"))
        undo.callback(log.close)
        program = Program(log)
        yield undo.enter_context(program)


@pytest.fixture
def program() -> Iterator[Program]:
    with running_program() as program:
        yield program


def test_a_chunk_is_framed_as_docker_does(program: Program) -> None:
    """Rule 2.53."""
    session = program.attach()
    program.write("stdout", b"hello\n")
    program.write("stderr", b"oops")
    assert session.take() == b"\1\0\0\0\0\0\0\6hello\n\2\0\0\0\0\0\0\4oops"


def test_a_terminals_output_is_sent_as_it_is(program: Program) -> None:
    session = program.attach(framed=False, has_tty=True)
    program.write("stdout", b"\x1b[1mhello\r\n")
    assert session.take() == b"\x1b[1mhello\r\n"


def test_a_large_chunk_is_sent_in_frames_of_bounded_size(program: Program) -> None:
    session = program.attach()
    program.write("stdout", b"x" * 200_000)
    program.end()
    assert max(len(part) for _, part in session.frames()) <= streams.MAX_FRAME_BYTES
    assert session.content("stdout") == b"x" * 200_000


@pytest.mark.parametrize("wanted", ["stdout", "stderr"])
def test_only_the_streams_that_were_asked_for_are_sent(program: Program, wanted: str) -> None:
    options = {name: name == wanted for name in ("stdout", "stderr")}
    live, late = program.attach(**options), None
    for stream in ("stdout", "stderr"):
        program.write(stream, stream.encode() + b"\nunfinished")
    late = program.attach(logs=True, **options)
    program.end()
    assert live.frames() == [(wanted, wanted.encode() + b"\nunfinished")]
    assert late.content(wanted) == wanted.encode() + b"\nunfinished"
    assert {name for name, _ in late.frames()} == {wanted}


def test_each_client_gets_what_comes_after_it_and_a_dead_one_is_let_go(program: Program) -> None:
    """RT-042, API-109 in spirit: writers of a broadcaster that come late, and one that fails."""
    first, second = program.attach(), program.attach()
    program.write("stdout", b"foo")
    third = program.attach()
    program.write("stdout", b"bar")
    first.take()
    first.socket.close()
    program.write("stdout", b"fail")
    program.write("stdout", b"test")
    assert first.client.gone
    assert not first.client.has_output
    program.sessions.remove(first)
    first.client.close()
    program.end()
    assert first.content("stdout") == b"foobar"
    assert second.content("stdout") == b"foobarfailtest"
    assert third.content("stdout") == b"barfailtest"


@given(st.integers(0, 6), st.lists(st.binary(max_size=9), min_size=6, max_size=6))
@settings(max_examples=30)
def test_a_client_may_come_between_any_two_writes(moment: int, chunks: list[bytes]) -> None:
    """RT-043, API-110 in spirit: one thread, a client is there for a whole chunk or not at all."""
    with running_program() as program:
        session = None
        for number, chunk in enumerate(chunks):
            if number == moment:
                session = program.attach()
            program.write("stdout", chunk)
        session = session or program.attach()
        program.end()
        assert session.content("stdout") == b"".join(chunks[moment:])


def test_writing_never_waits_for_a_client_and_nothing_is_lost(program: Program) -> None:
    """RT-041, API-108 in spirit, row F-20: a reader that comes late finds all of it."""
    session = program.attach()
    lines = [b"%07d\n" % number for number in range(200_000)]
    for start in range(0, len(lines), 4000):
        program.write("stdout", b"".join(lines[start : start + 4000]))
    held = session.client._queued_bytes
    assert held <= 2 * streams.BUFFER_BYTES
    program.end()
    assert session.ended
    assert session.content("stdout") == b"".join(lines)


CHUNKS = st.one_of(
    st.binary(max_size=20),
    st.text(alphabet="aé€\n\x7f<", max_size=20).map(str.encode),
    st.integers(1, 3000).map(lambda size: b"x" * size),
    st.integers(1, 3000).map(lambda size: b"line\n" * size),
)
WRITES = st.tuples(st.sampled_from(["stdout", "stderr"]), CHUNKS)
READS = st.tuples(st.just("read"), st.integers(1, 8000))
STEPS = st.lists(st.one_of(WRITES, WRITES, READS), max_size=40)
BUFFERS = st.tuples(
    st.sampled_from([1, 100, 1000, 5000, 20_000]), st.sampled_from([1, 100, 1000, 10_000])
)


@given(STEPS, st.integers(0, 20), st.booleans(), BUFFERS)
@example([("stdout", b"abc"), ("stdout", b"d" * 999), ("stdout", b"\n")], 0, False, (1, 1))  # noqa: FBT003 - drawn
@settings(max_examples=150)
def test_no_byte_is_lost_or_doubled_however_the_client_stalls(
    steps: list[tuple[str, Any]],
    start: int,
    logs: bool,  # noqa: FBT001 - drawn
    buffers: tuple[int, int],
) -> None:
    """Row F-20: what overflows comes from the log, what of a line was sent is not sent again."""
    with running_program(*buffers) as program:
        session: Session | None = None
        wanted = {"stdout": b"", "stderr": b""}
        for number, (word, value) in enumerate(steps):
            if number == start:
                session = program.attach(logs=logs)
            if word != "read":
                program.write(word, value)
                wanted[word] += value if session or logs else b""
            elif session:
                session.take(value)
                session.flush()
        session = session or program.attach(logs=logs)
        program.end()
        assert session.ended
        assert {name: session.content(name) for name in wanted} == wanted


def test_an_unfinished_line_that_was_half_sent_goes_on_where_it_stopped() -> None:
    with running_program(buffer_bytes=64) as program:
        session = program.attach()
        program.write("stdout", b"pass")
        program.write("stdout", b"word: " + b"x" * 100)  # over the buffer: behind, mid-line
        program.write("stderr", b"e")
        assert session.take()
        program.write("stdout", b"\nnext")
        program.end()
        assert session.content("stdout") == b"password: " + b"x" * 100 + b"\nnext"
        assert session.content("stderr") == b"e"


def test_the_log_is_replayed_and_then_it_goes_on_live(program: Program) -> None:
    """Rules 2.50, 2.51: first the replay, then the stream."""
    program.write("stdout", b"one\ntw")
    session = program.attach(logs=True)
    session.flush()
    program.write("stdout", b"o\n")
    assert session.take()
    assert session.content("stdout") == b"one\ntwo\n"
    assert not session.ended


def test_a_replay_alone_ends_with_the_log(program: Program) -> None:
    program.write("stdout", b"one\ntwo\n")
    session = program.attach(logs=True, stream=False)
    program.write("stdout", b"three\n")
    session.drain()
    assert session.ended
    assert session.content("stdout").startswith(b"one\ntwo\n")


def test_a_damaged_log_ends_no_session(tmp_path: Path) -> None:
    """Row F-06: a line that the disk has spoilt costs itself only."""
    path = tmp_path / "log"
    path.write_bytes(b"\0\0\0\nnull\n")
    log = LogWriter(str(path))
    damaged = Program(log)
    damaged.write("stdout", b"good\n")
    session = damaged.attach(logs=True)
    damaged.end()
    assert session.content("stdout") == b"good\n"
    session.close()
    log.close()


def test_the_connection_is_closed_behind_the_last_byte(program: Program) -> None:
    session = program.attach()
    program.write("stdout", b"bye")
    session.take()
    states = [session.ended]
    program.end()
    assert [*states, session.ended, session.client.gone] == [False, True, True]
    assert session.content("stdout") == b"bye"


def test_a_half_close_ends_the_input_and_not_the_output(program: Program) -> None:
    session = program.attach(stdin=True)
    session.socket.send(b"input")
    session.socket.shutdown(socket.SHUT_WR)
    reads = [(session.client.receive(100), session.client.input_ended) for _ in range(2)]
    assert reads == [(b"input", False), (b"", True)]
    assert not session.client.gone
    program.write("stdout", b"answer")
    program.end()
    assert session.content("stdout") == b"answer"


def test_what_came_behind_the_requests_head_is_input(program: Program) -> None:
    session = program.attach(stdin=True, pending=b"early")
    session.socket.send(b" late")
    assert session.client.receive(100) + session.client.receive(100) == b"early late"
    assert session.client.receive(100) == b""
    assert not session.client.input_ended


KEYS = b"\x10\x11"


def _type(session: Session, reads: list[bytes]) -> bytes:
    """Type text in so many reads; return what reaches the program."""
    passed = b""
    for text in reads:
        session.socket.send(text)
        while not session.client.input_ended and (data := session.client.receive(100)):
            passed += data
    return passed


@pytest.mark.parametrize("reads", [[KEYS], [b"\x10", b"\x11"], [b"\x10\x10", b"\x11"]])
def test_the_detach_keys_detach_also_when_reads_part_them(
    program: Program, reads: list[bytes]
) -> None:
    """RT-048 in spirit; the program hears nothing of the keys."""
    session = program.attach(stdin=True, has_tty=True, framed=False, detach_keys=KEYS)
    passed = _type(session, [b"ab", *reads])
    assert passed == b"ab" + b"".join(reads).removesuffix(KEYS)
    assert session.client.detached
    assert session.client.input_ended
    program.write("stdout", b"not for us")
    session.drain()
    assert session.ended
    assert session.received == b""


def test_keys_that_only_begin_like_the_detach_keys_go_through(program: Program) -> None:
    session = program.attach(stdin=True, has_tty=True, detach_keys=KEYS)
    assert _type(session, [b"a\x10", b"b\x11", b"\x10", b"\x10c"]) == b"a\x10b\x11\x10\x10c"
    assert not session.client.detached


def test_a_prefix_that_nothing_follows_is_input_when_input_ends(program: Program) -> None:
    session = program.attach(stdin=True, has_tty=True, detach_keys=KEYS)
    session.socket.send(b"a\x10")
    session.socket.shutdown(socket.SHUT_WR)
    assert session.client.receive(100) == b"a"
    assert session.client.receive(100) == b"\x10"
    assert session.client.input_ended


@given(st.lists(st.binary(min_size=1, max_size=6), max_size=8))
def test_typed_bytes_reach_the_program_up_to_the_detach_keys(reads: list[bytes]) -> None:
    with running_program() as program:
        session = program.attach(stdin=True, has_tty=True, detach_keys=KEYS)
        typed = b"".join(reads)
        before, keys, _ = typed.partition(KEYS)
        passed = _type(session, reads)
        assert session.client.detached == bool(keys)
        held = KEYS[:1] if not keys and typed.endswith(KEYS[:1]) else b""
        assert passed + held == before


@pytest.mark.parametrize("options", [{"has_tty": False}, {"has_tty": True, "detach_keys": b""}])
def test_without_a_terminal_or_keys_nothing_detaches(
    program: Program, options: dict[str, Any]
) -> None:
    session = program.attach(stdin=True, **options)
    assert _type(session, [KEYS]) == KEYS
    assert not session.client.detached


def test_a_reset_connection_is_gone(program: Program) -> None:
    session = program.attach()
    program.write("stdout", b"unread")
    session.socket.close()
    assert session.client.receive(10) == b""
    assert session.client.input_ended
