# SPDX-License-Identifier: Apache-2.0
"""How a test waits: for a condition, never for a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# Far more than the slowest machine takes: only a defect lasts as long.
PATIENCE_SECONDS: Final = 60.0


async def until(is_so: Callable[[], bool]) -> None:
    """Give the event loop turns until something is so that no event tells.

    Raises:
        TimeoutError: It did not come to be so.
    """
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_so():  # noqa: ASYNC110 - there is no event for "a timer ran" or "the kernel told"
            await asyncio.sleep(0.001)
