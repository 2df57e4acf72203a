# SPDX-License-Identifier: Apache-2.0
"""Finding containers by name, id and the beginning of one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.fakes.engine import World, created
from toolkit.errors import ConflictError, ContainerNotFoundError, NameInUseError

if TYPE_CHECKING:
    from pathlib import Path


def test_name_then_id_then_unique_prefix(tmp_path: Path) -> None:
    """RT-005, RT-006, RT-009, API-111 and row S-76."""

    async def run() -> None:
        async with World(tmp_path).engine() as engine:
            first = await created(engine, "some_name")
            assert await engine.container("/some_name") is first
            assert await engine.container(first.record.id) is first
            assert await engine.container(first.record.id[:12]) is first
            thief = await created(engine, first.record.id[:12])
            assert await engine.container(first.record.id[:12]) is thief
            assert await engine.container(first.record.id[:13]) is first
            await first.remove()
            await thief.remove()
            other = await created(engine)
            assert await engine.container(other.record.id[:20]) is other
            for wrong in ("", "/", "nosuch", first.record.id, first.record.id[:13], "SOME_NAME",
                          "a b", other.record.id + "0", other.record.id[20:]):  # fmt: skip
                with pytest.raises(ContainerNotFoundError):
                    await engine.container(wrong)

    asyncio.run(run())


def test_a_prefix_of_several_is_ambiguous(tmp_path: Path) -> None:
    async def run() -> None:
        async with World(tmp_path).engine() as engine:
            containers = [await created(engine) for _ in range(17)]
            first_digits = [container.record.id[0] for container in containers]
            shared = next(digit for digit in first_digits if first_digits.count(digit) > 1)
            with pytest.raises(ConflictError, match="multiple IDs found"):
                await engine.container(shared)

    asyncio.run(run())


def test_containers_are_listed_newest_first(tmp_path: Path) -> None:
    """RT-015, API-007."""

    async def run() -> None:
        async with World(tmp_path).engine() as engine:
            made = [await created(engine) for _ in range(3)]
            assert await engine.containers() == made[::-1]

    asyncio.run(run())


def test_one_of_many_gets_a_name(tmp_path: Path) -> None:
    """RT-002 and fault F-19: the others are told who has it, and leave nothing."""

    async def run() -> None:
        world = World(tmp_path)
        async with world.engine() as engine:
            results = await asyncio.gather(
                *(created(engine, "wanted") for _ in range(32)), return_exceptions=True
            )
            holder = await engine.container("wanted")
            refused = [error for error in results if isinstance(error, NameInUseError)]
            assert len(refused) == 31
            assert {error.holder for error in refused} == {holder.record.id}
            assert world.layers.rw == {holder.record.id}
            assert len(list(world.instance.containers_dir.iterdir())) == 1

    asyncio.run(run())


def test_a_made_up_name_finds_its_container(tmp_path: Path) -> None:
    """RT-007."""

    async def run() -> None:
        async with World(tmp_path).engine() as engine:
            container = await created(engine)
            assert await engine.container(container.record.name) is container

    asyncio.run(run())
