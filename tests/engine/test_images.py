# SPDX-License-Identifier: Apache-2.0
"""Images through the engine: who uses them, and what is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.fakes.engine import IMAGE, World, created
from toolkit.errors import ImageInUseError, ImageNotFoundError

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
