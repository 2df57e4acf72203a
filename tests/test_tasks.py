# SPDX-License-Identifier: Apache-2.0
"""`invoke --list` is the manual: every task is there, documented, each option with help."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest
from invoke.collection import Collection
from invoke.context import Context, MockContext
from invoke.exceptions import Exit
from invoke.runners import Result

import tasks
from toolkit.vm.memory import Memory
from toolkit.vm.settings import MachineSettings, Places

if TYPE_CHECKING:
    from pathlib import Path

TASKS = Collection.from_module(tasks)
NAMES = sorted(TASKS.task_names)


def test_the_promised_tasks_are_there() -> None:
    promised = {"up", "down", "status", "test", "lint", "types", "bench", "doctor", "box", "halt"}
    promised |= {"resume", "destroy", "ssh", "sync", "logs", "snapshot", "ports", "provision"}
    assert promised <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_says_what_it_does_and_every_option_has_help(name: str) -> None:
    task = TASKS[name]
    assert task.__doc__
    for argument in task.get_arguments():
        assert argument.help, f"{name} --{argument.name}"


class ExitsWith(MockContext):
    """A context whose commands end with given exit codes, in turn."""

    def __init__(self, *codes: int) -> None:
        super().__init__(run=[Result(exited=code) for code in codes])

    def count_runs(self) -> int:
        run: Any = self.run  # invoke has put a mock in its place
        return int(run.call_count)


def exit_code_of(task: Any, context: Context, **options: Any) -> int:
    try:
        task.body(context, **options)
    except Exit as ended:
        return int(ended.code)
    return 0


def test_test_passes_when_both_suites_do() -> None:
    assert exit_code_of(tasks.test, ExitsWith(0, 0)) == 0


def test_test_fails_with_the_suites_exit_code_and_still_runs_the_other() -> None:
    context = ExitsWith(1, 0)
    assert exit_code_of(tasks.test, context) == 1
    assert context.count_runs() == 2


def test_a_suite_without_any_test_fails_unless_a_selection_left_it_empty() -> None:
    assert exit_code_of(tasks.test, ExitsWith(0, 5)) == 5
    assert exit_code_of(tasks.test, ExitsWith(0, 5), select="doctor") == 0


def test_lint_runs_every_linter_even_when_the_first_complains() -> None:
    context = ExitsWith(1, 0, 0)
    assert exit_code_of(tasks.lint, context) == 1
    assert context.count_runs() == 3


def test_named_trees_are_all_that_runs() -> None:
    context = ExitsWith(0)
    assert exit_code_of(tasks.test, context, trees="integration/kernel") == 0
    assert context.count_runs() == 1


def test_tests_on_machines_without_any_say_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("toolkit.vm.settings.is_root", lambda: False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(Exit, match=r"has no machine(.|\n)*invoke up"):
        tasks.test.body(ExitsWith(0), machine=True)


@pytest.mark.parametrize("has_one", [True, False])
def test_up_wakes_the_machine_that_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, has_one: bool
) -> None:
    went: list[str] = []

    class Up:
        def __init__(self, place: str) -> None:
            self._place = place

        def up(self, **_: Any) -> None:
            went.append(self._place)

    places = Places(state_dir=tmp_path, cache_dir=tmp_path, runtime_dir=tmp_path)
    settings = MachineSettings(instance_name="tku", provider="libvirt", places=places)
    if has_one:
        Memory.of(settings, {}).write(settings.state_dir)
    monkeypatch.setattr(Places, "of", lambda *_, **__: places)
    monkeypatch.setattr(tasks, "is_root", lambda: True)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("TOOLKIT_PROVIDER", raising=False)
    monkeypatch.setattr(tasks, "_machines", lambda *_, **__: Up("machine"))
    monkeypatch.setattr(tasks, "_machine", lambda _: Up("here"))
    assert exit_code_of(tasks.up, Context(), instance="tku") == 0
    assert went == ["machine" if has_one else "here"]


def test_coverage_is_told_even_when_the_tests_fail() -> None:
    context = ExitsWith(0, 1, 0, 0, 0)
    assert exit_code_of(tasks.test, context, coverage=True) == 1
    run: Any = context.run
    words = [shlex.split(call.args[0])[3] for call in run.call_args_list]
    assert words == ["erase", "run", "run", "combine", "report"]
