# SPDX-License-Identifier: Apache-2.0
"""A container's health as docker shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.api.times import rfc3339_nano

if TYPE_CHECKING:
    from toolkit.engine.health import Health
    from toolkit.engine.model import HealthCheck

NO_HEALTH = "none"


def health_state(health: Health | None) -> str:
    """Return docker's word: ``none`` without a check that has run since a start."""
    return health.verdict if health is not None else NO_HEALTH


def health_words(health: Health | None) -> str:
    """Return what stands behind ``Up 3 minutes``."""
    if health is None:
        return ""
    return " (health: starting)" if health.verdict == "starting" else f" ({health.verdict})"


def health_object(health: Health) -> dict[str, Any]:
    """Return ``State.Health``."""
    return {
        "Status": health.verdict,
        "FailingStreak": health.failing_streak,
        "Log": [
            {
                "Start": rfc3339_nano(result.began),
                "End": rfc3339_nano(result.ended),
                "ExitCode": result.exit_code,
                "Output": result.output,
            }
            for result in health.results
        ],
    }


def healthcheck_object(check: HealthCheck) -> dict[str, Any]:
    """Return ``Config.Healthcheck``: what was said, and nothing else."""
    said = {
        "Test": list(check.test),
        "Interval": check.interval_ns,
        "Timeout": check.timeout_ns,
        "StartPeriod": check.start_period_ns,
        "StartInterval": check.start_interval_ns,
        "Retries": check.retries,
    }
    return {name: value for name, value in said.items() if value}
