# SPDX-License-Identifier: Apache-2.0
"""Docker's JSON log lines (rule 2.39): bytes to lines by the chunk, and back to the same bytes.

One object a line: ``log``, ``stream``, ``time``. Bytes that are no UTF-8 are
shown as U+FFFD there, as docker does, and kept whole in a fourth key, ``raw``
(base64), so that reading the log gives back what was written (row S-75).
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from json.encoder import encode_basestring as _quote
from typing import Any, Final

from toolkit.errors import ToolkitError

MAX_LINE_BYTES: Final = 16 * 1024  # docker splits longer ones; the parts lack a newline

# Stands for a newline while a chunk is quoted; quoting leaves it alone. The first keeps the
# text at one byte a character; the second, a lone surrogate, is in no decoded UTF-8.
_MARK, _RARE_MARK = "\x7f", "\udc0a"
_HEAD: Final = b'{"log":"'
_PLAIN: Final = bytes({*range(0x20, 0x7F), 0x0A} - set(b'"\\<>&'))
_ESCAPES: Final = (
    ("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"),
    ("\u2028", "\\u2028"), ("\u2029", "\\u2029"),
)  # fmt: skip


class DamagedLogError(ToolkitError):
    """A line of a log is not what we write."""


@dataclass(frozen=True)
class LogEntry:
    """One entry of a log: a line, or a part of a long or unfinished one."""

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
    """Return the entries of whole log lines.

    Raises:
        DamagedLogError: A line is not one of ours.
    """
    try:
        rows = json.loads(b"[" + b",".join(lines.split(b"\n")[:-1]) + b"]")
        return [_entry(row) for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedLogError(f"damaged log line: {error}") from error


def decode_readable_lines(lines: bytes) -> list[LogEntry]:
    """Return the entries of those lines that are ours; a damaged one is passed over."""
    try:
        return decode_lines(lines)
    except DamagedLogError:
        entries = []
        for line in lines.split(b"\n")[:-1]:
            with suppress(DamagedLogError):
                entries += decode_lines(line + b"\n")
        return entries


def _entry(row: dict[str, Any]) -> LogEntry:
    raw = row.get("raw")
    data = base64.b64decode(raw) if raw else row.get("log", "").encode()
    time, stream = row["time"], row.get("stream", "stdout")
    if not (isinstance(time, str) and isinstance(stream, str)):
        raise TypeError("time and stream are texts")
    return LogEntry(time, stream, data)
