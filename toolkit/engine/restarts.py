# SPDX-License-Identifier: Apache-2.0
"""Whether and when a container comes back by itself: policy and back-off, no clock of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from toolkit.engine.model import ContainerRecord, RestartPolicy

FIRST_DELAY_SECONDS: Final = 0.1
LONGEST_DELAY_SECONDS: Final = 60.0
GOOD_RUN_SECONDS: Final = 10.0


def comes_back(
    policy: RestartPolicy, *, exit_code: int, restart_count: int, stopped_by_user: bool
) -> bool:
    """Say whether a program that ended is started again."""
    if stopped_by_user:
        return False
    match policy.name:
        case "always" | "unless-stopped":
            return True
        case "on-failure":
            most = policy.maximum_retries
            return exit_code != 0 and (not most or restart_count < most)
        case "no":
            return False


def comes_back_with_engine(record: ContainerRecord) -> bool:
    """Say whether a container that does not run is started when its engine starts."""
    state = record.state
    policy = record.spec.host.restart_policy
    if state.started_at is None:
        return False
    return comes_back(
        policy,
        exit_code=state.exit_code,
        restart_count=state.restart_count,
        stopped_by_user=state.stopped_by_user and policy.name != "always",
    )


class BackOff:
    """The delay before each restart: doubled each time, small again after a good run."""

    def __init__(self) -> None:
        self._delay_seconds = FIRST_DELAY_SECONDS

    def next_delay_seconds(self, ran_seconds: float) -> float:
        """Return how long to wait after a run of *ran_seconds*."""
        if ran_seconds >= GOOD_RUN_SECONDS:
            self._delay_seconds = FIRST_DELAY_SECONDS
        delay = self._delay_seconds
        self._delay_seconds = min(delay * 2, LONGEST_DELAY_SECONDS)
        return delay
