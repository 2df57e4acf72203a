# SPDX-License-Identifier: Apache-2.0
"""How much an archive may ask of us, whatever it claims about itself (row S-56)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final, Self

GIB: Final = 1024**3
_KEPT_FREE: Final = 0.05  # of the file system, for everyone else


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """The most that one archive may take. The ratio of compression plays no part.

    Attributes:
        unpacked_bytes: Sum of the sizes of all files, holes included.
        members: Headers of any kind.
        header_bytes: One extended header: a pax header, or a long name of GNU tar.
        sparse_segments: Pieces of one sparse file.
    """

    unpacked_bytes: int = 10 * GIB
    members: int = 1_000_000
    header_bytes: int = 1024 * 1024
    sparse_segments: int = 65_536

    @property
    def stream_bytes(self) -> int:
        """Most bytes of the uncompressed archive: content, headers and what follows its end."""
        return self.unpacked_bytes + self.unpacked_bytes // 8 + 64 * 1024 * 1024

    @classmethod
    def for_directory(cls, dir_fd: int, unpacked_bytes: int = 10 * GIB) -> Self:
        """Return the defaults, lowered to what the file system of *dir_fd* can spare."""
        space = os.fstatvfs(dir_fd)
        spare = space.f_bavail - int(space.f_blocks * _KEPT_FREE)
        return cls(unpacked_bytes=max(0, min(unpacked_bytes, spare * space.f_frsize)))
