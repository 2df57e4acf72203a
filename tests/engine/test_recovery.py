# SPDX-License-Identifier: Apache-2.0
"""What the next engine finds after the last one was killed at some point."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.fakes.engine import World, created, started
from tests.waiting import PATIENCE_SECONDS, until
from toolkit.engine.copies import COPY_NAME
from toolkit.engine.engine import STORE_NAME
from toolkit.engine.model import HostOptions, Limits, RestartPolicy, State
from toolkit.errors import InstanceLockedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from toolkit.engine.engine import Engine


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def kill_and_reopen(
    world: World,
    before: Callable[[Engine], Awaitable[None]],
    between: Callable[[], None],
    then: Callable[[Engine], Awaitable[None]],
) -> None:
    async def run() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            async with world.killed_engine() as engine:
                await before(engine)
            between()
            async with world.engine() as engine:
                await then(engine)

    asyncio.run(run())


def nothing() -> None:
    pass


def test_a_running_program_is_taken_over_and_its_end_is_seen(world: World) -> None:
    """RT-112 and fault F-03."""

    async def before(engine: Engine) -> None:
        await started(engine, "alive")

    async def then(engine: Engine) -> None:
        container = await engine.container("alive")
        assert container.record.state.status is State.RUNNING
        waiting = container.begin_wait()
        world.supervisor.last.end(4)
        assert (await waiting).exit_code == 4

    kill_and_reopen(world, before, nothing, then)


def test_a_program_that_ended_meanwhile_has_its_own_exit_code(world: World) -> None:
    async def before(engine: Engine) -> None:
        await started(engine, "ended")

    async def then(engine: Engine) -> None:
        container = await engine.container("ended")
        assert container.record.state.status is State.EXITED
        assert (await container.wait()).exit_code == 42
        assert container.record.state.error == ""

    kill_and_reopen(world, before, lambda: world.supervisor.last.end(42), then)


@pytest.mark.parametrize(
    ("boot_id", "reason"), [("boot-1", "engine restarted"), ("boot-2", "host restarted")]
)
def test_a_program_that_vanished_is_exited_137_with_the_reason(
    world: World, boot_id: str, reason: str
) -> None:
    """RT-028 and fault F-08."""

    async def before(engine: Engine) -> None:
        await started(engine, "gone")

    def between() -> None:
        world.supervisor.last.is_alive = False
        world.boot_id = boot_id

    async def then(engine: Engine) -> None:
        container = await engine.container("gone")
        state = container.record.state
        assert (state.status, state.exit_code, state.error) == (State.EXITED, 137, reason)
        group = world.cgroups.groups[f"test/{container.record.id}"]
        assert group.calls == ["kill", "remove"]
        await container.start()

    kill_and_reopen(world, before, between, then)


@pytest.mark.parametrize("has_program", [True, False])
def test_a_start_that_was_cut_short_is_finished_or_undone(
    world: World,
    has_program: bool,  # noqa: FBT001 - a test's parameter
) -> None:
    async def before(engine: Engine) -> None:
        container = await started(engine, "half")
        state = replace(container.record.state, status=State.STARTING, pid=0, started_at=None)
        await engine._context.store.save(replace(container.record, state=state))

    def between() -> None:
        world.supervisor.last.is_alive = has_program

    async def then(engine: Engine) -> None:
        container = await engine.container("half")
        assert container.is_running is has_program
        if has_program:
            assert container.record.state.pid == world.supervisor.last.pid
        else:
            assert container.record.state.status is State.EXITED

    kill_and_reopen(world, before, between, then)


def test_a_removal_that_was_cut_short_is_finished(world: World) -> None:
    async def before(engine: Engine) -> None:
        container = await created(engine, "going")
        state = replace(container.record.state, status=State.REMOVING)
        await engine._context.store.save(replace(container.record, state=state))

    async def then(engine: Engine) -> None:
        assert await engine.containers() == []
        assert world.layers.rw == set()
        await created(engine, "going")

    kill_and_reopen(world, before, nothing, then)


def test_an_end_that_a_power_cut_took_is_found_in_the_exit_file(world: World) -> None:
    """Promise P1: the record says created, the shim's file knows better."""

    async def before(engine: Engine) -> None:
        container = await created(engine, "early")
        record = container.record
        await container.start()
        world.supervisor.last.end(6)
        await container.wait()
        await engine._context.store.save(record)

    async def then(engine: Engine) -> None:
        container = await engine.container("early")
        assert (await container.wait()).exit_code == 6
        assert container.record.state.status is State.EXITED
        assert container.record.state.started_at is not None

    kill_and_reopen(world, before, nothing, then)


