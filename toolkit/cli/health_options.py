# SPDX-License-Identifier: Apache-2.0
"""The flags of a health check as docker's ``Healthcheck``. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from toolkit.cli.moments import parse_duration
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMES: Final = {
    "health_interval": "Interval",
    "health_start_interval": "StartInterval",
    "health_start_period": "StartPeriod",
    "health_timeout": "Timeout",
}
_NS: Final = 1_000_000_000


def read_health(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return docker's ``Healthcheck``; empty where no flag says anything.

    Raises:
        InvalidRequestError: A flag contradicts ``--no-healthcheck``, or is no duration.
    """
    health: dict[str, Any] = {
        wire: round(parse_duration(options[name]) * _NS)
        for name, wire in _TIMES.items()
        if options[name]
    }
    if options["health_cmd"]:
        health["Test"] = ["CMD-SHELL", options["health_cmd"]]
    if options["health_retries"] is not None:
        health["Retries"] = options["health_retries"]
    if not options["no_healthcheck"]:
        return health
    if health:
        raise InvalidRequestError("--no-healthcheck conflicts with --health-* options")
    return {"Test": ["NONE"]}
