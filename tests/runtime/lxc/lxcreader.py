# SPDX-License-Identifier: Apache-2.0
"""Our own model of how LXC reads a configuration: confile.c's lines, getmntent(3)'s fields."""

from __future__ import annotations

from dataclasses import dataclass

_BUFFER_BYTES = 4096
_ESCAPES = {"040": " ", "011": "\t", "012": "\n", "134": "\\"}


@dataclass(frozen=True)
class ReadEntry:
    source: str
    target: str
    kind: str
    options: tuple[str, ...]


def read_settings(content: bytes) -> list[tuple[str, str]]:
    """What `parse_line` makes of each line; those that are no setting are passed over."""
    settings = []
    for line in content.split(b"\n"):
        text = line.decode("utf-8", "surrogateescape").lstrip(" \t")
        if not text.startswith("lxc."):
            continue
        key, equals, value = text.partition("=")
        assert equals, f"LXC refuses this line: {text!r}"
        value = value.strip(" \t")
        if len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]:
            value = value[1:-1]
        settings.append((key.rstrip(" \t"), value))
    return settings


def read_mount_entry(value: str) -> ReadEntry | None:
    """What getmntent_r makes of an entry, from a buffer that cuts long lines; None: a comment."""
    line = value.encode("utf-8", "surrogateescape") + b"\n"
    text = line[: _BUFFER_BYTES - 1].decode("utf-8", "surrogateescape").rstrip("\n").lstrip(" \t")
    if text.startswith("#"):
        return None
    fields = [field for field in text.replace("\t", " ").split(" ") if field]
    source, target, kind, options = (_unescape(field) for field in fields[:4])
    return ReadEntry(source, target, kind, tuple(options.split(",")))


def _unescape(field: str) -> str:
    parts = field.split("\\")
    out = parts[0]
    rest = iter(parts[1:])
    for part in rest:
        if part[:3] in _ESCAPES:
            out += _ESCAPES[part[:3]] + part[3:]
        elif not part:  # two backslashes stand for one
            out += "\\" + next(rest, "")
        else:
            out += "\\" + part
    return out
