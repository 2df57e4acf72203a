# SPDX-License-Identifier: Apache-2.0
"""The verbs of a container, on fakes."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.fakes.engine import World, created, play, started
from tests.waiting import PATIENCE_SECONDS, until
from toolkit.engine.model import HostOptions, Limits, Mount, RestartPolicy, State
from toolkit.engine.waiters import WaitResult
from toolkit.errors import (
    BackendError,
    CgroupError,
    CommandNotFoundError,
    ConflictError,
    ContainerNotFoundError,
    InvalidRequestError,
    NameInUseError,
    NotModifiedError,
    NotRunningError,
    StorageError,
)
from toolkit.runtime.exitfile import read_exit_status
from toolkit.runtime.protocol import AttachClient

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.engine.container import Container
    from toolkit.engine.engine import Engine
    from toolkit.engine.events import Event


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def kept_events(engine: Engine) -> list[Event]:
    return list(engine.events._kept)


def actions(engine: Engine) -> list[str]:
    return [event.action for event in kept_events(engine)]


def status(container: Container) -> State:
    return container.record.state.status


def left_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def test_start_runs_the_program_and_wait_answers_its_exit_code(world: World) -> None:
    """RT-018, RT-022."""

    async def scenario(engine: Engine) -> None:
        container = await created(engine)
        waiting = container.begin_wait("next-exit")
        await container.start()
        assert status(container) is State.RUNNING
        assert container.record.state.pid == world.supervisor.last.pid
        world.supervisor.last.end(7)
        assert (await waiting).exit_code == 7
        assert status(container) is State.EXITED
        assert container.record.state.pid == 0

    play(world, scenario)


def test_a_second_start_is_not_modified(world: World) -> None:
    """RT-017, RT-032."""

    async def scenario(engine: Engine) -> None:
        container = await started(engine)
        with pytest.raises(NotModifiedError):
            await container.start()
        assert len(world.supervisor.programs) == 1

    play(world, scenario)


def test_many_starts_at_once_start_one_program(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await created(engine)
        results = await asyncio.gather(
            *(container.start() for _ in range(8)), return_exceptions=True
        )
        assert results.count(None) == 1
        assert sum(isinstance(result, NotModifiedError) for result in results) == 7

    play(world, scenario)


def test_a_start_whose_shim_was_lost_leaves_nothing_in_its_control_group(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await created(engine)
        world.supervisor.failure = BackendError("the shim of the program was lost")
        with pytest.raises(BackendError):
            await container.start()
        group = world.cgroups.groups[f"test/{container.record.id}"]
        assert group.calls == ["kill", "remove"]

    play(world, scenario)


def test_a_container_can_be_started_again_after_its_end(world: World) -> None:
    """RT-023: the old exit status does not come back."""

    async def scenario(engine: Engine) -> None:
        container = await started(engine)
        world.supervisor.last.end(3)
        await container.wait()
        await container.start()
        files = world.instance.containers_dir / container.record.id
        assert read_exit_status(files / "exit.json") is None
        world.supervisor.last.end(0)
        assert (await container.wait()).exit_code == 0

    play(world, scenario)


def test_a_program_that_ends_at_once_still_starts_well(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        world.supervisor.ends_at_once = 5
        container = await created(engine)
        waiting = container.begin_wait("next-exit")
        await container.start()
        assert (await waiting).exit_code == 5
        assert actions(engine) == ["create", "start", "die"]

    play(world, scenario)


def test_a_start_that_fails_leaves_the_container_created_with_the_reason(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await created(engine)
        waiting = container.begin_wait("next-exit")
        world.supervisor.failure = CommandNotFoundError("executable file not found")
        with pytest.raises(CommandNotFoundError):
            await container.start()
        state = container.record.state
        assert (state.status, state.exit_code) == (State.CREATED, 127)
        assert state.error == "executable file not found"
        assert await waiting == WaitResult(exit_code=127)  # the reason was told already
        await container.start()

    play(world, scenario)


def test_a_start_that_fails_removes_a_container_that_removes_itself(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await created(engine, host=HostOptions(auto_remove=True))
        waiting = container.begin_wait("removed")
        world.supervisor.failure = CommandNotFoundError("executable file not found")
        with pytest.raises(CommandNotFoundError):
            await container.start()
        assert (await waiting).exit_code == 127
        assert await engine.containers() == []

    play(world, scenario)


def test_wait_on_a_container_that_never_ran_answers_at_once(world: World) -> None:
    """Defect D-5 of 0.7.2 is fixed."""

    async def scenario(engine: Engine) -> None:
        container = await created(engine)
        assert (await container.wait("not-running")).exit_code == 0

    play(world, scenario)


def test_wait_refuses_an_unknown_condition(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await created(engine)
        with pytest.raises(InvalidRequestError, match="invalid condition"):
            await container.wait("tomorrow")

    play(world, scenario)


@pytest.mark.parametrize("condition", ["next-exit", "removed"])
def test_wait_ends_when_the_container_is_removed(world: World, condition: str) -> None:
    async def scenario(engine: Engine) -> None:
        container = await created(engine)
        waiting = container.begin_wait(condition)
        await container.remove()
        assert (await waiting).exit_code == 0
        assert (await container.wait(condition)).exit_code == 0

    play(world, scenario)


def test_auto_remove_removes_and_then_answers_the_real_exit_code(world: World) -> None:
    """RT-054: with its anonymous volume, and in docker's order of events."""

    async def scenario(engine: Engine) -> None:
        container = await created(engine, host=HostOptions(auto_remove=True), volumes=("/data",))
        waiting = container.begin_wait("removed")
        await container.start()
        world.supervisor.last.end(9)
        assert (await waiting).exit_code == 9
        assert await engine.containers() == []
        assert world.layers.rw == set()
        assert left_in(world.instance.containers_dir) == []
        assert left_in(world.instance.bundles_dir) == []
        assert left_in(world.instance.data_dir / "volumes") == []
        assert actions(engine) == ["create", "start", "die", "destroy"]

    play(world, scenario)


