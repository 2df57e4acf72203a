# SPDX-License-Identifier: Apache-2.0
"""Limits: refused, dropped with a warning, or told to the control group."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.host import FakeCgroups
from toolkit.engine.limits import HostLimits, allowed_oom_score, check_limits, downgraded, resources
from toolkit.engine.model import Limits
from toolkit.errors import InvalidRequestError

MIB = 1 << 20


@pytest.mark.parametrize("memory", [1, 524287, -1])
def test_too_little_memory_is_refused_in_0_7_2s_words(memory: int) -> None:
    """RT-068, API-032, rule 3.5."""
    with pytest.raises(InvalidRequestError, match=r"^Minimum memory limit allowed is 512k$"):
        check_limits(Limits(memory_bytes=memory, cpu_shares=1000))


@pytest.mark.parametrize(
    "limits",
    [
        Limits(),
        Limits(memory_bytes=524288),
        Limits(memory_bytes=MIB, memory_swap_bytes=-1),
        Limits(memory_bytes=MIB, memory_swap_bytes=MIB, memory_reservation_bytes=524288),
        Limits(nano_cpus=500_000_000),
        Limits(cpu_period_us=100_000, cpu_quota_us=-1),
        Limits(cpuset_cpus="0", cpuset_mems="0", blkio_weight=10, pids=-1),
    ],
)
def test_sound_limits_pass(limits: Limits) -> None:
    check_limits(limits)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"memory_swap_bytes": MIB}, "always set the Memory limit"),
        ({"memory_bytes": 2 * MIB, "memory_swap_bytes": MIB}, "memoryswap"),
        ({"memory_bytes": MIB, "memory_swap_bytes": -2}, "memoryswap"),
        ({"memory_bytes": MIB, "memory_reservation_bytes": 2 * MIB}, "reservation"),
        ({"memory_reservation_bytes": 5}, "reservation"),
        ({"memory_bytes": 2**63}, "64 bits"),
        ({"cpu_shares": -1}, "CPU shares"),
        ({"nano_cpus": 1}, "range of CPUs"),
        ({"nano_cpus": 10**13}, "range of CPUs"),
        ({"nano_cpus": 10**9, "cpu_quota_us": 5000}, "Conflicting"),
        ({"cpu_period_us": 999}, "cfs period"),
        ({"cpu_quota_us": 999}, "cfs quota"),
        ({"cpuset_cpus": "0-"}, "cpuset cpus"),
        ({"cpuset_cpus": "9999"}, "not available"),
        ({"cpuset_mems": "x"}, "cpuset mems"),
        ({"blkio_weight": 9}, "blkio weight"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidRequestError, match=word):
        check_limits(Limits(**fields))


def test_what_the_kernel_lacks_is_dropped_with_dockers_warnings() -> None:
    """Rules 3.6 and 3.7."""
    none = dict.fromkeys(HostLimits.__dataclass_fields__, False)
    asked = Limits(
        memory_bytes=MIB, cpu_shares=5, nano_cpus=10**9, cpuset_cpus="0", pids=5, blkio_weight=10,
        oom_kill_disable=True,
    )  # fmt: skip
    kept, warnings = downgraded(asked, HostLimits(**none))
    assert kept == Limits(pids=-1)
    assert warnings[0] == (
        "Your kernel does not support memory limit capabilities. Limitation discarded."
    )
    assert len(warnings) == 7


def test_without_swap_limits_the_memory_limit_stays() -> None:
    kept, warnings = downgraded(Limits(memory_bytes=MIB), HostLimits(swap=False))
    assert kept == Limits(memory_bytes=MIB, memory_swap_bytes=-1)
    assert warnings == [
        "Your kernel does not support memory swap capabilities. Limitation discarded."
    ]


def test_a_host_that_has_everything_warns_of_nothing() -> None:
    limits = Limits(memory_bytes=MIB, cpu_shares=5)
    assert downgraded(limits, HostLimits()) == (limits, [])


def test_memory_and_swap_together_are_twice_the_memory() -> None:
    """RT-070, rule 3.8."""
    found = resources(Limits(memory_bytes=MIB), HostLimits())
    assert found["memory"] == {"limit": MIB, "swap": 2 * MIB}
    unlimited = resources(Limits(memory_bytes=MIB, memory_swap_bytes=-1), HostLimits())
    assert unlimited["memory"]["swap"] == -1


def test_every_container_has_a_pids_limit_unless_it_asks_for_none() -> None:
    """Row S-100."""
    assert resources(Limits(), HostLimits()) == {"pids": {"limit": 2048}}
    assert resources(Limits(pids=-1), HostLimits())["pids"] == {"limit": -1}
    assert resources(Limits(pids=7), HostLimits())["pids"] == {"limit": 7}
    assert resources(Limits(), HostLimits(pids=False)) == {}


def test_cpus_become_a_quota() -> None:
    found = resources(Limits(nano_cpus=1_500_000_000, cpu_shares=5, cpuset_cpus="0"), HostLimits())
    assert found["cpu"] == {"shares": 5, "quota": 150_000, "period": 100_000, "cpus": "0"}


def test_the_hosts_limits_are_what_its_control_groups_say() -> None:
    cgroups = FakeCgroups()
    assert HostLimits.of(cgroups) == HostLimits()
    cgroups.missing = {"swap", "cpu.quota"}
    assert HostLimits.of(cgroups) == HostLimits(swap=False, cpu_quota=False)


@pytest.mark.parametrize(
    ("wanted", "may_lower", "given"),
    [(0, False, 0), (500, False, 500), (-500, True, -500), (-500, False, -100), (-50, False, -50)],
)
def test_a_lower_oom_score_needs_the_capability(
    wanted: int,
    may_lower: bool,  # noqa: FBT001 - a test's parameter
    given: int,
) -> None:
    score, warnings = allowed_oom_score(wanted, own=-100, may_lower=may_lower)
    assert score == given
    assert bool(warnings) is (given != wanted)
