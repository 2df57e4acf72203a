# SPDX-License-Identifier: Apache-2.0
"""The log file: whole lines whatever comes, whatever the disk does."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.runtime.loglines import MAX_LINE_BYTES, LogEntry, decode_lines, encode_lines
from toolkit.runtime.logwriter import LogWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

TIME = "2026-01-02T03:04:05Z"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def log(path: Path) -> Iterator[LogWriter]:
    writer = LogWriter(str(path))
    yield writer
    writer.close()


def _entries(path: Path) -> list[LogEntry]:
    return decode_lines(path.read_bytes())


def _content(path: Path, stream: str = "stdout") -> bytes:
    return b"".join(entry.data for entry in _entries(path) if entry.stream == stream)


def test_lines_are_in_the_file_when_write_returns(log: LogWriter, path: Path) -> None:
    log.write("stdout", b"one\ntwo\nthr")
    assert [entry.data for entry in _entries(path)] == [b"one\n", b"two\n"]
    assert log.offset == path.stat().st_size
    assert log.unfinished["stdout"] == b"thr"


def test_an_unfinished_line_waits_for_its_end(log: LogWriter, path: Path) -> None:
    log.write("stdout", b"hel")
    log.write("stderr", b"oops\n")
    log.write("stdout", b"lo\n")
    assert [(entry.stream, entry.data) for entry in _entries(path)] == [
        ("stderr", b"oops\n"), ("stdout", b"hello\n"),
    ]  # fmt: skip


def test_an_unfinished_last_line_is_written_at_the_end(log: LogWriter, path: Path) -> None:
    """Defect D-6: 0.7.2 lost it, and put it before the first line of the next run."""
    log.write("stdout", b"a\nb")
    log.write("stderr", b"c")
    log.finish()
    log.finish()
    assert _content(path) == b"a\nb"
    assert _content(path, "stderr") == b"c"
    assert set(log.unfinished.values()) == {b""}


@pytest.mark.parametrize("ending", [b"", b"\n", b"\nmore\n", b"\nmore"])
@pytest.mark.parametrize("size", [MAX_LINE_BYTES - 1, MAX_LINE_BYTES, 5 * MAX_LINE_BYTES + 7])
def test_a_long_line_is_cut_whether_it_ends_or_not(
    log: LogWriter, path: Path, size: int, ending: bytes
) -> None:
    log.write("stdout", b"x" * size + ending)
    assert len(log.unfinished["stdout"]) <= MAX_LINE_BYTES
    log.finish()
    assert _content(path) == b"x" * size + ending
    assert max(len(entry.data) for entry in _entries(path)) <= MAX_LINE_BYTES


@given(st.integers(0, 4), st.sampled_from(["é", "€", "\U0001f600", "aé€\U0001f600"]))
@settings(max_examples=40)
def test_a_cut_keeps_characters_whole(shift: int, pattern: str) -> None:
    text = "a" * shift + pattern * (MAX_LINE_BYTES // 2)
    data = text.encode()
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "log"
        log = LogWriter(str(file))
        for start in range(0, len(data), 4096):  # reads cut characters, the log does not
            log.write("stdout", data[start : start + 4096])
        log.finish()
        log.close()
        rows = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert "".join(row["log"] for row in rows) == text
    assert not any("raw" in row for row in rows)


def test_bytes_that_are_no_text_are_cut_all_the_same(log: LogWriter, path: Path) -> None:
    data = b"\x80" * (3 * MAX_LINE_BYTES)
    log.write("stdout", data)
    log.finish()
    assert _content(path) == data


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["stdout", "stderr"]),
            st.one_of(
                st.binary(max_size=50),
                st.sampled_from([b"\n", b"a\n" * 500, b"x" * 9000, b"y" * 40_000 + b"\n"]),
            ),
        ),
        max_size=8,
    )
)
@settings(max_examples=40)
def test_each_stream_is_in_the_log_byte_by_byte(chunks: list[tuple[str, bytes]]) -> None:
    """Row S-75."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "log"
        log = LogWriter(str(path))
        for stream, data in chunks:
            log.write(stream, data)
            assert path.stat().st_size == log.offset
            assert len(log.unfinished[stream]) <= MAX_LINE_BYTES
        log.finish()
        log.close()
        for name in ("stdout", "stderr"):
            assert _content(path, name) == b"".join(data for s, data in chunks if s == name)


class FullDisk:
    """Takes the place of os.write: so many bytes fit, then the disk is full."""

    def __init__(self, room_bytes: int) -> None:
        self.room_bytes = room_bytes
        self.write = os.write

    def __call__(self, fd: int, data: bytes) -> int:
        if not self.room_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self.write(fd, data[: self.room_bytes])
        self.room_bytes -= written
        return written


@pytest.mark.parametrize("room_bytes", [0, 1, 60, 61, 62, 63, 100, 150, 200])
def test_a_full_disk_costs_whole_lines_only(
    log: LogWriter, path: Path, monkeypatch: pytest.MonkeyPatch, room_bytes: int
) -> None:
    """Row F-05: whole lines are dropped and counted; all is well when there is room again."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", FullDisk(room_bytes))
        log.write("stdout", b"1\n2\n3\n4\n")
    kept = len(_entries(path))
    assert log.lost_lines == 4 - kept
    assert log.offset == path.stat().st_size
    log.write("stdout", b"5\n")
    whole = [b"1\n", b"2\n", b"3\n", b"4\n"]
    assert [entry.data for entry in _entries(path)] == [*whole[:kept], b"5\n"]


@pytest.mark.parametrize(
    "torn", [b"{", b'{"log":"abc', b"\0" * 10, b"\0" * (20 * MAX_LINE_BYTES), b"x" * 200_000]
)
@pytest.mark.parametrize("whole", [b"", b"first\n", b"first\nsecond\n"])
def test_a_line_that_a_crash_tore_is_cut_off_at_open(path: Path, whole: bytes, torn: bytes) -> None:
    kept = encode_lines(whole, "stdout", TIME) if whole else b""
    path.write_bytes(kept + torn)
    log = LogWriter(str(path))
    log.write("stdout", b"next\n")
    log.close()
    assert path.read_bytes().startswith(kept)
    assert _content(path) == whole + b"next\n"


def test_an_existing_log_is_continued(path: Path) -> None:
    for word in (b"one\n", b"two\n"):
        log = LogWriter(str(path))
        log.write("stdout", word)
        log.close()
    assert _content(path) == b"one\ntwo\n"


def test_read_gives_whole_lines_however_small_the_limit(log: LogWriter, path: Path) -> None:
    log.write("stdout", b"a\n" + b"b" * 1000 + b"\n")
    offset = 0
    while lines := log.read(offset, 10)[0]:
        assert lines.endswith(b"\n")
        offset += len(lines)
    assert offset == log.offset == path.stat().st_size


@pytest.mark.timeout(10)
def test_read_ends_when_somebody_truncates_the_log(log: LogWriter, path: Path) -> None:
    log.write("stdout", b"a\n" * 100)
    os.truncate(path, 0)
    assert log.read(0, 100)[0] == b""


def test_the_log_of_an_exec_has_no_name(log: LogWriter, path: Path) -> None:
    log.write("stdout", b"a\n")
    log.unlink()
    assert not path.exists()
    assert decode_lines(log.read(0, 1000)[0])[0].data == b"a\n"


def test_the_log_is_for_its_owner_only(log: LogWriter, path: Path) -> None:
    assert log.offset == 0
    assert path.stat().st_mode & 0o777 == 0o600
