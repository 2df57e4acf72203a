# SPDX-License-Identifier: Apache-2.0
"""Health checks: a program of the container's own, run again and again, and its verdict.

What counts and when is docker's: failures in the start period do not, and after so
many in a row the container is unhealthy. The verdict is kept while the engine
runs; the next engine begins anew.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from toolkit.engine.exec import Exec
from toolkit.engine.model import ExecSpec, HealthCheck, State
from toolkit.errors import ToolkitError
from toolkit.runtime.protocol import AttachClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from toolkit.engine.container import Container
    from toolkit.engine.context import EngineContext

Verdict = Literal["starting", "healthy", "unhealthy"]

DEFAULT_SECONDS: Final = 30.0
DEFAULT_START_SECONDS: Final = 5.0
DEFAULT_RETRIES: Final = 3
KEPT_RESULTS: Final = 5
_OUTPUT_BYTES: Final = 4096
_READ_BYTES: Final = 65536
_NS: Final = 1_000_000_000
_FAILED: Final = -1  # docker's code of a check that did not come to an end


@dataclass(frozen=True, kw_only=True)
class HealthResult:
    """One run of a health check."""

    began: datetime
    ended: datetime
    exit_code: int
    output: str


@dataclass
class Health:
    """What is known of a container's health.

    Attributes:
        results: The last five, newest last.
    """

    verdict: Verdict = "starting"
    failing_streak: int = 0
    results: deque[HealthResult] = field(default_factory=lambda: deque(maxlen=KEPT_RESULTS))

    def take(self, result: HealthResult, *, retries: int, failure_counts: bool) -> bool:
        """Take a result into account; say whether the verdict is another one now."""
        before = self.verdict
        self.results.append(result)
        if result.exit_code == 0:
            self.failing_streak = 0
            self.verdict = "healthy"
        elif failure_counts or self.verdict != "starting":
            self.failing_streak += 1
            if self.failing_streak >= retries:
                self.verdict = "unhealthy"
        return self.verdict != before


@dataclass(frozen=True)
class Schedule:
    """A health check's times, with docker's defaults filled in; seconds."""

    interval: float
    timeout: float
    start_period: float
    start_interval: float
    retries: int

    @classmethod
    def of(cls, check: HealthCheck) -> Schedule:
        """Return the times of a check."""
        return cls(
            interval=check.interval_ns / _NS or DEFAULT_SECONDS,
            timeout=check.timeout_ns / _NS or DEFAULT_SECONDS,
            start_period=check.start_period_ns / _NS,
            start_interval=check.start_interval_ns / _NS or DEFAULT_START_SECONDS,
            retries=check.retries or DEFAULT_RETRIES,
        )

    def pause_seconds(self, verdict: Verdict, ran_seconds: float) -> float:
        """Return how long to wait before the next run."""
        if verdict == "starting" and ran_seconds < self.start_period:
            return min(self.start_interval, self.interval)
        return self.interval


class HealthMonitor:
    """Runs one container's check while its program runs.

    Attributes:
        health: What is known.
    """

    def __init__(
        self,
        schedule: Schedule,
        probe: Callable[[float], Awaitable[HealthResult | None]],
        tell: Callable[[Verdict], None],
    ) -> None:
        self.health = Health()
        self._schedule = schedule
        self._probe = probe
        self._tell = tell
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """Run it no more; a second call does nothing."""
        self._task.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        schedule, health = self._schedule, self.health
        while True:
            await asyncio.sleep(schedule.pause_seconds(health.verdict, loop.time() - began))
            result = await self._probe(schedule.timeout)
            if result is None:
                continue
            failure_counts = loop.time() - began > schedule.start_period
            if health.take(result, retries=schedule.retries, failure_counts=failure_counts):
                self._tell(health.verdict)


def watch_health(context: EngineContext, container: Container) -> HealthMonitor | None:
    """Begin to watch the health of a container whose program runs; None without a check."""
    spec = container.record.spec
    command = check_command(spec.health, spec.shell)
    if spec.health is None or not command:
        return None

    async def probe(timeout_seconds: float) -> HealthResult | None:
        if container.record.state.status != State.RUNNING:
            return None
        return await run_check(context, container, command, timeout_seconds)

    return HealthMonitor(
        Schedule.of(spec.health),
        probe,
        lambda verdict: container.tell(f"health_status: {verdict}"),
    )


def check_command(check: HealthCheck | None, shell: tuple[str, ...]) -> tuple[str, ...]:
    """Return the program of a check with its arguments; empty if there is none."""
    if check is None or len(check.test) < 2:  # noqa: PLR2004  # a word of docker's, then the command
        return ()
    kind, *words = check.test
    if kind == "CMD-SHELL":
        return (*(shell or ("/bin/sh", "-c")), *words)
    return tuple(words) if kind == "CMD" else ()


async def run_check(
    context: EngineContext, container: Container, command: tuple[str, ...], timeout_seconds: float
) -> HealthResult:
    """Run a check once; one that takes too long is killed."""
    began = datetime.now(UTC)
    session = Exec(
        context, container, ExecSpec(command=command, attach_stdout=True, attach_stderr=True)
    )
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)  # noqa: FBT003  # its only argument
        try:
            await session.start(AttachClient(fd=os.dup(theirs.fileno()), framed=False))
            theirs.close()
            async with asyncio.timeout(timeout_seconds):
                output = await _read_to_end(ours)
            code = session.exit_code
            exit_code = _FAILED if code is None else code
        except TimeoutError:
            await session.kill()
            exit_code, output = _FAILED, f"Health check exceeded timeout ({timeout_seconds:g}s)"
        except ToolkitError as error:
            exit_code, output = _FAILED, str(error)
        finally:
            theirs.close()
    return HealthResult(began=began, ended=datetime.now(UTC), exit_code=exit_code, output=output)


async def _read_to_end(connected: socket.socket) -> str:
    loop = asyncio.get_running_loop()
    kept = b""
    with suppress(ConnectionResetError):
        while data := await loop.sock_recv(connected, _READ_BYTES):
            kept = (kept + data)[:_OUTPUT_BYTES]
    return kept.decode(errors="replace")
