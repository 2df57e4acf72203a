# SPDX-License-Identifier: Apache-2.0
"""Directories of ours, held open for the length of a block."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@contextmanager
def opened_directories(directories: Sequence[Path]) -> Iterator[list[int]]:
    """Open directories of ours for the length of a block."""
    with ExitStack() as opened:
        fds = []
        for directory in directories:
            fds.append(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            opened.callback(os.close, fds[-1])
        yield fds
