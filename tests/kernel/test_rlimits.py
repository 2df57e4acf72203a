# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from toolkit.errors import InvalidRequestError, KernelCallError
from toolkit.kernel.rlimits import (
    RLIMITS,
    UNLIMITED,
    Rlimit,
    apply_rlimits,
    hard_limits,
    most_open_files,
    parse_rlimit,
    plan_rlimits,
)

HOST_HARD = {**dict.fromkeys(RLIMITS, UNLIMITED), "nofile": 20000, "memlock": 65536}


APPLY_TWO = """
import resource
from toolkit.kernel.rlimits import Rlimit, apply_rlimits
apply_rlimits([Rlimit(name="nofile", soft=17, hard=33), Rlimit(name="core", soft=0, hard=0)])
print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE))
"""


@pytest.mark.parametrize("name", ["nofile", "NOFILE", "RLIMIT_NOFILE"])
def test_a_limit_is_read_by_dockers_name_and_by_ocis(name: str) -> None:
    limit = parse_rlimit(name, 10, 20)
    assert (limit.name, limit.number) == ("nofile", resource.RLIMIT_NOFILE)


def test_a_negative_number_means_unlimited() -> None:
    assert parse_rlimit("core", -1, -1) == Rlimit(name="core", soft=UNLIMITED, hard=UNLIMITED)


@pytest.mark.parametrize(
    ("name", "soft", "hard"), [("files", 1, 1), ("core", 2, 1), ("core", -1, 5)]
)
def test_what_makes_no_sense_is_refused(name: str, soft: int, hard: int) -> None:
    with pytest.raises(InvalidRequestError):
        parse_rlimit(name, soft, hard)


def test_a_plan_keeps_what_the_host_allows_without_a_word() -> None:
    wanted = parse_rlimit("nofile", 100, 20000)
    plan = plan_rlimits([wanted], host_hard=HOST_HARD, may_raise=False, most_files=1 << 20)
    assert plan.limits == (wanted,)
    assert plan.warnings == ()


def test_a_plan_lowers_what_only_cap_sys_resource_may_raise_and_says_so() -> None:
    plan = plan_rlimits(
        [parse_rlimit("nofile", 1048576, 1048576)],
        host_hard=HOST_HARD,
        may_raise=False,
        most_files=1 << 20,
    )
    assert plan.limits == (Rlimit(name="nofile", soft=20000, hard=20000),)
    assert "nofile=1048576:1048576" in plan.warnings[0]


def test_a_plan_lowers_unlimited_files_to_the_kernels_most_even_with_cap_sys_resource() -> None:
    plan = plan_rlimits(
        [parse_rlimit("nofile", 5, -1)], host_hard=HOST_HARD, may_raise=True, most_files=1 << 20
    )
    assert plan.limits == (Rlimit(name="nofile", soft=5, hard=1 << 20),)


def test_a_plan_raises_with_cap_sys_resource() -> None:
    wanted = parse_rlimit("memlock", -1, -1)
    plan = plan_rlimits([wanted], host_hard=HOST_HARD, may_raise=True, most_files=1 << 20)
    assert plan == type(plan)(limits=(wanted,), warnings=())


def test_apply_sets_the_limits_of_the_process() -> None:
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", APPLY_TWO], env=environment, capture_output=True, check=True
    )
    assert done.stdout == b"(17, 33) (0, 0)\n"


def test_apply_names_the_limit_that_the_kernel_refuses() -> None:
    too_many = Rlimit(name="nofile", soft=1, hard=most_open_files() + 1)
    with pytest.raises(KernelCallError, match="nofile=1:"):
        apply_rlimits([too_many])


def test_hard_limits_are_those_of_this_process() -> None:
    assert hard_limits()["nofile"] == resource.getrlimit(resource.RLIMIT_NOFILE)[1]
