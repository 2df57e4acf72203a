# SPDX-License-Identifier: Apache-2.0
"""One coroutine's wait for what a callback of asyncio tells."""

from __future__ import annotations

import asyncio


class Waiting:
    """A wait that can be woken, or ended with an error, when there is one."""

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Wait until `wake`.

        Raises:
            BaseException: What `fail` was given.
        """
        self._future = asyncio.get_running_loop().create_future()
        try:
            await self._future
        finally:
            self._future = None

    def wake(self) -> None:
        """Wake who waits, if anybody does."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def fail(self, error: BaseException) -> None:
        """End the wait with an error, if there is one."""
        if self._future is not None and not self._future.done():
            self._future.set_exception(error)
