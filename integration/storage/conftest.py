# SPDX-License-Identifier: Apache-2.0
"""Storage needs no engine: the leak check here compares this machine's mounts alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_leaks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take the place of the check that starts an engine."""
    own = str(tmp_path_factory.getbasetemp())
    before = _mounts(own)
    yield
    assert _mounts(own) == before


def _mounts(own: str) -> list[str]:
    """Return the mounts in this worker's directory: others come and go meanwhile."""
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if own in line]
