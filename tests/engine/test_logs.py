# SPDX-License-Identifier: Apache-2.0
"""Reading the log of a container, while it grows and when it does not."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from tests.fakes.engine import World, created, started
from tests.waiting import PATIENCE_SECONDS
from toolkit.engine.loglimits import check_log_options, log_limits
from toolkit.engine.logs import LogSelection
from toolkit.errors import InvalidRequestError
from toolkit.runtime.loglines import encode_lines, now_text
from toolkit.runtime.protocol import AttachClient

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.engine.container import Container


def write(world: World, container: Container, data: bytes, stream: str = "stdout") -> None:
    path = world.instance.containers_dir / container.record.id / f"{container.record.id}-json.log"
    with path.open("ab") as file:
        file.write(encode_lines(data, stream, now_text()))


async def read(container: Container, **given: object) -> list[bytes]:
    selection = LogSelection(**given)  # type: ignore[arg-type]  # fields by name
    return [entry.data async for entry in container.logs(selection)]


def test_a_part_of_the_log_is_read(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(tmp_path)
        async with world.engine() as engine:
            container = await created(engine)
            assert await read(container) == []
            write(world, container, b"one\ntwo\n")
            write(world, container, b"three\n", "stderr")
            assert await read(container) == [b"one\n", b"two\n", b"three\n"]
            assert await read(container, tail_lines=1) == [b"three\n"]
            assert await read(container, stdout=False) == [b"three\n"]

    asyncio.run(run())


def test_a_follower_gets_what_comes_and_ends_with_the_program(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(tmp_path)
        async with world.engine() as engine, asyncio.timeout(PATIENCE_SECONDS):
            container = await started(engine)
            write(world, container, b"early\n")
            following = container.logs(follow=True)
            assert (await anext(following)).data == b"early\n"
            coming = asyncio.ensure_future(anext(following))
            await asyncio.sleep(0.02)
            assert not coming.done()
            write(world, container, b"late\n")
            assert (await coming).data == b"late\n"
            write(world, container, b"last\n")
            world.supervisor.last.end(0)
            assert [entry.data async for entry in following] == [b"last\n"]

    asyncio.run(run())


def test_a_follower_of_a_log_that_does_not_exist_yet_misses_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(tmp_path)
        async with world.engine() as engine, asyncio.timeout(PATIENCE_SECONDS):
            container = await started(engine)
            following = container.logs(follow=True)
            coming = asyncio.ensure_future(anext(following))
            await asyncio.sleep(0.02)
            write(world, container, b"first\n")
            world.supervisor.last.end(0)
            assert (await coming).data == b"first\n"

    asyncio.run(run())


def test_following_what_does_not_run_ends_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(tmp_path)
        async with world.engine() as engine, asyncio.timeout(PATIENCE_SECONDS):
            container = await created(engine)
            write(world, container, b"x\n")
            assert [entry.data async for entry in container.logs(follow=True)] == [b"x\n"]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("framed", "sent"),
    [
        (True, b"\1\0\0\0\0\0\0\3hi\n\2\0\0\0\0\0\0\4ooh\n"),
        (False, b"hi\nooh\n"),
    ],
)
def test_the_log_of_a_stopped_container_is_replayed_to_a_client(
    tmp_path: Path,
    framed: bool,  # noqa: FBT001 - a test's parameter
    sent: bytes,
) -> None:
    """Rules 2.51 and 2.53."""

    async def run() -> None:
        world = World(tmp_path)
        async with world.engine() as engine:
            container = await created(engine)
            write(world, container, b"hi\n")
            write(world, container, b"ooh\n", "stderr")
            ours, theirs = socket.socketpair()
            client = AttachClient(fd=theirs.detach(), logs=True, stream=False, framed=framed)
            await container.attach(client)
            with ours, ours.makefile("rb") as received:
                assert received.read() == sent

    asyncio.run(run())


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({}, (7, 8)),
        ({"max-size": "10m"}, (10 << 20, 8)),
        ({"max-size": "512K", "max-file": "3"}, (512 << 10, 3)),
        ({"max-size": "5"}, (5, 8)),
        ({"max-size": "-1", "max-file": "3"}, (0, 1)),
    ],
)
def test_log_options_are_read(options: dict[str, str], limits: tuple[int, int]) -> None:
    assert log_limits(options, default_bytes=7, default_files=8) == limits
    check_log_options(options)


@pytest.mark.parametrize(
    "options",
    [{"max-size": "0"}, {"max-size": "1x"}, {"max-file": "0"}, {"max-file": "x"}, {"path": "/"}],
)
def test_bad_log_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError, match="log opt"):
        check_log_options(options)
