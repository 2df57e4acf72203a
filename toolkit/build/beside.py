# SPDX-License-Identifier: Apache-2.0
"""Work that may take long, in a thread of its own, awaited."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")


async def beside(
    act: Callable[[], _Result], *, undo: Callable[[_Result], object] | None = None
) -> _Result:
    """Return what *act* returns; a cancellation is told only when it has ended.

    So whoever cleans up behind it finds nobody at work there. *undo* is given a
    result that nobody will get.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_Result] = loop.create_future()

    def run() -> None:
        try:
            result = act()
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            loop.call_soon_threadsafe(done.set_exception, error)
        else:
            loop.call_soon_threadsafe(done.set_result, result)

    threading.Thread(target=run, name="beside", daemon=True).start()
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        while not done.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([done])
        if done.exception() is None and undo is not None:
            undo(done.result())
        raise
