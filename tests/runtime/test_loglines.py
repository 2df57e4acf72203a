# SPDX-License-Identifier: Apache-2.0
"""Docker's log lines: any bytes come back as they were, and each line is one JSON object."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toolkit.runtime.loglines import (
    DamagedLogError,
    LogEntry,
    decode_lines,
    decode_readable_lines,
    decode_runs,
    encode_lines,
    now_text,
    split_lines,
)

TIME = "2026-01-02T03:04:05.678Z"
STREAMS = st.sampled_from(["stdout", "stderr"])
# Bytes that a log is likely to stumble over, beside any others.
NASTY = st.sampled_from(
    [b"\n", b'"', b"\\", b"<", b">", b"&", b"\0", b"\x7f", b"\r", b"\x1b[0m", b"\xff", b"\xc3",
     b"\xa9", "é".encode(), "\u2028\u2029".encode(), "\U0001f600".encode(), b'{"log":"x"}\n']
)  # fmt: skip
CONTENT = st.lists(st.one_of(NASTY, st.binary(max_size=20), st.text(max_size=20).map(str.encode)))
ANY_BYTES = CONTENT.map(b"".join).filter(bool)


def _lines_of(data: bytes) -> list[bytes]:
    return [line for line in re.split(rb"(?<=\n)", data) if line]


@given(ANY_BYTES, STREAMS)
@example(b"\x7f\n\x7f\n\n", "stdout")
@example(b"\x7f\n\xff\n<a>", "stderr")
@example("\u2028<\n".encode(), "stdout")
def test_any_bytes_come_back_line_by_line(data: bytes, stream: str) -> None:
    """Row S-75, rule 2.39."""
    entries = decode_lines(encode_lines(data, stream, TIME))
    assert [entry.data for entry in entries] == _lines_of(data)
    assert {(entry.time, entry.stream) for entry in entries} == {(TIME, stream)}


@given(ANY_BYTES)
def test_each_line_is_one_object_with_dockers_keys(data: bytes) -> None:
    """Row S-75: no byte of a program makes a line or a key of its own."""
    encoded = encode_lines(data, "stdout", TIME)
    assert encoded.endswith(b"\n")
    lines = encoded[:-1].split(b"\n")
    assert len(lines) == len(_lines_of(data))
    for line, written in zip(lines, _lines_of(data), strict=True):
        row = json.loads(line)
        assert list(row)[:3] == ["log", "stream", "time"]
        assert row["log"] == written.decode(errors="replace")
        assert set(row) <= {"log", "stream", "time", "raw"}


@given(ANY_BYTES)
def test_no_line_holds_a_byte_that_breaks_html_or_javascript(data: bytes) -> None:
    encoded = encode_lines(data, "stdout", TIME)
    assert not set(encoded) & set(b"<>&\0\r")
    assert not re.search("[\u2028\u2029]", encoded.decode())


def test_escapes_are_those_of_docker() -> None:
    line = encode_lines('<a href="x">&\t\u2028é\n'.encode(), "stderr", TIME)
    assert line.decode() == (
        '{"log":"\\u003ca href=\\"x\\"\\u003e\\u0026\\t\\u2028é\\n",'
        f'"stream":"stderr","time":"{TIME}"}}\n'
    )


def test_bytes_that_are_no_text_are_shown_as_docker_shows_them_and_kept() -> None:
    (line,) = encode_lines(b"a\xff\n", "stdout", TIME).splitlines()
    row = json.loads(line)
    assert row["log"] == "a\ufffd\n"
    assert row["raw"] == "Yf8K"


def test_what_docker_wrote_is_read() -> None:
    line = b'{"log":"hi\\n","stream":"stdout","attrs":{"a":"b"},"time":"2013-12-01T00:00:00Z"}\n'
    assert decode_lines(line) == [LogEntry("2013-12-01T00:00:00Z", "stdout", b"hi\n")]


@pytest.mark.parametrize(
    "line",
    [b"{\n", b"null\n", b"1\n", b"[1]\n", b'"a"\n', b"{}\n", b"\0\0\0\n", b"\xff\n",
     b'{"log":1,"time":"t"}\n', b'{"log":"a","time":1}\n', b'{"log":"a","time":"t","stream":[]}\n',
     b'{"log":"\\ud800","time":"t"}\n', b'{"raw":"a","time":"t"}\n', b"[" * 100_000 + b"\n"],
)  # fmt: skip
def test_a_damaged_line_is_an_error_and_costs_no_other_line(line: bytes) -> None:
    with pytest.raises(DamagedLogError):
        decode_lines(line)
    good = encode_lines(b"good\n", "stdout", TIME)
    entries = decode_readable_lines(good + line + good)
    assert [entry.data for entry in entries] == [b"good\n", b"good\n"]


@given(st.binary(max_size=100), ANY_BYTES)
def test_reading_never_fails_whatever_the_disk_gives(damage: bytes, data: bytes) -> None:
    good = encode_lines(data, "stdout", TIME)
    entries = decode_readable_lines(damage + b"\n" + good)
    assert b"".join(entry.data for entry in entries).endswith(data)


def test_a_time_has_no_trailing_zeros() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?Z", now_text())


@given(st.lists(st.tuples(ANY_BYTES, STREAMS, st.sampled_from([TIME, "2026-01-02T03:04:06Z"]))))
@example([(b"\n", "stdout", TIME), (b"\xff\n", "stdout", TIME), (b"a\n", "stdout", TIME)])
def test_runs_hold_what_the_lines_hold(chunks: list[tuple[bytes, str, str]]) -> None:
    lines = b"".join(encode_lines(data, stream, time) for data, stream, time in chunks)
    split = [
        LogEntry(entry.time, entry.stream, line)
        for entry in decode_runs(lines)
        for line in split_lines(entry.data)
    ]
    assert split == decode_lines(lines)


def test_the_lines_of_a_chunk_are_one_run() -> None:
    data = b'a line with "quotes" and \\ and <b>\n' * 1000
    runs = decode_runs(encode_lines(data, "stderr", TIME))
    assert b"".join(run.data for run in runs) == data
    assert len(runs) < 10


def test_a_run_that_a_damaged_line_cuts_loses_that_line_only() -> None:
    good = encode_lines(b"good\n" * 3, "stdout", TIME)
    runs = decode_runs(good + b'{"log":"bad\n' + good)
    assert b"".join(run.data for run in runs) == b"good\n" * 6
