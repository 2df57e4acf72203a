# SPDX-License-Identifier: Apache-2.0
"""A log in several files: what is kept, and readers and clients that see it change."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.waiting import PATIENCE_SECONDS
from toolkit.runtime import logfile
from toolkit.runtime.logfile import LogReader
from toolkit.runtime.loglines import decode_lines, encode_lines
from toolkit.runtime.logwriter import LogWriter
from toolkit.runtime.protocol import AttachClient
from toolkit.runtime.streams import Client

LINE_BYTES = len(encode_lines(b"line 0000\n", "stdout", "2026-01-02T03:04:05.123456Z"))


def write_lines(log: LogWriter, numbers: range) -> list[bytes]:
    lines = [b"line %04d\n" % number for number in numbers]
    for line in lines:
        log.write("stdout", line)
    return lines


def read_all(reader: LogReader, since: str = "") -> list[bytes]:
    return [entry.data for entry in reader.read(since=since)]


def files_of(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_without_a_largest_size_there_is_one_file(path: Path) -> None:
    log = LogWriter(str(path))
    log.write("stdout", b"x\n" * 100_000)
    log.close()
    assert files_of(path) == ["log"]


def test_no_file_is_larger_than_asked_and_no_more_are_kept(path: Path) -> None:
    log = LogWriter(str(path), max_bytes=10 * LINE_BYTES, max_files=3)
    lines = write_lines(log, range(95))
    log.close()
    assert files_of(path) == ["log", "log.1", "log.2"]
    assert max(file.stat().st_size for file in path.parent.iterdir()) <= 10 * LINE_BYTES
    kept = read_all(LogReader(path))
    assert kept == lines[-len(kept) :]
    assert len(kept) > 20


def test_one_file_is_begun_anew_when_no_other_is_kept(path: Path) -> None:
    log = LogWriter(str(path), max_bytes=10 * LINE_BYTES)
    lines = write_lines(log, range(25))
    log.close()
    assert files_of(path) == ["log"]
    kept = read_all(LogReader(path))
    assert kept == lines[-len(kept) :]


def test_a_line_longer_than_a_file_may_be_is_kept_whole(path: Path) -> None:
    log = LogWriter(str(path), max_bytes=100, max_files=3)
    log.write("stdout", b"a\n" + b"x" * 5000 + b"\nb\n")
    log.close()
    assert read_all(LogReader(path)) == [b"a\n", b"x" * 5000 + b"\n", b"b\n"]


def test_a_log_of_several_files_is_continued(path: Path) -> None:
    lines = []
    for begin in (0, 17, 34):
        log = LogWriter(str(path), max_bytes=10 * LINE_BYTES, max_files=9)
        lines += write_lines(log, range(begin, begin + 17))
        log.close()
    assert read_all(LogReader(path)) == lines


def test_a_disk_that_takes_no_new_name_costs_no_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogWriter(str(path), max_bytes=10 * LINE_BYTES, max_files=3)

    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "replace", refuse)
    lines = write_lines(log, range(50))
    log.close()
    assert read_all(LogReader(path)) == lines


@given(
    st.lists(st.integers(0, 12), max_size=12), st.integers(1, 5), st.integers(0, 60), st.booleans()
)
@settings(max_examples=50)
def test_a_follower_that_keeps_up_misses_nothing(
    steps: list[int],
    max_files: int,
    tail: int,
    late: bool,  # noqa: FBT001 - drawn, not passed
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "log"
        log = LogWriter(str(path), max_bytes=4 * LINE_BYTES, max_files=max_files)
        reader = LogReader(path)
        seen: list[bytes] = []
        written: list[bytes] = []
        for number in range(sum(steps) if late else len(steps)):
            written += write_lines(log, range(len(written), len(written) + 1))
            if not late or number % 3 == 0:
                seen += read_all(reader)
        seen += read_all(reader)
        assert seen == written
        assert (
            log.offset
            == sum(
                len(encode_lines(entry.data, "stdout", entry.time))
                for entry in LogReader(path).read()
            )
            or max_files * 4 < len(written) + 4
        )
        last = read_all(LogReader(path, tail_lines=tail))
        kept = read_all(LogReader(path))
        assert last == kept[max(0, len(kept) - tail) :]
        reader.close()
        log.close()


def test_a_follower_that_slept_goes_on_with_the_oldest_that_is_left(path: Path) -> None:
    log = LogWriter(str(path), max_bytes=5 * LINE_BYTES, max_files=2)
    reader = LogReader(path)
    write_lines(log, range(3))
    assert len(read_all(reader)) == 3
    lines = write_lines(log, range(3, 100))
    rest = read_all(reader)
    assert rest[:2] == lines[:2]  # the file that it has open is there to the end
    assert rest[2:] == lines[-len(rest) + 2 :]


@pytest.mark.parametrize("begin", [0, 1, 499, 500, 501, 998, 999])
def test_a_span_begins_where_it_should_in_any_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, begin: int
) -> None:
    monkeypatch.setattr(logfile, "_CHUNK_BYTES", 700)
    times = [f"2026-01-01T00:00:{number // 100:02}.{number % 100:02}5Z" for number in range(1000)]
    rows = [encode_lines(b"%d\n" % n, "stdout", time) for n, time in enumerate(times)]
    for name, part in (("log.2", rows[:300]), ("log.1", rows[300:650]), ("log", rows[650:])):
        (path.parent / name).write_bytes(b"".join(part))
    reader = LogReader(path, since=times[begin])
    assert read_all(reader, times[begin]) == [b"%d\n" % n for n in range(begin, 1000)]
    reader.close()


def test_where_a_span_begins_costs_the_same_on_a_log_of_any_size(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [f"2026-01-01T{hour:02}:{minute:02}:00Z" for hour in range(24) for minute in range(60)]
    path.write_bytes(b"".join(encode_lines(b"line\n" * 500, "stdout", time) for time in times))
    read: list[int] = []
    pread = os.pread

    def counted(fd: int, size: int, offset: int) -> bytes:
        read.append(size)
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", counted)
    since = times[-2]
    assert len(read_all(LogReader(path, since=since), since)) == 1000
    assert sum(read) < path.stat().st_size // 10


def attached(log: LogWriter) -> tuple[socket.socket, Client]:
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE_SECONDS)
    client = AttachClient(fd=theirs.detach(), logs=True, stream=True, framed=False)
    return ours, Client(client, log, has_tty=False)


def received_by(ours: socket.socket, client: Client) -> bytes:
    received = b""
    while client.has_output:
        client.flush()
        received += ours.recv(1 << 20)
    return received


def test_a_client_is_fed_from_all_files_of_the_log(path: Path) -> None:
    log = LogWriter(str(path), max_bytes=5 * LINE_BYTES, max_files=100)
    lines = write_lines(log, range(50))
    log.write("stdout", b"unfin")
    ours, client = attached(log)
    assert received_by(ours, client) == b"".join(lines) + b"unfin"
    client.close()
    ours.close()
    log.close()


def test_a_client_that_is_behind_what_is_gone_goes_on_with_the_oldest_that_is_left(
    path: Path,
) -> None:
    log = LogWriter(str(path), max_bytes=5 * LINE_BYTES, max_files=2)
    ours, client = attached(log)
    lines = write_lines(log, range(100))
    kept = [entry.data for name in ("log.1", "log") for entry in decode_lines(
        (path.parent / name).read_bytes())]  # fmt: skip
    assert kept == lines[-len(kept) :]
    assert received_by(ours, client) == b"".join(kept)
    client.close()
    ours.close()
    log.close()
