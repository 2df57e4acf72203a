# SPDX-License-Identifier: Apache-2.0
"""Names in an archive: what they mean below the root, and what deletes what.

A name is bytes. It is cleaned as text only to be refused or split; where it
leads is decided by the kernel (`toolkit.storage.unpack`).
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from toolkit.errors import UnsafeArchiveError

WHITEOUT_PREFIX: Final = b".wh."
OPAQUE_MARKER: Final = b".wh..wh..opq"
_AUFS_PREFIX: Final = b".wh..wh."  # metadata of aufs: its hard links, its orphans
_LONGEST_PATH: Final = 4095
_SHOWN_BYTES: Final = 200


class Whiteouts(Enum):
    """What becomes of a member called ``.wh.<name>``."""

    OVERLAY = "overlay"
    """A whiteout of overlayfs: a character device 0:0, or an opaque directory."""

    KEEP = "keep"
    """An empty file of that name, for `toolkit.storage.merge`."""

    NONE = "none"
    """Nothing special: the archive is no layer."""


class Mark(Enum):
    """What a member's name says beside naming a file."""

    PLAIN = "plain"
    WHITEOUT = "whiteout"
    OPAQUE = "opaque"
    IGNORED = "ignored"


def printable(name: bytes) -> str:
    """Return a name as a person can read it, however long and whatever its bytes."""
    text = name[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    return text + "..." if len(name) > _SHOWN_BYTES else text


def clean_name(name: bytes) -> bytes:
    """Return the path below the root that a name means; empty for the root itself.

    A leading slash means the root. Nothing is asked of the file system.

    Raises:
        UnsafeArchiveError: The name leaves the root, or cannot be a path.
    """
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if not part or part == b".":
            continue
        if part != b"..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            raise UnsafeArchiveError(printable(name), "the name leads out of the archive's root")
    path = b"/".join(parts)
    if b"\0" in path:
        raise UnsafeArchiveError(printable(name), "the name holds a zero byte")
    if len(path) > _LONGEST_PATH:
        raise UnsafeArchiveError(printable(name), "the name is longer than a path can be")
    return path


def mark_of(name: bytes) -> Mark:
    """Return what a layer's member means by its name.

    Raises:
        UnsafeArchiveError: A whiteout of nothing, of the directory itself or of its parent.
    """
    if WHITEOUT_PREFIX not in name:
        return Mark.PLAIN
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if parts and parts[-1] == OPAQUE_MARKER:
        parts.pop()
        mark = Mark.OPAQUE
    elif parts and parts[-1].startswith(WHITEOUT_PREFIX):
        mark = Mark.WHITEOUT
    else:
        mark = Mark.PLAIN
    if any(part.startswith(_AUFS_PREFIX) for part in parts):
        return Mark.IGNORED
    if mark is Mark.WHITEOUT and parts.pop()[len(WHITEOUT_PREFIX) :] in {b"", b".", b".."}:
        raise UnsafeArchiveError(printable(name), "a whiteout must name something in its directory")
    if any(part.startswith(WHITEOUT_PREFIX) for part in parts):
        raise UnsafeArchiveError(printable(name), "a whiteout is no directory")
    return mark
