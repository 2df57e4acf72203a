# SPDX-License-Identifier: Apache-2.0
"""Images through the engine: who uses them, and what is told."""

from __future__ import annotations

import asyncio
import io
import threading
from typing import TYPE_CHECKING, BinaryIO, cast

import pytest

from tests.fakes.engine import IMAGE, World, created
from tests.storage.archives import archive, member
from tests.waiting import PATIENCE_SECONDS
from toolkit.build.fetch import Fetched
from toolkit.errors import ImageInUseError, ImageNotFoundError, UnsafeArchiveError

if TYPE_CHECKING:
    from pathlib import Path


def test_an_image_is_removed_only_when_no_container_stands_on_it(tmp_path: Path) -> None:
    """Rule 10.36."""

    async def run() -> None:
        async with World(tmp_path).engine() as engine:
            container = await created(engine, "user")
            image = await engine.images.inspect(IMAGE)
            with pytest.raises(ImageInUseError):
                await engine.images.remove(image.id)
            await container.remove()
            removed = await engine.images.remove(IMAGE)
            assert removed[0].untagged == "img:latest"
            assert removed[1].deleted == image.id
            with pytest.raises(ImageNotFoundError):
                await engine.images.inspect(IMAGE)
            told = [(event.type, event.action) for event in engine.events._kept]
            assert told[-2:] == [("image", "untag"), ("image", "delete")]

    asyncio.run(run())


def test_a_tag_is_one_more_name(tmp_path: Path) -> None:
    async def run() -> None:
        async with World(tmp_path).engine() as engine:
            await engine.images.tag(IMAGE, "docker.io/library/other:v1")
            [image] = await engine.images.list()
            assert image.references == ("img:latest", "other:v1")
            assert engine.events._kept[-1].action == "tag"

    asyncio.run(run())


def test_imports_that_hang_keep_nobody_else_waiting(tmp_path: Path) -> None:
    """S-94: clients that send nothing take no thread that others need."""
    hang = threading.Event()

    class Silent(io.RawIOBase):
        def read(self, _: int = -1, /) -> bytes:
            hang.wait(PATIENCE_SECONDS)
            return b""

    async def run() -> None:
        async with World(tmp_path).engine() as engine:
            imports = [
                asyncio.ensure_future(engine.images.import_(cast("BinaryIO", Silent())))
                for _ in range(20)
            ]
            async with asyncio.timeout(PATIENCE_SECONDS / 2):
                await asyncio.sleep(0.05)
                assert await engine.images.list()
            hang.set()
            ended = await asyncio.gather(*imports, return_exceptions=True)
            assert all(isinstance(one, UnsafeArchiveError) for one in ended)

    asyncio.run(run())


def test_an_image_is_fetched_by_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 3.6: without a scheme by http; what was fetched does not stay."""
    asked = []

    def fetch(url: str, directory: Path) -> Fetched:
        asked.append(url)
        (directory / "root.tar").write_bytes(archive(member("f", b"x")).getvalue())
        return Fetched("root.tar", named=True)

    monkeypatch.setattr("toolkit.engine.images.fetch_file", fetch)

    async def run() -> None:
        async with World(tmp_path).engine() as engine:
            image = await engine.images.import_url(
                "host/root.tar", reference="got:1", config={}, message="m"
            )
            assert (await engine.images.inspect("got:1")).id == image.id
            assert list(engine.instance.builds_dir.iterdir()) == []

    asyncio.run(run())
    assert asked == ["http://host/root.tar"]
