# SPDX-License-Identifier: Apache-2.0
"""Volumes as the engine keeps them, and what a new one gets of the image."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from tests.fakes.engine import IMAGE, World
from toolkit.engine.model import ContainerSpec, HostOptions, Mount
from toolkit.engine.volume_cases import VolumeInUseError
from toolkit.engine.volumes import VolumeNotFoundError
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.engine.engine import Engine


def spec(*mounts: Mount, **changes: object) -> ContainerSpec:
    return ContainerSpec(image=IMAGE, host=HostOptions(mounts=mounts), **changes)  # type: ignore[arg-type]  # fields by name


def named(name: str, target: str = "/v", **changes: object) -> Mount:
    return Mount(kind="volume", source=name, target=target, **changes)  # type: ignore[arg-type]  # fields by name


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_volume_in_use_stays(world: World) -> None:
    async def scenario() -> None:
        async with world.engine() as engine:
            await engine.volumes.create("data", labels={"a": "b"})
            container, _ = await engine.create_container(spec(named("data")))
            with pytest.raises(VolumeInUseError, match=container.record.id):
                await engine.volumes.remove("data")
            await container.remove(volumes=True)
            assert (await engine.volumes.inspect("data")).labels == {"a": "b"}
            await engine.volumes.remove("data")
            with pytest.raises(VolumeNotFoundError):
                await engine.volumes.remove("data")
            await engine.volumes.remove("data", force=True)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "words", [{"driver": "nfs"}, {"options": {"type": "nfs"}}, {"name": "a/b"}]
)
def test_what_there_is_not_is_refused(world: World, words: dict[str, object]) -> None:
    async def scenario() -> None:
        async with world.engine() as engine:
            with pytest.raises(InvalidRequestError):
                await engine.volumes.create(**words)  # type: ignore[arg-type]  # a case

    asyncio.run(scenario())


def test_prune_takes_a_choice_of_what_nobody_has(world: World) -> None:
    async def scenario(engine: Engine) -> tuple[list[str], int]:
        made = await engine.volumes.create()
        assert made.is_anonymous
        (world.instance.data_dir / "volumes" / made.name / "_data/f").write_bytes(bytes(9))
        await engine.volumes.create("kept")
        await engine.create_container(spec(volumes=("/v",)))
        removed, freed = await engine.volumes.prune(lambda volume: volume.is_anonymous)
        assert removed == [made.name]
        return removed, freed

    async def run() -> None:
        async with world.engine() as engine:
            assert (await scenario(engine))[1] == 9

    asyncio.run(run())


def test_a_failed_create_leaves_no_volume(world: World) -> None:
    async def scenario() -> None:
        async with world.engine() as engine:
            world.layers.tree_dir = world.dir / "missing"
            with pytest.raises(FileNotFoundError):
                await engine.create_container(spec(volumes=("/v",)))
            assert await engine.volumes.list() == []

    asyncio.run(scenario())


def test_a_new_volume_is_filled_and_one_with_content_is_kept(world: World) -> None:
    """Rules 8.12 and 8.13, RT-140, S-28."""
    tree = world.dir / "tree"
    (tree / "hello/local").mkdir(parents=True)
    (tree / "hello/local/world").write_text("image")
    (tree / "hello/link").symlink_to("/etc/shadow")
    (tree / "hello").chmod(0o700)
    os.mkfifo(tree / "hello/fifo")
    (tree / "evil").symlink_to(world.dir)
    world.layers.tree_dir = tree

    async def scenario() -> None:
        async with world.engine() as engine:
            await engine.create_container(spec(named("a", "/hello"), named("b", "/evil/tree")))
            a, b = [world.instance.data_dir / "volumes" / name / "_data" for name in "ab"]
            assert (a / "local/world").read_text() == "image"
            assert (a / "link").readlink().as_posix() == "/etc/shadow"
            assert a.stat().st_mode & 0o777 == 0o700
            assert list(b.iterdir()) == []
            (a / "local/world").write_text("kept")
            await engine.create_container(spec(named("a", "/hello")))
            assert (a / "local/world").read_text() == "kept"
            await engine.create_container(spec(named("c", "/hello", no_copy=True)))
            assert list((a.parent.parent / "c/_data").iterdir()) == []

    asyncio.run(scenario())
