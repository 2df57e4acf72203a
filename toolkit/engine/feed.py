# SPDX-License-Identifier: Apache-2.0
"""Things that a thread makes and the event loop hands on, no faster than they are taken."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

_Item = TypeVar("_Item")


class Feed(Generic[_Item]):
    """What one thread makes, item by item.

    Args:
        make: Called in the thread with `put`, which raises BrokenPipeError once nobody
            takes any more.
        ahead: How many items are made before one is taken.
    """

    def __init__(self, make: Callable[[Callable[[_Item], None]], None], *, ahead: int = 4) -> None:
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[_Item | BaseException | None] = asyncio.Queue(ahead)
        self._is_closed = False

    async def begin(self) -> AsyncGenerator[_Item, None]:
        """Wait for the first item, and return all of them; fails as the thread does before it."""
        threading.Thread(target=self._run, name="feed", daemon=True).start()
        try:
            first = await self._items.get()
        except BaseException:
            self.close()
            raise
        if isinstance(first, BaseException):
            raise first
        items = self._all(first)
        await anext(items)  # begun, so that one that is dropped unread is closed by the loop
        return cast("AsyncGenerator[_Item, None]", items)

    def close(self) -> None:
        """Let the thread find out, at its next item, that nobody takes any more."""
        self._is_closed = True
        while not self._items.empty():
            self._items.get_nowait()

    async def _all(self, first: _Item | None) -> AsyncGenerator[_Item | None, None]:
        item: _Item | BaseException | None = first
        try:
            yield None
            while item is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
                item = await self._items.get()
        finally:
            self.close()

    def _run(self) -> None:
        try:
            self._make(self._put)
        except BaseException as error:  # noqa: BLE001 - raised again where it is taken
            self._put_last(error)
        else:
            self._put_last(None)

    def _put(self, item: _Item | BaseException | None) -> None:
        if self._is_closed:
            raise BrokenPipeError
        asyncio.run_coroutine_threadsafe(self._items.put(item), self._loop).result()

    def _put_last(self, item: BaseException | None) -> None:
        try:
            self._put(item)
        except (BrokenPipeError, RuntimeError):  # nobody takes it, or there is no loop any more
            return
