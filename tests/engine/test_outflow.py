# SPDX-License-Identifier: Apache-2.0
"""Bytes from a thread to the event loop."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.engine.outflow import Outflow

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO


def test_the_first_thing_comes_before_the_bytes() -> None:
    def make(tell: Callable[[str], None], out: BinaryIO) -> None:
        tell("head")
        out.writelines(bytes(200_000) for _ in range(10))

    async def read() -> tuple[str, int]:
        outflow = Outflow(make)
        first = await outflow.first()
        return first, sum([len(chunk) async for chunk in outflow.chunks()])

    assert asyncio.run(read()) == ("head", 2_000_000)


@pytest.mark.parametrize("is_late", [False, True])
def test_a_failure_is_raised_where_the_bytes_are_read(is_late: bool) -> None:  # noqa: FBT001 - a case
    def make(tell: Callable[[str], None], out: BinaryIO) -> None:
        if is_late:
            tell("head")
            out.write(b"some")
        raise LookupError

    async def read() -> Any:
        outflow = Outflow(make)
        first = await outflow.first()
        return first, [chunk async for chunk in outflow.chunks()]

    with pytest.raises(LookupError):
        asyncio.run(read())


def test_a_reader_that_goes_away_ends_the_thread() -> None:
    ended = threading.Event()

    def make(tell: Callable[[str], None], out: BinaryIO) -> None:
        tell("head")
        try:
            while True:
                out.write(bytes(1_000_000))
        finally:
            ended.set()

    async def read() -> None:
        outflow = Outflow(make)
        await outflow.first()
        async with aclosing(outflow.chunks()) as chunks:
            async for _ in chunks:
                break
        await asyncio.to_thread(ended.wait, 10)

    asyncio.run(read())
    assert ended.is_set()
