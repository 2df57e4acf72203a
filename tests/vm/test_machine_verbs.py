# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.vm import machine_verbs
from toolkit.vm.machine_suite import MachineSuite
from toolkit.vm.machines import Machines
from toolkit.vm.settings import MachineSettings, Places
from toolkit.vm.suites import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pytest

    from toolkit.vm.login import Login


def run(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    *codes: int,
    selection: Selection | None = None,
    count: int = 0,
) -> tuple[int, list[str]]:
    """Run the tests on three machines that look from outside as the codes say."""
    seen: list[str] = []
    ends = iter(codes)

    def watch(argv: Sequence[str], *, environ: Mapping[str, str], **_: Any) -> int:
        assert environ == {"TOOLKIT_CGROUPS": "v1"}  # what they were made with
        seen.append(argv[5].removeprefix("--hosts=ssh://"))
        return next(ends)

    def suite(_: MachineSuite, logins: Sequence[Login]) -> int:
        seen.append("suite on " + " ".join(login.machine for login in logins))
        return 0

    monkeypatch.setattr("toolkit.vm.commands.watch", watch)
    monkeypatch.setattr(machine_verbs, "sync", lambda _: None)
    monkeypatch.setattr(MachineSuite, "run", suite)
    places = Places(state_dir=directory, cache_dir=directory, runtime_dir=directory)
    machines = Machines(settings=MachineSettings(places=places, count=3, cgroups="v1"))
    chosen = selection or Selection()
    return machine_verbs.test(machines, chosen, coverage=False, count=count), seen


def test_every_machine_is_looked_at_and_the_suite_runs_whatever_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, seen = run(tmp_path, monkeypatch, 1, 0, 2)
    assert code == 1
    assert seen == ["machine1", "machine2", "machine3", "suite on machine1 machine2 machine3"]


def test_a_selection_may_leave_nothing_to_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path, monkeypatch, 5, 5, 5, selection=Selection(select="x"))[0] == 0
    assert run(tmp_path, monkeypatch, 5, 5, 5)[0] == 5


def test_named_trees_are_all_that_runs_and_as_many_machines_as_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = Selection(trees=("integration/test_limits.py",))
    assert run(tmp_path, monkeypatch, selection=trees, count=2) == (
        0,
        ["suite on machine1 machine2"],
    )