@pytest.mark.parametrize("lost", ["directory", "layer"])
def test_what_a_power_cut_took_of_a_new_container_is_made_again(world: World, lost: str) -> None:
    """Promise P1: a create that was answered survives; only its row was on the disk."""
    ids: list[str] = []

    async def before(engine: Engine) -> None:
        ids.append((await created(engine, "new")).record.id)

    def between() -> None:
        if lost == "directory":
            shutil.rmtree(world.instance.containers_dir / ids[0])
        else:
            world.layers.rw.clear()

    async def then(engine: Engine) -> None:
        container = await engine.container("new")
        assert world.layers.rw == {ids[0]}
        await container.start()
        world.supervisor.last.end(4)
        assert (await container.wait()).exit_code == 4

    kill_and_reopen(world, before, between, then)


def test_what_a_power_cut_took_of_a_running_container_is_made_again(world: World) -> None:
    """Its row said so before the disk had seen its directory; before, it ran for ever."""

    async def before(engine: Engine) -> None:
        await started(engine, "new")

    def between() -> None:
        world.supervisor.last.is_alive = False
        world.boot_id = "boot-2"
        world.layers.rw.clear()
        shutil.rmtree(world.instance.containers_dir)

    async def then(engine: Engine) -> None:
        container = await engine.container("new")
        state = container.record.state
        assert (state.status, state.exit_code, state.error) == (State.EXITED, 137, "host restarted")
        await container.start()

    kill_and_reopen(world, before, between, then)


def test_an_end_of_an_earlier_life_is_not_taken_for_this_ones(world: World) -> None:
    """A power cut took the blanking of the exit file, not the news of the start."""
    files: list[tuple[Path, bytes]] = []

    async def before(engine: Engine) -> None:
        container = await started(engine, "again")
        world.supervisor.last.end(3)
        await container.wait()
        path = world.instance.containers_dir / container.record.id / "exit.json"
        files.append((path, path.read_bytes()))
        await container.start()

    def between() -> None:
        world.supervisor.last.is_alive = False
        for path, content in files:
            path.write_bytes(content)

    async def then(engine: Engine) -> None:
        state = (await engine.container("again")).record.state
        assert (state.exit_code, state.error) == (137, "engine restarted")

    kill_and_reopen(world, before, between, then)


def test_a_container_whose_files_cannot_be_made_again_keeps_no_other_from_opening(
    world: World,
) -> None:
    ids: list[str] = []

    async def before(engine: Engine) -> None:
        ids.append((await created(engine, "bad")).record.id)
        await created(engine, "good")

    def between() -> None:
        directory = world.instance.containers_dir / ids[0]
        shutil.rmtree(directory)
        directory.write_text("no directory")

    async def then(engine: Engine) -> None:
        await (await engine.container("good")).start()

    kill_and_reopen(world, before, between, then)


def test_what_belongs_to_no_container_is_swept(world: World) -> None:
    """Fault F-01: a create that was cut short, and a bundle that nobody knows."""
    stray = "ab" * 32

    async def before(engine: Engine) -> None:
        await created(engine, "kept")

    def between() -> None:
        world.layers.rw.add(stray)
        for directory in (world.instance.containers_dir, world.instance.bundles_dir):
            (directory / stray).mkdir()

    async def then(engine: Engine) -> None:
        container = await engine.container("kept")
        assert world.layers.rw == {container.record.id}
        assert [p.name for p in world.instance.containers_dir.iterdir()] == [container.record.id]
        assert list(world.instance.bundles_dir.iterdir()) == []
        assert world.cgroups.groups[f"test/{stray}"].calls == ["kill", "remove"]

    kill_and_reopen(world, before, between, then)


def test_a_container_that_removes_itself_is_gone_when_it_ended_meanwhile(world: World) -> None:
    async def before(engine: Engine) -> None:
        await started(engine, "brief", host=HostOptions(auto_remove=True))

    async def then(engine: Engine) -> None:
        assert await engine.containers() == []

    kill_and_reopen(world, before, lambda: world.supervisor.last.end(0), then)


def test_a_policy_brings_back_what_ended_with_the_host(world: World) -> None:
    async def before(engine: Engine) -> None:
        for name in ("always", "no"):
            policy = RestartPolicy(name=name)
            await started(engine, f"with-{name}", host=HostOptions(restart_policy=policy))

    def between() -> None:
        for program in world.supervisor.programs:
            program.is_alive = False
        world.boot_id = "boot-2"

    async def then(engine: Engine) -> None:
        container = await engine.container("with-always")
        await until(lambda: container.is_running)
        assert not (await engine.container("with-no")).is_running

    kill_and_reopen(world, before, between, then)


def test_whom_a_container_needs_comes_back_first(world: World) -> None:
    """A link leads to one that runs (rule 7.3)."""

    async def before(engine: Engine) -> None:
        always = HostOptions(network_mode="bridge", restart_policy=RestartPolicy(name="always"))
        for name, links in (("db", ()), ("app", ("db:db",)), ("front", ("app:app", "db:db"))):
            await started(engine, name, host=replace(always, links=links))

    def between() -> None:
        for program in world.supervisor.programs:
            program.is_alive = False
        world.boot_id = "boot-2"

    async def then(engine: Engine) -> None:
        containers = await engine.containers()
        await until(lambda: all(each.is_running for each in containers))
        front, app, db = (each.record.state.started_at for each in containers)
        assert front
        assert app
        assert db
        assert db < app < front

    kill_and_reopen(world, before, between, then)


