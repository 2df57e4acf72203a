# SPDX-License-Identifier: Apache-2.0
"""Archives for tests, made by the standard library: what we read, another wrote."""

from __future__ import annotations

import io
import tarfile
from typing import Any

FILE, DIRECTORY, SYMLINK, HARD_LINK = (
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
)


def member(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """Return one member; *fields* are attributes of `tarfile.TarInfo`."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o755 if fields.get("type") == DIRECTORY else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def directory(name: str, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=DIRECTORY, **fields)


def symlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=SYMLINK, linkname=target)


def hard_link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=HARD_LINK, linkname=target)


def archive(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w", **options: Any) -> io.BytesIO:
    """Return an archive of the members, ready to be read."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, **options) as writer:  # type: ignore[call-overload] # the mode is a variable
        for info, content in members:
            writer.addfile(info, io.BytesIO(content))
    out.seek(0)
    return out
