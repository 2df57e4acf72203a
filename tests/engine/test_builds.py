# SPDX-License-Identifier: Apache-2.0
"""Builds of a whole engine on fakes: images kept and found again, steps' containers gone."""

from __future__ import annotations

import asyncio
import io
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.engine import World
from tests.waiting import until
from toolkit.build.builder import StepFailedError
from toolkit.build.ports import BuildOptions, Told
from toolkit.engine.workshop import _login
from toolkit.errors import DockerfileError, ImageNotFoundError, InvalidReferenceError
from toolkit.images.references import Reference
from toolkit.images.registry.credentials import NOBODY, Credentials

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.engine.engine import Engine
    from toolkit.images.image import Image


def context(text: str) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text.encode()))
    out.seek(0)
    return out


class Listener:
    """Takes what a build tells."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def __call__(self, told: Told) -> None:
        self.texts.append(told.stream or told.image_id)


async def build(engine: Engine, text: str, **options: Any) -> tuple[Image, list[str]]:
    tell = Listener()
    image = await engine.builds.build(BuildOptions(**options), context(text), tell)
    return image, tell.texts


async def started(world: World) -> None:
    """Wait until a step's program runs; the supervisor of the tests tells nobody."""
    await until(lambda: bool(world.supervisor.programs))


def test_a_build_names_its_image_and_is_remembered(tmp_path: Path) -> None:
    async def check() -> None:
        world = World(tmp_path)
        async with world.engine() as engine:
            text = "FROM img\nENV A=1\nLABEL b=c\n"
            image, told = await build(engine, text, tags=("a/b", "c:1"))
            assert "A=1" in image.config["Env"]
            assert image.history[-1]["empty_layer"]
            assert (await engine.images.inspect("c:1")).references == ("a/b:latest", "c:1")
            assert told[-4:] == [
                image.id,
                f"Successfully built {image.id[7:19]}\n",
                "Successfully tagged a/b:latest\n",
                "Successfully tagged c:1\n",
            ]
            again, told = await build(engine, text, quiet=True)
            assert again.id == image.id
            assert told == [image.id, f"{image.id}\n"]
            assert list(world.instance.builds_dir.iterdir()) == []

    asyncio.run(check())


def test_a_step_that_fails_leaves_no_container(tmp_path: Path) -> None:
    async def check() -> None:
        world = World(tmp_path)
        world.supervisor.ends_at_once = 23
        async with world.engine() as engine:
            with pytest.raises(StepFailedError) as failed:
                await build(engine, "FROM img\nRUN x\n")
            assert failed.value.code == 23
            assert await engine.containers() == []
            spec = world.supervisor.last.document["process"]
            assert spec["args"] == ["/bin/sh", "-c", "x"]

    asyncio.run(check())


def test_a_build_that_is_cancelled_leaves_no_container(tmp_path: Path) -> None:
    """S-68 on fakes."""

    async def check() -> None:
        world = World(tmp_path)
        async with world.engine() as engine:
            task = asyncio.create_task(build(engine, "FROM img\nRUN x\n"))
            await started(world)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await engine.containers() == []
            assert list(world.instance.builds_dir.iterdir()) == []

    asyncio.run(check())


def test_an_engine_after_a_crash_removes_a_build_s_container(tmp_path: Path) -> None:
    async def check() -> None:
        world = World(tmp_path)
        async with world.killed_engine() as engine:
            task = asyncio.create_task(build(engine, "FROM img\nRUN x\n"))
            await started(world)
            task.cancel()
        async with world.engine() as engine:
            assert await engine.containers() == []

    asyncio.run(check())


@pytest.mark.parametrize(
    ("text", "options", "error"),
    [
        ("FROM img\nWHAT x", {}, DockerfileError),
        ("FROM img", {"tags": ("A B",)}, InvalidReferenceError),
        (f"FROM sha256:{'0' * 64}", {}, ImageNotFoundError),
    ],
)
def test_what_cannot_be_built_is_refused(
    tmp_path: Path, text: str, options: dict[str, Any], error: type[Exception]
) -> None:
    async def check() -> None:
        async with World(tmp_path).engine() as engine:
            with pytest.raises(error):
                await build(engine, text, **options)

    asyncio.run(check())


def test_a_prune_takes_what_has_no_name(tmp_path: Path) -> None:
    async def check() -> None:
        async with World(tmp_path).engine() as engine:
            await build(engine, "FROM img\nENV A=1\nENV B=1\n")
            named, _ = await build(engine, "FROM img\nENV C=1\n", tags=("kept",))
            pruned = await engine.builds.prune()
            assert len(pruned.image_ids) == 2
            assert named.id not in pruned.image_ids
            left = {image.references for image in await engine.images.list()}
            assert left == {("img:latest",), ("kept:latest",)}

    asyncio.run(check())


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("h:5000", "h:5000/a"),
        ("https://h.io", "h.io/a"),
        ("https://index.docker.io/v1/", "busybox"),
    ],
)
def test_a_login_is_found_by_its_registry(address: str, name: str) -> None:
    login = Credentials(username="u")
    assert _login(BuildOptions(logins={address: login}), Reference.parse(name)) is login
    assert _login(BuildOptions(), Reference.parse(name)) is NOBODY
