# SPDX-License-Identifier: Apache-2.0
"""Docker's JSON log lines (rule 2.39): bytes to lines by the chunk, and back to the same bytes.

One object a line: ``log``, ``stream``, ``time``. Bytes that are no UTF-8 are
shown as U+FFFD there, as docker does, and kept whole in a fourth key, ``raw``
(base64), so that reading the log gives back what was written (row S-75).
"""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from json.encoder import encode_basestring as _quote
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINE_BYTES: Final = 16 * 1024  # docker splits longer ones; the parts lack a newline

# Stands for a newline while a chunk is quoted; quoting leaves it alone. The first keeps the
# text at one byte a character; the second, a lone surrogate, is in no decoded UTF-8.
_MARK, _RARE_MARK = "\x7f", "\udc0a"
_HEAD: Final = b'{"log":"'
_TAIL_START: Final = b'","stream":"'
_TAIL: Final = re.compile(rb'","stream":"(stdout|stderr)","time":"([-+.:0-9TZ]{1,40})"}\n')
_LINE: Final = re.compile(rb"[^\n]*\n|[^\n]+")
_SHORTEST_STEP_BYTES: Final = 512
_PLAIN: Final = bytes({*range(0x20, 0x7F), 0x0A} - set(b'"\\<>&'))
_ESCAPES: Final = (
    ("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"),
    ("\u2028", "\\u2028"), ("\u2029", "\\u2029"),
)  # fmt: skip


class DamagedLogError(ToolkitError):
    """A line of a log is not what we write."""


class LogEntry(NamedTuple):
    """Something written at one moment: a line, a part of a long one, or many lines at once."""

    time: str
    stream: str
    data: bytes


def now_text() -> str:
    """Return the time in UTC, RFC 3339, nanoseconds without trailing zeros."""
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"{moment}Z"


def encode_lines(data: bytes, stream: str, time: str) -> bytes:
    """Return log lines for *data*, an entry for each of its lines; it need not end in a newline."""
    if not data.translate(None, _PLAIN):  # nothing to quote: three times as fast
        return _join_lines(data, stream, time)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        lines = data.removesuffix(b"\n").split(b"\n")
        last = lines.pop() + (b"\n" if data.endswith(b"\n") else b"")
        parts = (_encode_one(line, stream, time) for line in (*(x + b"\n" for x in lines), last))
        return b"".join(parts)
    mark = _RARE_MARK if _MARK in text else _MARK
    body = _quote(text.replace("\n", mark))[1:-1]
    for plain, escaped in _ESCAPES:
        if plain in body:
            body = body.replace(plain, escaped)
    return _join_lines(body.replace(mark, "\n").encode(), stream, time)


def _join_lines(quoted: bytes, stream: str, time: str) -> bytes:
    """Put the rest of an entry around each line of text that is quoted already."""
    tail = f'","stream":"{stream}","time":"{time}"}}\n'.encode()
    joined = _HEAD + quoted.replace(b"\n", b"\\n" + tail + _HEAD)
    return joined.removesuffix(_HEAD) if quoted.endswith(b"\n") else joined + tail


def _encode_one(line: bytes, stream: str, time: str) -> bytes:
    try:
        line.decode()
    except UnicodeDecodeError:
        entry = {"log": line.decode(errors="replace"), "stream": stream, "time": time,
                 "raw": base64.b64encode(line).decode()}  # fmt: skip
        text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
        for plain, escaped in _ESCAPES:
            text = text.replace(plain, escaped)
        return text.encode() + b"\n"
    return encode_lines(line, stream, time)


def decode_lines(lines: bytes) -> list[LogEntry]:
    """Return the entries of whole log lines, one each.

    Raises:
        DamagedLogError: A line is not one of ours.
    """
    return _by_line(_decode(lines, is_strict=True))


def decode_readable_lines(lines: bytes) -> list[LogEntry]:
    """Return the entries of those lines that are ours; a damaged one is passed over."""
    return _by_line(_decode(lines, is_strict=False))


