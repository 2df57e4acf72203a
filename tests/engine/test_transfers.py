# SPDX-License-Identifier: Apache-2.0
"""Images on their way through an engine: what is told when, and who hears of it."""

from __future__ import annotations

import asyncio
import gc
import io
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.engine import IMAGE, World
from tests.fakes.registry import FakeRegistry
from tests.waiting import until
from toolkit.engine.feed import Feed
from toolkit.errors import ImageNotFoundError, RemoteImageNotFoundError
from toolkit.images.references import Reference

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from toolkit.engine.engine import Engine
    from toolkit.images.progress import ProgressMessage


async def read(messages: AsyncGenerator[ProgressMessage, None]) -> list[str]:
    return [message.status or message.stream async for message in messages]


def told(engine: Engine) -> list[tuple[str, str]]:
    return [(event.action, event.id) for event in engine.events._kept if event.type == "image"]


def test_an_image_goes_to_a_registry_and_comes_back(tmp_path: Path) -> None:
    async def run(registry: FakeRegistry) -> None:
        name = Reference.parse(f"{registry.host}/a/b:1")
        async with World(tmp_path).engine() as engine:
            await engine.images.tag(IMAGE, str(name))
            sent = await engine.images.inspect(IMAGE)
            assert "digest: sha256:" in "".join(await read(await engine.transfers.push(name)))
            await engine.images.remove(sent.id, force=True)
            lines = await read(await engine.transfers.pull(name))
            assert lines[-1] == f"Status: Downloaded newer image for {name}"
            assert (await engine.images.inspect(str(name))).id == sent.id
            await asyncio.sleep(0)
            assert told(engine)[-1] == ("pull", str(name))
            assert ("push", str(name)) in told(engine)

    with FakeRegistry() as registry:
        asyncio.run(run(registry))


def test_what_is_not_there_is_refused_before_anything_is_told(tmp_path: Path) -> None:
    async def run(registry: FakeRegistry) -> None:
        name = Reference.parse(f"{registry.host}/a/b:1")
        async with World(tmp_path).engine() as engine:
            with pytest.raises(RemoteImageNotFoundError):
                await engine.transfers.pull(name)
            with pytest.raises(ImageNotFoundError):
                await engine.transfers.push(name)
            with pytest.raises(ImageNotFoundError):
                await engine.transfers.save(["img", "nothing"])

    with FakeRegistry() as registry:
        asyncio.run(run(registry))


def test_a_saved_image_is_loaded_with_its_name(tmp_path: Path) -> None:
    async def run() -> None:
        async with World(tmp_path).engine() as engine:
            sent = await engine.images.inspect(IMAGE)
            chunks = [chunk async for chunk in await engine.transfers.save([IMAGE])]
            await engine.images.remove(IMAGE)
            archive = io.BytesIO(b"".join(chunks))
            assert await read(await engine.transfers.load(archive)) == [
                "Loaded image: img:latest\n"
            ]
            assert (await engine.images.inspect(IMAGE)).id == sent.id
            await asyncio.sleep(0)
            assert told(engine)[-1] == ("load", sent.id)

    asyncio.run(run())


def test_a_search_looks_through_the_catalog_of_a_registry_without_one(tmp_path: Path) -> None:
    async def run(registry: FakeRegistry) -> list[str]:
        catalog = b'{"repositories":["a/busybox","debian"]}'
        registry.faults.replaced["/v2/_catalog"] = catalog
        async with World(tmp_path).engine() as engine:
            found = await engine.transfers.search(f"{registry.host}/busy", limit=5)
            return [one.name.partition("/")[2] for one in found]

    with FakeRegistry() as registry:
        assert asyncio.run(run(registry)) == ["a/busybox"]


def test_a_search_takes_the_registrys_own(tmp_path: Path) -> None:
    async def run(registry: FakeRegistry) -> Any:
        results = b'{"results":[{"name":"x","star_count":"many","is_official":true},7]}'
        registry.faults.replaced["/v1/search"] = results
        async with World(tmp_path).engine() as engine:
            return await engine.transfers.search(f"{registry.host}/busy", limit=5)

    with FakeRegistry() as registry:
        [found] = asyncio.run(run(registry))
    assert (found.name, found.star_count, found.is_official) == ("x", 0, True)


@pytest.mark.parametrize("is_read", [True, False])
def test_a_client_that_goes_away_ends_the_thread(*, is_read: bool) -> None:
    ended = threading.Event()

    def make(put: Callable[[int], None]) -> None:
        try:
            for number in range(10**9):
                put(number)
        finally:
            ended.set()

    async def run() -> None:
        items = await Feed(make).begin()
        if is_read:
            assert await anext(items) == 0
        del items
        gc.collect()
        await until(ended.is_set)

    asyncio.run(run())


def test_a_pipe_that_breaks_inside_is_told() -> None:
    def make(put: Callable[[int], None]) -> None:
        put(1)
        raise BrokenPipeError("somebody else's")

    async def run() -> list[int]:
        return [item async for item in await Feed(make).begin()]

    with pytest.raises(BrokenPipeError, match="somebody else's"):
        asyncio.run(run())
