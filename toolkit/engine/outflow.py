# SPDX-License-Identifier: Apache-2.0
"""Bytes that a thread makes and the event loop hands on, no faster than they are taken."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

from toolkit.engine.feed import Feed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from typing import BinaryIO

_CHUNK_BYTES: Final = 256 * 1024

_First = TypeVar("_First")


class Outflow(Generic[_First]):
    """What one thread tells first, and then the bytes that it writes.

    Args:
        make: Called in the thread, with what takes the first thing, and the file to write to.
    """

    def __init__(self, make: Callable[[Callable[[_First], None], BinaryIO], None]) -> None:
        self._make = make
        self._items: AsyncGenerator[_First | bytes, None] | None = None

    async def first(self) -> _First:
        """Begin, and return the first thing; fails as the thread does before it."""
        feed: Feed[_First | bytes] = Feed(self._fill)
        self._items = await feed.begin()
        return cast("_First", await anext(self._items))

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes; one that is not read to the end ends the thread."""
        items = self._items
        if items is None:
            return
        try:
            async for item in items:
                yield cast("bytes", item)
        finally:
            await items.aclose()

    def _fill(self, put: Callable[[_First | bytes], None]) -> None:
        out = io.BufferedWriter(_Sink(put), _CHUNK_BYTES)
        self._make(put, cast("BinaryIO", out))
        out.flush()


class _Sink(io.RawIOBase):
    def __init__(self, put: Callable[[bytes], None]) -> None:
        super().__init__()
        self._put = put

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        piece = bytes(cast("bytes", data))
        self._put(piece)
        return len(piece)
