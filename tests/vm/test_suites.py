# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys

import pytest

from toolkit.vm import suites


def test_the_quick_suite_comes_first_and_the_real_one_last() -> None:
    commands = suites.test_commands(suites.Selection(), unit_only=False)
    assert [command[-1] for command in commands] == ["tests", "integration"]


def test_unit_only_leaves_the_real_kernel_alone() -> None:
    assert len(suites.test_commands(suites.Selection(), unit_only=True)) == 1


def test_a_selection_and_the_workers_reach_pytest() -> None:
    command = suites.Selection(select="vm and not slow", workers="3").pytest("tests")
    assert command[3:] == ["-n", "3", "tests", "-k", "vm and not slow"]


@pytest.mark.parametrize(
    "commands",
    [
        suites.test_commands(suites.Selection(), unit_only=False),
        suites.lint_commands(),
        suites.types_commands(),
        suites.bench_commands(rounds=3, peers="", quick=True),
    ],
)
def test_every_tool_is_run_by_this_interpreter(commands: list[list[str]]) -> None:
    assert commands
    assert {command[0] for command in commands} == {sys.executable}


def test_bench_passes_its_options_on() -> None:
    one, many, unpack = suites.bench_commands(rounds=7, peers="ours,runc", quick=True)
    assert one[2:] == ["bench.one", "--rounds", "7", "--quick", "--peers", "ours,runc"]
    assert many[2:] == ["bench.many", "--quick", "--peers", "ours,runc"]
    assert unpack[2:] == ["bench.unpack", "--quick"]


def test_bench_with_a_network_leaves_the_others_out() -> None:
    _, flow = suites.bench_commands(rounds=7, peers="", quick=False, network="port")
    assert flow[2:] == ["bench.throughput"]
    [one] = suites.bench_commands(rounds=7, peers="ours", quick=False, network="port")
    assert one[2:] == ["bench.one", "--rounds", "7", "--network", "port", "--peers", "ours"]


def test_unit_tests_get_one_worker_more_than_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    unit, real = suites.test_commands(suites.Selection(), unit_only=False)
    assert unit[unit.index("-n") + 1] == "4"
    assert real[real.index("-n") + 1] == "auto"