def decode_runs(lines: bytes) -> list[LogEntry]:
    """Return the readable entries; neighbours of one stream and time are one entry.

    A chunk of output shares what stands around each of its lines, so it is taken
    apart as a whole: ten times as fast as line by line.
    """
    return list(_decode(lines, is_strict=False))


def split_lines(data: bytes) -> list[bytes]:
    """Return the lines of an entry with their newlines; the last one may lack it."""
    return _LINE.findall(data) or [data]


def _by_line(entries: Iterator[LogEntry]) -> list[LogEntry]:
    return [
        LogEntry(time, stream, line) for time, stream, data in entries for line in split_lines(data)
    ]


def _decode(lines: bytes, *, is_strict: bool) -> Iterator[LogEntry]:
    start, size = 0, lines.rfind(b"\n") + 1
    while start < size:
        line_end = lines.index(b"\n", start) + 1
        tail_start = lines.rfind(_TAIL_START, start, line_end)
        match = _TAIL.fullmatch(lines, tail_start, line_end) if tail_start >= 0 else None
        if match is None:
            yield from _decode_one(lines[start : line_end - 1], is_strict=is_strict)
            start = line_end
            continue
        end = _end_of_run(lines, match[0], line_end, size)
        if end == line_end and lines.startswith(_HEAD, start):
            data = _unquoted(lines[start + len(_HEAD) : tail_start])
            if data is not None:
                yield LogEntry(match[2].decode(), match[1].decode(), data)
                start = end
                continue
        yield from _decode_run(lines[start:end], match, is_strict=is_strict)
        start = end


def _end_of_run(lines: bytes, tail: bytes, line_end: int, size: int) -> int:
    """Return the end of a line with this tail, as far on as a few looks find one."""
    end, step = line_end, _SHORTEST_STEP_BYTES
    while end < size:
        at = lines.find(b"\n", min(end + step, size - 1)) + 1
        if lines.endswith(tail, end, at):
            end = at
            step *= 2
        elif step <= _SHORTEST_STEP_BYTES:
            break
        else:
            step //= 4
    return end


def _decode_run(lines: bytes, match: re.Match[bytes], *, is_strict: bool) -> Iterator[LogEntry]:
    """Give the entries of lines most of which end as *match* does."""
    tail = match[0]
    stream, time = match[1].decode(), match[2].decode()
    # What is within a line is quoted, so this is found between two lines only.
    joined = lines.replace(b"\\n" + tail + _HEAD, b"\\n")
    ending = tail[:-1]
    pieces = [
        _unquoted(piece[len(_HEAD) : -len(ending)])
        if piece.startswith(_HEAD) and piece.endswith(ending)
        else None
        for piece in joined[:-1].split(b"\n")
    ]
    if None in pieces:  # other lines among them: each on its own
        for line in lines[:-1].split(b"\n"):
            yield from _decode_one(line, is_strict=is_strict)
        return
    for data in pieces:
        if data is not None:
            yield LogEntry(time, stream, data)


def _unquoted(quoted: bytes) -> bytes | None:
    """Return the bytes of a JSON string without its quotes; None when it is not a simple one."""
    if b'"' in quoted or quoted.count(b"\\") != quoted.count(b"\\n"):
        try:
            text: str = json.loads(b'"%b"' % quoted)
            return text.encode()
        except ValueError:
            return None
    return quoted.replace(b"\\n", b"\n")


def _decode_one(line: bytes, *, is_strict: bool) -> Iterator[LogEntry]:
    try:
        yield _entry(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if is_strict:
            raise DamagedLogError(f"damaged log line: {error}") from error


def _entry(row: dict[str, Any]) -> LogEntry:
    raw = row.get("raw")
    data = base64.b64decode(raw) if raw else row.get("log", "").encode()
    time, stream = row["time"], row.get("stream", "stdout")
    if not (isinstance(time, str) and isinstance(stream, str)):
        raise TypeError("time and stream are texts")
    return LogEntry(time, stream, data)
