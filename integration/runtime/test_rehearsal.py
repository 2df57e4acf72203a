# SPDX-License-Identifier: Apache-2.0
"""What a slot plays through while it waits."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from toolkit.runtime.native.rehearsal import play_child, play_shim
from toolkit.runtime.native.staging import Staging

_MOUNTS = Path("/proc/self/mountinfo")

pytestmark = pytest.mark.needs_root


def open_descriptors() -> list[str]:
    """Return what the descriptors of this process stand for; the listing's own is among them."""
    return sorted(entry.name for entry in Path("/proc/self/fd").iterdir())


def test_a_start_is_played_through_and_nothing_stays_open() -> None:
    with ExitStack() as undo:
        staging = Staging.prepare("/", {}, undo)
        before = open_descriptors()
        mounts = _MOUNTS.read_text()
        play_child(play_shim(staging))
        assert open_descriptors() == before
        assert _MOUNTS.read_text() == mounts
