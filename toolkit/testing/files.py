# SPDX-License-Identifier: Apache-2.0
"""One file as the archive that docker's API wants, and back."""

from __future__ import annotations

import io
import tarfile
import time
from typing import TYPE_CHECKING, BinaryIO

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable


def packed_file(name: str, content: bytes, mode: int) -> BinaryIO:
    """Return an archive of one file, ready to be read."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        member.mode = mode
        member.mtime = int(time.time())
        archive.addfile(member, io.BytesIO(content))
    packed.seek(0)
    return packed


def only_file(chunks: Iterable[bytes], path: str) -> bytes:
    """Return the content of the one file in an archive.

    Raises:
        InvalidRequestError: It holds no file.
    """
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        for member in archive:
            if (file := archive.extractfile(member)) is not None:
                return file.read()
    raise InvalidRequestError(f"{path} is no file")
