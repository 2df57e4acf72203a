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
    mounts = Path("/proc/self/mounts")
    before = mounts.read_text()
    yield
    assert mounts.read_text() == before