def test_a_container_that_comes_back_with_the_engine_keeps_its_limits(world: World) -> None:
    """Defect D-7: 0.7.2 started it before it knew what the host can limit, without any."""
    limits = Limits(memory_bytes=64 * 1024 * 1024, pids=20)

    async def before(engine: Engine) -> None:
        policy = RestartPolicy(name="always")
        await started(engine, "one", limits=limits, host=HostOptions(restart_policy=policy))

    def between() -> None:
        world.supervisor.last.is_alive = False
        world.boot_id = "boot-2"

    async def then(engine: Engine) -> None:
        container = await engine.container("one")
        await until(lambda: container.is_running)
        programs = world.supervisor.programs
        first, again = (program.document["linux"]["resources"] for program in programs)
        assert again["memory"] == first["memory"]
        assert again["memory"]["limit"] == limits.memory_bytes
        assert again["pids"] == {"limit": 20}
        assert container.record.spec.limits == limits

    kill_and_reopen(world, before, between, then)


def _copied(engine: Engine) -> Awaitable[list[None]]:
    containers = engine._context.index.newest_first()
    return asyncio.gather(*(container._write_copy() for container in containers))


@pytest.mark.parametrize("damage", [b"", b"SQLite format 3\0 and then nothing", b"x" * 100_000])
def test_a_damaged_store_is_rebuilt_from_the_copies(world: World, damage: bytes) -> None:
    """Fault F-06: the engine starts, every container is there."""
    path = world.instance.data_dir / STORE_NAME

    async def before(engine: Engine) -> None:
        await created(engine, "one", labels={"a": "b"})
        await started(engine, "two")
        await _copied(engine)

    def between() -> None:
        path.write_bytes(damage)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)

    async def then(engine: Engine) -> None:
        one = await engine.container("one")
        assert one.record.spec.labels == {"a": "b"}
        assert len(await engine.containers()) == 2
        await one.start()

    kill_and_reopen(world, before, between, then)


def test_a_store_that_is_no_file_is_moved_aside(world: World) -> None:
    """Fault F-06: neither a directory nor a FIFO keeps the engine from opening."""
    path = world.instance.data_dir / STORE_NAME

    async def before(engine: Engine) -> None:
        await created(engine, "one")
        await _copied(engine)

    def between() -> None:
        path.unlink()
        path.mkdir()

    async def then(engine: Engine) -> None:
        assert len(await engine.containers()) == 1
        assert len(list(path.parent.glob("engine.db.damaged-*"))) >= 1

    kill_and_reopen(world, before, between, then)


def test_a_damaged_row_is_listed_as_dead_and_can_be_removed(world: World) -> None:
    async def before(engine: Engine) -> None:
        container = await created(engine, "torn")
        await created(engine, "well")
        connection = engine._context.store._connection
        assert connection is not None
        statement = "UPDATE containers SET document = x'7b22' WHERE id = ?"
        await engine._context.store._run(
            lambda: connection.execute(statement, (container.record.id,))
        )

    def between() -> None:
        for copy in world.instance.containers_dir.glob(f"*/{COPY_NAME}"):
            copy.unlink()  # killed a moment later, the engine would have written it

    async def then(engine: Engine) -> None:
        container = await engine.container("torn")
        assert container.record.state.status is State.DEAD
        assert "container record" in container.record.state.error
        await container.remove()
        assert world.layers.rw == {(await engine.container("well")).record.id}
        await created(engine, "torn")

    kill_and_reopen(world, before, between, then)


def test_a_damaged_copy_without_a_row_is_listed_as_dead(world: World) -> None:
    container_id = "cd" * 32

    async def before(_: Engine) -> None:
        directory = world.instance.containers_dir / container_id
        directory.mkdir()
        (directory / COPY_NAME).write_bytes(b'{"id": 3')

    async def then(engine: Engine) -> None:
        container = await engine.container(container_id[:8])
        assert container.record.state.status is State.DEAD
        await container.remove(force=True)

    kill_and_reopen(world, before, nothing, then)


def test_closing_leaves_containers_running(world: World) -> None:
    async def run() -> None:
        async with world.engine() as engine:
            await started(engine, "stays")
        assert world.supervisor.last.is_alive
        assert world.supervisor.last.signals == []
        async with world.engine() as engine:
            assert (await engine.container("stays")).is_running

    asyncio.run(run())


def test_a_second_engine_is_told_who_has_the_instance(world: World) -> None:
    """Fault F-29."""

    async def run() -> None:
        async with world.engine():
            with pytest.raises(InstanceLockedError, match=r"process \d+ holds .* since 20"):
                async with world.engine():
                    pass

    asyncio.run(run())


def test_the_copy_is_written_a_moment_after_create(world: World) -> None:
    async def run() -> None:
        async with world.engine() as engine:
            container = await created(engine)
        assert (world.instance.containers_dir / container.record.id / COPY_NAME).exists()

    asyncio.run(run())
