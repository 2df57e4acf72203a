# SPDX-License-Identifier: Apache-2.0
"""What an engine says about itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.fakes.engine import World, created, started

if TYPE_CHECKING:
    from pathlib import Path


def test_info_counts_and_names_what_is_missing(tmp_path: Path) -> None:
    """API-002."""

    async def run() -> None:
        world = World(tmp_path)
        world.cgroups.missing = {"swap"}
        async with world.engine() as engine:
            await created(engine)
            await started(engine)
            await (await started(engine)).pause()
            info = await engine.info()
        counts = (info.containers, info.containers_running, info.containers_paused)
        assert (*counts, info.containers_stopped) == (3, 1, 1, 1)
        assert (info.images, info.driver, info.cgroup_version) == (1, "fake", 2)
        assert "WARNING: No swap limit support" in info.warnings
        assert not info.limits.swap
        assert info.memory_bytes > 1 << 20
        assert info.kernel_version

    asyncio.run(run())