def test_stop_asks_and_does_not_kill_a_program_that_obeys(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await started(engine)
        await container.stop(5)
        assert world.supervisor.last.signals == [15]
        assert container.record.state.exit_code == 143
        assert actions(engine)[-3:] == ["kill", "die", "stop"]

    play(world, scenario)


def test_stop_kills_after_the_grace_period(world: World) -> None:
    """RT-029 and row S-105."""

    async def scenario(engine: Engine) -> None:
        container = await started(engine, stop_signal="SIGUSR1")
        await container.stop(0)
        await container.start()
        await container.stop(timeout_seconds=1)
        assert world.supervisor.last.signals == [10, 9]
        assert container.record.state.exit_code == 137
        assert actions(engine)[-4:] == ["kill", "kill", "die", "stop"]

    play(world, scenario)


def test_stop_of_what_does_not_run_is_not_modified(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await created(engine)
        with pytest.raises(NotModifiedError):
            await container.stop()

    play(world, scenario)


def test_kill_returns_when_the_program_is_dead(world: World) -> None:
    """RT-020, RT-030, API-014."""

    async def scenario(engine: Engine) -> None:
        container = await started(engine)
        await container.kill()
        assert not container.is_running
        with pytest.raises(ConflictError, match="is not running"):
            await container.kill()
        kill = next(event for event in kept_events(engine) if event.action == "kill")
        assert kill.attributes["signal"] == "9"

    play(world, scenario)


def test_another_signal_is_only_delivered(world: World) -> None:
    """A client that forwards WINCH does not stop the container (§1.5 row 10)."""

    async def scenario(engine: Engine) -> None:
        container = await started(engine)
        await container.kill("WINCH")
        assert world.supervisor.last.signals == [28]
        assert container.is_running
        assert not container.record.state.stopped_by_user
        with pytest.raises(InvalidRequestError):
            await container.kill("NOSUCH")

    play(world, scenario)


def test_restart_stops_and_starts(world: World) -> None:
    """RT-031: also a container that removes itself, which stays."""

    async def scenario(engine: Engine) -> None:
        container = await started(engine, host=HostOptions(auto_remove=True))
        first = world.supervisor.last
        await container.restart(1)
        assert not first.is_alive
        assert container.is_running
        assert actions(engine) == [
            *("create", "start", "kill", "die", "stop", "start", "restart"),
        ]

    play(world, scenario)


def test_pause_and_unpause_freeze_and_thaw_the_control_group(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await started(engine)
        await container.pause()
        assert status(container) is State.PAUSED
        with pytest.raises(ConflictError):
            await container.pause()
        with pytest.raises(ConflictError, match="paused"):
            container.check_attach()
        await container.unpause()
        assert status(container) is State.RUNNING
        with pytest.raises(ConflictError, match="is not paused"):
            await container.unpause()
        group = world.cgroups.groups[f"test/{container.record.id}"]
        assert group.calls == ["freeze", "thaw"]

    play(world, scenario)


def test_a_paused_container_is_thawed_to_be_stopped(world: World) -> None:
    """Row S-105."""

    async def scenario(engine: Engine) -> None:
        container = await started(engine)
        await container.pause()
        await container.stop(1)
        assert status(container) is State.EXITED
        group = world.cgroups.groups[f"test/{container.record.id}"]
        assert group.calls == ["freeze", "thaw"]

    play(world, scenario)


def test_pause_of_what_does_not_run_is_refused_in_dockers_words(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await created(engine)
        with pytest.raises(NotRunningError, match=f"{container.record.id} is not running"):
            await container.pause()

    play(world, scenario)


def test_rename_frees_the_old_name_and_keeps_the_new(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await created(engine, "first")
        other = await created(engine, "other")
        await container.rename("/second")
        assert await engine.container("second") is container
        with pytest.raises(ContainerNotFoundError):
            await engine.container("first")
        with pytest.raises(NameInUseError):
            await container.rename("other")
        with pytest.raises(InvalidRequestError):
            await container.rename("second")
        await other.rename("first")

    play(world, scenario)


def test_a_running_container_is_removed_only_by_force(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await started(engine)
        with pytest.raises(ConflictError, match="stop the container before"):
            await container.remove()
        await container.remove(force=True)
        assert world.supervisor.last.signals == [9]
        assert await engine.containers() == []
        with pytest.raises(ContainerNotFoundError):
            await container.remove()

    play(world, scenario)


def test_a_container_that_cannot_be_removed_is_dead_and_can_be_tried_again(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await created(engine)
        waiting = container.begin_wait("removed")
        world.layers.is_broken = True
        with pytest.raises(StorageError, match="busy"):
            await container.remove()
        assert status(container) is State.DEAD
        assert "busy" in (await waiting).error
        world.layers.is_broken = False
        await container.remove()
        assert await engine.containers() == []

    play(world, scenario)


def test_volumes_of_others_survive_the_removal(world: World) -> None:
    """Defect D-16 of 0.7.2 is fixed."""

    async def scenario(engine: Engine) -> None:
        first = await created(engine, "first", volumes=("/shared",))
        sharing = HostOptions(volumes_from=("first",))
        second = await created(engine, "second", host=sharing)
        named = Mount(kind="volume", source="kept", target="/k")
        third = await created(engine, "third", host=HostOptions(mounts=(named,)))
        volumes_dir = world.instance.data_dir / "volumes"
        await first.remove(volumes=True)
        await third.remove(volumes=True)
        assert sorted(left_in(volumes_dir)) == sorted([second.record.mounts[0].source, "kept"])

    play(world, scenario)


def test_update_changes_limits_here_and_in_the_control_group(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await started(engine, limits=Limits(cpu_shares=5))
        await container.update(Limits(memory_bytes=1 << 20), RestartPolicy(name="always"))
        limits = container.record.spec.limits
        assert (limits.memory_bytes, limits.cpu_shares) == (1 << 20, 5)
        assert container.record.spec.host.restart_policy.name == "always"
        group = world.cgroups.groups[f"test/{container.record.id}"]
        assert group.applied[0]["memory"]["limit"] == 1 << 20
        with pytest.raises(InvalidRequestError, match="512k"):
            await container.update(Limits(memory_bytes=524287))

    play(world, scenario)


def test_resize_reaches_the_program(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await created(engine, has_tty=True)
        with pytest.raises(NotRunningError):
            await container.resize(24, 80)
        await container.start()
        await container.resize(24, 80)
        assert world.supervisor.last.sizes == [(24, 80)]
        with pytest.raises(InvalidRequestError):
            await container.resize(-1, 80)

    play(world, scenario)


def test_a_client_attached_before_the_start_is_given_to_the_program(world: World) -> None:
    """RT-038: it misses nothing."""

    async def scenario(engine: Engine) -> None:
        ours, theirs = socket.socketpair()
        container = await created(engine)
        await container.attach(AttachClient(fd=theirs.detach(), pending=b"early"))
        await container.start()
        assert [client.pending for client in world.supervisor.last.clients] == [b"early"]
        await container.attach(AttachClient(fd=os.dup(ours.fileno())))
        assert len(world.supervisor.last.clients) == 2
        ours.close()

    play(world, scenario)


def test_a_client_of_a_removed_container_is_closed(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        ours, theirs = socket.socketpair()
        container = await created(engine)
        await container.attach(AttachClient(fd=theirs.detach()))
        await container.remove()
        assert ours.recv(1) == b""
        ours.close()

    play(world, scenario)


def test_a_client_that_hangs_up_before_the_start_is_closed_at_once(world: World) -> None:
    """Half a close is the end of its input, no more."""

    async def scenario(engine: Engine) -> None:
        waiting = engine._context.waiting_clients
        ours, theirs = socket.socketpair()
        container = await created(engine)
        await container.attach(AttachClient(fd=theirs.detach()))
        ours.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0.01)
        assert len(waiting._clients) == 1
        ours.close()
        await until(lambda: not waiting._clients)
        await container.start()
        assert world.supervisor.last.clients == []

    play(world, scenario)


def test_attach_closes_the_connection_when_it_refuses(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        ours, theirs = socket.socketpair()
        container = await started(engine)
        await container.pause()
        with pytest.raises(ConflictError):
            await container.attach(AttachClient(fd=theirs.detach()))
        assert ours.recv(1) == b""
        ours.close()

    play(world, scenario)


def test_a_lost_shim_is_an_exit_137_and_its_group_is_killed(world: World) -> None:
    """Fault F-04."""

    async def scenario(engine: Engine) -> None:
        container = await started(engine)
        waiting = container.begin_wait("next-exit")
        world.supervisor.last.lose_shim()
        assert (await waiting).exit_code == 137
        assert "lost" in container.record.state.error
        group = world.cgroups.groups[f"test/{container.record.id}"]
        assert group.calls == ["kill", "remove"]

    play(world, scenario)


def test_out_of_memory_is_shown_and_told(world: World) -> None:
    """Fault F-10."""

    async def scenario(engine: Engine) -> None:
        container = await started(engine)
        waiting = container.begin_wait("next-exit")
        world.supervisor.last.end(137, signal=9, oom_killed=True)
        await waiting
        assert container.record.state.oom_killed
        assert actions(engine)[-2:] == ["oom", "die"]

    play(world, scenario)


def test_a_failing_program_comes_back_as_often_as_its_policy_says(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        policy = RestartPolicy(name="on-failure", maximum_retries=2)
        world.supervisor.ends_at_once = 1
        container = await started(engine, host=HostOptions(restart_policy=policy))
        while container.record.state.status is not State.EXITED:
            await container.wait("next-exit")
        assert len(world.supervisor.programs) == 3
        assert container.record.state.restart_count == 2

    play(world, scenario)


def test_a_stop_ends_the_wait_for_the_next_restart(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.engine.restarts.FIRST_DELAY_SECONDS", PATIENCE_SECONDS)

    async def scenario(engine: Engine) -> None:
        policy = RestartPolicy(name="always")
        container = await started(engine, host=HostOptions(restart_policy=policy))
        world.supervisor.last.end(0)
        await container.wait("next-exit")
        assert status(container) is State.RESTARTING
        await container.stop()
        assert status(container) is State.EXITED
        assert container._restart_timer is None
        assert len(world.supervisor.programs) == 1

    play(world, scenario)


def test_a_stopped_container_does_not_come_back(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        policy = RestartPolicy(name="always")
        container = await started(engine, host=HostOptions(restart_policy=policy))
        await container.stop(1)
        assert status(container) is State.EXITED

    play(world, scenario)


def test_a_full_disk_does_not_keep_a_container_from_being_stopped(world: World) -> None:
    """Fault F-05."""

    async def scenario(engine: Engine) -> None:
        container = await started(engine)

        async def full(*_: object, **__: object) -> None:
            raise StorageError("database or disk is full")

        engine._context.store.save = full  # type: ignore[method-assign]  # the fault
        await container.stop(1)
        assert status(container) is State.EXITED
        with pytest.raises(StorageError):
            await created(engine)
        assert len(await engine.containers()) == 1
        assert world.layers.rw == {container.record.id}

    play(world, scenario)


def test_a_client_that_goes_away_does_not_cut_a_start_in_half(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await created(engine)
        request = asyncio.ensure_future(container.start())
        await asyncio.sleep(0)
        request.cancel()
        await until(lambda: container.is_running)
        assert len(world.supervisor.programs) == 1

    play(world, scenario)


def test_a_signal_that_meets_the_end_of_the_program_is_no_failure(world: World) -> None:
    """Fault F-17: whatever the order, only 2xx, 304 and 409."""

    async def scenario(engine: Engine) -> None:
        container = await started(engine)
        program = world.supervisor.last

        async def gone(number: int) -> None:
            program.end(128 + number)
            raise BackendError("the shim of this program is gone")

        program.connections[0].signal = gone  # type: ignore[method-assign]  # the race
        await container.stop(5)
        assert container.record.state.exit_code == 143

    play(world, scenario)


def test_a_shim_that_does_not_listen_is_passed_over_by_a_kill(world: World) -> None:
    """Fault F-04: the control group is killed instead."""

    async def scenario(engine: Engine) -> None:
        container = await started(engine)
        program = world.supervisor.last

        async def deaf(number: int) -> None:
            raise BackendError(f"the shim did not answer to {number}")

        loop = asyncio.get_running_loop()
        group = world.cgroups.cgroup(f"test/{container.record.id}")
        group.on_kill = lambda: loop.call_soon_threadsafe(program.end, 137)
        program.connections[0].signal = deaf  # type: ignore[method-assign]  # the fault
        with pytest.raises(BackendError):
            await container.kill("USR1")
        await container.kill()
        assert group.calls == ["kill"]

    play(world, scenario)


def test_a_pause_that_meets_the_end_of_the_program_says_that_it_does_not_run(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await started(engine)
        group = world.cgroups.cgroup(f"test/{container.record.id}")

        def gone() -> None:
            world.supervisor.last.end(0)
            raise CgroupError("write", "freezer.state", 2)

        group.freeze = gone  # type: ignore[method-assign]  # the race
        with pytest.raises(NotRunningError):
            await container.pause()

    play(world, scenario)
