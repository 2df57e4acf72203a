# SPDX-License-Identifier: Apache-2.0
"""More programs in a running container."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from tests.fakes.engine import World, created, play, started
from toolkit.engine.model import ExecSpec
from toolkit.errors import (
    CommandNotFoundError,
    ConflictError,
    ExecNotFoundError,
    InvalidRequestError,
    NotRunningError,
)
from toolkit.runtime.protocol import AttachClient

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.engine.engine import Engine
    from toolkit.engine.exec import Exec

LS = ExecSpec(command=("ls", "-l"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def shown(session: Exec) -> tuple[bool, int | None, int]:
    return session.running, session.exit_code, session.pid


def test_an_exec_runs_once_and_its_code_is_kept(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await started(engine, "cc", user="bin")
        session = await engine.exec(await engine.create_exec("cc", LS))
        assert shown(session) == (False, None, 0)
        await session.start()
        program = world.supervisor.execs[0]
        assert program.document["user"] == "bin"
        assert program.document["init_pid"] == container.record.state.pid
        assert program.document["stdin"] is False
        assert container.exec_ids == [session.id]
        assert shown(session) == (True, None, program.pid)
        program.end(23)  # and before the loop has turned: the streams end after this
        assert shown(session) == (False, 23, program.pid)
        await asyncio.sleep(0)
        assert container.exec_ids == []
        with pytest.raises(ConflictError):
            await session.start()

    play(world, scenario)


def test_an_exec_is_told_in_dockers_words(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        await started(engine, "cc", labels={"a": "b"})
        session = await engine.exec(await engine.create_exec("cc", LS))
        await session.start()
        world.supervisor.execs[0].end(1)
        await asyncio.sleep(0)
        told = [event for event in engine.events._kept if event.action.startswith("exec")]
        assert [event.action for event in told] == [
            *("exec_create: ls -l", "exec_start: ls -l", "exec_die")
        ]
        assert told[2].attributes["exitCode"] == "1"
        assert {event.attributes["execID"] for event in told} == {session.id}
        assert told[0].attributes["a"] == "b"

    play(world, scenario)


def test_a_container_that_does_not_run_takes_no_exec(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await created(engine, "cc")
        with pytest.raises(NotRunningError, match="is not running"):
            await engine.create_exec("cc", LS)
        await container.start()
        await container.pause()
        with pytest.raises(ConflictError, match="paused"):
            await engine.create_exec("cc", LS)
        with pytest.raises(InvalidRequestError):
            await engine.create_exec("cc", ExecSpec(command=()))

    play(world, scenario)


def test_a_start_after_the_containers_end_closes_the_client(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await started(engine, "cc")
        session = await engine.exec(await engine.create_exec("cc", LS))
        await container.kill()
        ours, theirs = socket.socketpair()
        with pytest.raises(NotRunningError):
            await session.start(AttachClient(fd=theirs.detach()))
        assert ours.recv(1) == b""
        ours.close()

    play(world, scenario)


def test_a_command_that_does_not_exist_leaves_its_code(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        await started(engine, "cc")
        session = await engine.exec(await engine.create_exec("cc", LS))
        world.supervisor.failure = CommandNotFoundError("executable file not found")
        with pytest.raises(CommandNotFoundError):
            await session.start()
        assert (session.exit_code, session.running) == (127, False)

    play(world, scenario)


def test_a_lost_shim_is_an_exit_137(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        await started(engine, "cc")
        session = await engine.exec(await engine.create_exec("cc", LS))
        await session.start()
        world.supervisor.execs[0].lose_shim()
        assert session.exit_code == 137

    play(world, scenario)


def test_resize_reaches_the_program_while_it_runs(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        await started(engine, "cc")
        session = await engine.exec(await engine.create_exec("cc", LS))
        with pytest.raises(ConflictError):
            await session.resize(1, 2)
        await session.start()
        await session.resize(1, 2)
        assert world.supervisor.execs[0].sizes == [(1, 2)]

    play(world, scenario)


def test_sessions_go_with_their_container(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await started(engine, "cc")
        exec_id = await engine.create_exec("cc", LS)
        assert (await engine.exec(exec_id[:12])).container_id == container.record.id
        await container.remove(force=True)
        for wrong in (exec_id, "", "nosuch"):
            with pytest.raises(ExecNotFoundError):
                await engine.exec(wrong)

    play(world, scenario)
