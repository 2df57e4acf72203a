# SPDX-License-Identifier: Apache-2.0
"""Whether and when a container comes back by itself."""

from __future__ import annotations

from typing import Literal

import pytest

from toolkit.engine.model import RestartPolicy
from toolkit.engine.restarts import GOOD_RUN_SECONDS, BackOff, comes_back


@pytest.mark.parametrize(
    ("name", "exit_code", "by_user", "back"),
    [
        ("no", 1, False, False),
        ("always", 0, False, True),
        ("always", 0, True, False),
        ("unless-stopped", 3, False, True),
        ("unless-stopped", 3, True, False),
        ("on-failure", 0, False, False),
        ("on-failure", 3, False, True),
        ("on-failure", 3, True, False),
    ],
)
def test_a_policy_decides(
    name: Literal["no", "always", "on-failure", "unless-stopped"],
    exit_code: int,
    by_user: bool,  # noqa: FBT001 - a test's parameter
    back: bool,  # noqa: FBT001 - a test's parameter
) -> None:
    policy = RestartPolicy(name=name)
    given = {"exit_code": exit_code, "restart_count": 50}
    assert comes_back(policy, **given, stopped_by_user=by_user) is back


def test_on_failure_gives_up_after_its_maximum() -> None:
    policy = RestartPolicy(name="on-failure", maximum_retries=2)
    found = [
        comes_back(policy, exit_code=1, restart_count=count, stopped_by_user=False)
        for count in range(4)
    ]
    assert found == [True, True, False, False]


def test_the_delay_doubles_to_a_minute_and_a_good_run_resets_it() -> None:
    back_off = BackOff()
    delays = [back_off.next_delay_seconds(0) for _ in range(12)]
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == 60
    assert back_off.next_delay_seconds(GOOD_RUN_SECONDS) == 0.1
