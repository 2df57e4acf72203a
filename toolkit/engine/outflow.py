# SPDX-License-Identifier: Apache-2.0
"""Bytes that a thread makes and the event loop hands on, no faster than they are taken."""

from __future__ import annotations

import asyncio
import io
import threading
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from typing import BinaryIO

_CHUNK_BYTES: Final = 256 * 1024
_CHUNKS: Final = 4  # made ahead

_First = TypeVar("_First")


class Outflow(Generic[_First]):
    """What one thread tells first, and then the bytes that it writes.

    Args:
        make: Called in the thread, with what takes the first thing, and the file to write to.
    """

    def __init__(self, make: Callable[[Callable[[_First], None], BinaryIO], None]) -> None:
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[_First | bytes | BaseException | None] = asyncio.Queue(_CHUNKS)
        self._is_closed = False

    async def first(self) -> _First:
        """Begin, and return the first thing; fails as the thread does before it."""
        threading.Thread(target=self._run, name="outflow", daemon=True).start()
        try:
            item = await self._items.get()
        except BaseException:
            self.close()
            raise
        if isinstance(item, BaseException):
            raise item
        return cast("_First", item)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes; one that is not read to the end ends the thread."""
        try:
            while (item := await self._items.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield cast("bytes", item)
        finally:
            self.close()

    def close(self) -> None:
        """Let the thread find out, at its next write, that nobody reads any more."""
        self._is_closed = True
        while not self._items.empty():
            self._items.get_nowait()

    def _run(self) -> None:
        out = io.BufferedWriter(_Sink(self._put), _CHUNK_BYTES)
        try:
            self._make(self._put, cast("BinaryIO", out))
            out.flush()
        except BrokenPipeError:
            return
        except BaseException as error:  # noqa: BLE001 - raised again where it is read
            self._put_last(error)
        else:
            self._put_last(None)

    def _put(self, item: _First | bytes | BaseException | None) -> None:
        if self._is_closed:
            raise BrokenPipeError
        asyncio.run_coroutine_threadsafe(self._items.put(item), self._loop).result()

    def _put_last(self, item: BaseException | None) -> None:
        try:
            self._put(item)
        except (BrokenPipeError, RuntimeError):  # nobody reads, or there is no loop any more
            return


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
