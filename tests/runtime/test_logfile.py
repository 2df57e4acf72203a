# SPDX-License-Identifier: Apache-2.0
"""Reading a log: a tail, a span, one stream, a file that grows, lines that are no more."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.runtime import logfile
from toolkit.runtime.logfile import LogReader
from toolkit.runtime.loglines import LogEntry, encode_lines
from toolkit.runtime.logwriter import LogWriter

TIMES = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.500000001Z",
         "2026-01-01T00:00:01Z", "2026-01-01T00:00:10.25Z"]  # fmt: skip


def _encode(entry: LogEntry) -> bytes:
    return encode_lines(entry.data, entry.stream, entry.time)


def _read(path: Path, *, tail_lines: int | None = None, **options: bool | str) -> list[bytes]:
    reader = LogReader(path, tail_lines=tail_lines)
    try:
        return [entry.data for entry in reader.read(**options)]  # type: ignore[arg-type]  # both kinds
    finally:
        reader.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log with a line a time, on both streams in turn."""
    path = tmp_path / "log"
    streams = ["stdout", "stderr"] * len(TIMES)
    path.write_bytes(
        b"".join(
            encode_lines(b"%d\n" % number, streams[number], time)
            for number, time in enumerate(TIMES)
        )
    )
    return path


def test_a_log_that_is_not_there_reads_as_empty(tmp_path: Path) -> None:
    assert _read(tmp_path / "none", tail_lines=3) == []


@given(
    st.lists(st.integers(0, 60), max_size=40),
    st.one_of(st.none(), st.integers(0, 50)),
    st.booleans(),
)
def test_a_tail_is_the_last_lines(
    sizes: list[int],
    tail_lines: int | None,
    torn: bool,  # noqa: FBT001 - drawn, not passed
) -> None:
    lines = [b"%d" % number + b"x" * size + b"\n" for number, size in enumerate(sizes)]
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(logfile, "_CHUNK_BYTES", 100)  # many chunks, lines across their edges
        path = Path(directory) / "log"
        whole = b"".join(encode_lines(line, "stdout", TIMES[0]) for line in lines)
        path.write_bytes(whole + (b'{"log":"ab' if torn else b""))
        wanted = lines if tail_lines is None else lines[max(0, len(lines) - tail_lines) :]
        assert _read(path, tail_lines=tail_lines) == wanted


def test_a_tail_costs_the_same_on_a_log_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    path.write_bytes(encode_lines(b"line\n" * 200_000, "stdout", TIMES[0]))
    read: list[int] = []
    pread = os.pread

    def counted(fd: int, size: int, offset: int) -> bytes:
        read.append(size)
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", counted)
    assert _read(path, tail_lines=10) == [b"line\n"] * 10
    assert sum(read) < path.stat().st_size // 10


@pytest.mark.parametrize(
    ("since", "until", "numbers"),
    [
        ("", "", [0, 1, 2, 3, 4]),
        (TIMES[1], "", [1, 2, 3, 4]),
        (TIMES[2], TIMES[3], [2, 3]),
        ("", TIMES[1], [0, 1]),
        ("2026-01-01T00:00:00.500000Z", "2026-01-01T00:00:00.500Z", [1]),
        ("2026-01-01T00:00:02Z", "", [4]),
        ("2027-01-01T00:00:00Z", "", []),
        ("", "2025-01-01T00:00:00Z", []),
    ],
)
def test_a_span_of_time_includes_both_ends(
    path: Path, since: str, until: str, numbers: list[int]
) -> None:
    assert _read(path, since=since, until=until) == [b"%d\n" % number for number in numbers]


def test_streams_are_chosen(path: Path) -> None:
    assert _read(path, stderr=False) == [b"0\n", b"2\n", b"4\n"]
    assert _read(path, stdout=False) == [b"1\n", b"3\n"]
    assert _read(path, stdout=False, stderr=False) == []


@given(st.lists(st.binary(max_size=30), max_size=20), st.integers(1, 40))
def test_a_file_that_grows_is_read_to_its_end_and_never_half_a_line(
    chunks: list[bytes], step: int
) -> None:
    data = b"".join(chunks)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "log"
        path.touch()
        encoded = encode_lines(data, "stdout", TIMES[0]) if data else b""
        reader = LogReader(path)
        seen = b""
        with path.open("ab", buffering=0) as file:
            for start in range(0, len(encoded), step):
                file.write(encoded[start : start + step])
                seen += b"".join(entry.data for entry in reader.read())
        reader.close()
        assert seen == data


def test_what_a_writer_writes_is_read_at_once(tmp_path: Path) -> None:
    log = LogWriter(str(tmp_path / "log"))
    reader = LogReader(tmp_path / "log")
    for word in (b"one\n", b"two\n"):
        log.write("stdout", word)
        assert [entry.data for entry in reader.read()] == [word]
    log.close()
    reader.close()


@pytest.mark.parametrize("damage", [b"\0" * 50, b"{}", b"null", b"[1]", b"\xff", b"", b"{" * 5000])
def test_damaged_lines_are_passed_over(
    path: Path, damage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logfile, "_CHUNK_BYTES", 64)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes((damage + b"\n").join([b"", *lines, *([b""] * 1500)]))
    assert _read(path) == [b"0\n", b"1\n", b"2\n", b"3\n", b"4\n"]


def test_a_reader_may_be_closed_twice(path: Path) -> None:
    reader = LogReader(path)
    reader.close()
    reader.close()
    assert list(reader.read()) == []
