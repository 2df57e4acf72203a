# SPDX-License-Identifier: Apache-2.0
"""Storage needs no engine: the leak check here compares this machine's mounts alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    """Take the place of the check that starts an engine."""
    before = _mounts()
    yield
    assert _mounts() == before


def _mounts() -> list[str]:
    """Return this machine's mounts but those of images in files: another worker makes them, too."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line for line in lines if not line.startswith("/dev/loop")]
