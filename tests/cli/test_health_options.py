# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from toolkit.cli.health_options import read_health
from toolkit.errors import InvalidRequestError

NOTHING: dict[str, Any] = {
    "health_cmd": "",
    "health_interval": "",
    "health_retries": None,
    "health_start_interval": "",
    "health_start_period": "",
    "health_timeout": "",
    "no_healthcheck": False,
}


def test_nothing_said_sends_nothing() -> None:
    assert read_health(NOTHING) == {}


def test_the_flags_become_dockers_document() -> None:
    said = {"health_cmd": "curl x", "health_interval": "1m30s", "health_retries": 2}
    assert read_health({**NOTHING, **said}) == {
        "Test": ["CMD-SHELL", "curl x"],
        "Interval": 90_000_000_000,
        "Retries": 2,
    }


def test_no_healthcheck_takes_the_images_away() -> None:
    assert read_health({**NOTHING, "no_healthcheck": True}) == {"Test": ["NONE"]}


def test_no_healthcheck_conflicts_with_a_command() -> None:
    with pytest.raises(InvalidRequestError, match="conflicts"):
        read_health({**NOTHING, "no_healthcheck": True, "health_cmd": "x"})
