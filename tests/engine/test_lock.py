# SPDX-License-Identifier: Apache-2.0
"""One engine owns an instance."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from toolkit.engine.lock import InstanceLock
from toolkit.errors import InstanceLockedError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_second_engine_is_told_the_holder_and_since_when(tmp_path: Path) -> None:
    """Fault F-29."""
    lock = InstanceLock.acquire(tmp_path / "engine.lock")
    with pytest.raises(
        InstanceLockedError, match=rf"process {os.getpid()} holds .* since \d{{4}}-"
    ):
        InstanceLock.acquire(tmp_path / "engine.lock")
    lock.release()
    lock.release()
    InstanceLock.acquire(tmp_path / "engine.lock").release()


def test_a_lock_that_a_dead_engine_left_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    path.write_text("1 2013-12-16T00:00:00+00:00\nand more than that\n")
    lock = InstanceLock.acquire(path)
    assert path.read_text().split()[0] == str(os.getpid())
    assert len(path.read_text().splitlines()) == 1
    lock.release()


def test_a_holder_that_cannot_be_read_is_still_a_holder(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    lock = InstanceLock.acquire(path)
    path.write_bytes(b"\xff\xfe\0")
    with pytest.raises(InstanceLockedError, match="another process"):
        InstanceLock.acquire(path)
    lock.release()
