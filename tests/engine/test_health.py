# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.fakes.engine import World, created
from tests.waiting import PATIENCE_SECONDS
from toolkit.engine.health import Health, HealthMonitor, HealthResult, Schedule, check_command
from toolkit.engine.merge import ImageHealthCheck, merged_health
from toolkit.engine.model import HealthCheck

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.engine.health import Verdict

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def result(exit_code: int, output: str = "") -> HealthResult:
    return HealthResult(began=NOW, ended=NOW, exit_code=exit_code, output=output)


def test_so_many_failures_in_a_row_make_it_unhealthy_and_one_success_heals_it() -> None:
    health = Health()
    takes = [health.take(result(code), retries=2, failure_counts=True) for code in (0, 1, 1, 1, 0)]
    assert takes == [True, False, True, False, True]
    assert (health.verdict, health.failing_streak, len(health.results)) == ("healthy", 0, 5)


def test_failures_in_the_start_period_do_not_count() -> None:
    health = Health()
    for _ in range(9):
        assert not health.take(result(1), retries=1, failure_counts=False)
    assert (health.verdict, health.failing_streak, len(health.results)) == ("starting", 0, 5)


def test_a_failure_counts_once_it_has_been_well() -> None:
    health = Health()
    health.take(result(0), retries=1, failure_counts=False)
    assert health.take(result(1), retries=1, failure_counts=False)


def test_what_is_not_said_is_dockers_default() -> None:
    schedule = Schedule.of(HealthCheck(test=("CMD", "true")))
    assert schedule == Schedule(30.0, 30.0, 0.0, 5.0, 3)
    assert schedule.pause_seconds("starting", 0.0) == 30.0


def test_checks_come_quicker_in_the_start_period() -> None:
    schedule = Schedule.of(HealthCheck(start_period_ns=10**10, start_interval_ns=10**9))
    assert schedule.pause_seconds("starting", 3.0) == 1.0
    assert schedule.pause_seconds("healthy", 3.0) == 30.0
    assert schedule.pause_seconds("starting", 11.0) == 30.0


@pytest.mark.parametrize(
    ("test", "shell", "command"),
    [
        (("CMD", "a", "b"), (), ("a", "b")),
        (("CMD-SHELL", "a b"), (), ("/bin/sh", "-c", "a b")),
        (("CMD-SHELL", "a b"), ("bash", "-c"), ("bash", "-c", "a b")),
        (("NONE",), (), ()),
        ((), (), ()),
    ],
)
def test_a_check_runs_a_program_or_a_shell(
    test: tuple[str, ...], shell: tuple[str, ...], command: tuple[str, ...]
) -> None:
    assert check_command(HealthCheck(test=test), shell) == command


def test_what_is_asked_for_goes_before_what_the_image_says() -> None:
    image = ImageHealthCheck(test=["CMD", "image"], interval=5, retries=7)
    merged = merged_health(HealthCheck(interval_ns=9), image)
    assert merged == HealthCheck(test=("CMD", "image"), interval_ns=9, retries=7)
    assert merged_health(None, None) is None
    none = merged_health(HealthCheck(test=("NONE",)), image)
    assert none is not None
    assert none.test == ("NONE",)


def test_a_monitor_tells_each_change_once_and_passes_over_a_pause() -> None:
    async def act() -> list[Verdict]:
        told: list[Verdict] = []
        results = [None, result(1), result(0), result(0), result(1)]
        done = asyncio.Event()

        async def probe(timeout_seconds: float) -> HealthResult | None:
            assert timeout_seconds == 4.0
            if not results:
                done.set()
                await asyncio.sleep(PATIENCE_SECONDS)
            return results.pop(0)

        monitor = HealthMonitor(Schedule(0.0, 4.0, 0.0, 0.0, 1), probe, told.append)
        await asyncio.wait_for(done.wait(), PATIENCE_SECONDS)
        monitor.stop()
        return told

    assert asyncio.run(act()) == ["unhealthy", "healthy", "unhealthy"]


def test_a_container_with_a_check_is_watched_until_it_ends(tmp_path: Path) -> None:
    """The check's program is an exec: its output and exit code become the result."""
    world = World(tmp_path)

    async def act() -> None:
        async with world.engine() as engine:
            check = HealthCheck(test=("CMD", "check"), interval_ns=1_000_000)
            container = await created(engine, health=check)
            before = container.health
            assert before is None
            news = engine.events.subscribe(
                predicate=lambda event: event.action.startswith("health_status")
            )
            world.supervisor.exec_exit_code = 0
            await container.start()
            told = await asyncio.wait_for(anext(aiter(news)), PATIENCE_SECONDS)
            assert told.action == "health_status: healthy"
            assert world.supervisor.execs[0].document["process"]["args"] == ["check"]
            assert container.health is not None
            world.supervisor.exec_exit_code = 1
            told = await asyncio.wait_for(anext(aiter(news)), PATIENCE_SECONDS)
            assert told.action == "health_status: unhealthy"
            assert container.health.failing_streak >= 3
            await container.stop(0)
            runs = len(world.supervisor.execs)
            await asyncio.sleep(0.01)
            assert len(world.supervisor.execs) == runs

    asyncio.run(act())
