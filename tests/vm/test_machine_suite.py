# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from toolkit.vm.login import Login
from toolkit.vm.machine_suite import Counts, MachineSuite, slowness_of
from toolkit.vm.suites import Selection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

JUNIT = (
    '<testsuites><testsuite tests="{tests}" failures="1" errors="1" skipped="2" time="{time}"/>'
    "</testsuites>"
)


class FakeRemote:
    """A machine in which the suite ends with a given code."""

    def __init__(self, machine: str, code: int, ran: list[tuple[str, str]]) -> None:
        self.machine = machine
        self._code = code
        self._ran = ran

    def ask(self, _command: str) -> str:
        return "kvm"

    def start(self, _command: str, *, environ: Mapping[str, str], out: Any) -> FakeRemote:
        assert environ["TOOLKIT_TIMEOUT_FACTOR"] == "1"
        self._ran.append((environ.get("TOOLKIT_SHARD", ""), environ["TOOLKIT_TEST_PREFIX"]))
        out.write("a test\n")
        return self

    def wait(self) -> None:
        """Have ended already."""

    def exit_code(self) -> int:
        return self._code

    def fetch(self, remote: str, local: Path) -> bool:
        local.parent.mkdir(exist_ok=True)
        if not remote.endswith(".xml"):
            local.write_bytes(b"counted")
            return True
        local.write_text(JUNIT.format(tests=10, time=2.5))
        return True


@pytest.fixture
def ran() -> list[tuple[str, str]]:
    return []


def run(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    codes: Mapping[str, int],
    ran: list[tuple[str, str]],
    selection: Selection | None = None,
    **options: Any,
) -> tuple[int, list[str]]:
    said: list[str] = []

    @contextmanager
    def on(login: Login) -> Iterator[FakeRemote]:
        yield FakeRemote(login.machine, codes[login.machine], ran)

    monkeypatch.setattr("toolkit.vm.machine_suite.Remote.on", on)
    suite = MachineSuite(
        repository=directory,
        say=said.append,
        selection=selection or Selection(),
        prefix="tku",
        **options,
    )
    logins = [Login(machine=name, directory=directory) for name in codes]
    return suite.run(logins), said


def test_junit_is_counted(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(JUNIT.format(tests=10, time=2.5))
    counts = Counts.read(tmp_path / "x.xml")
    assert counts == Counts(passed=6, failed=2, skipped=2, seconds=2.5)


def test_one_machine_gets_all_of_it_and_its_exit_code_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: list[tuple[str, str]]
) -> None:
    code, said = run(tmp_path, monkeypatch, {"m1": 1}, ran)
    assert code == 1
    assert ran == [("", "tku")]
    assert said == ["m1: 6 passed, 2 failed, 2 skipped in 2 s"]


def test_several_machines_get_a_part_each_and_their_lines_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: list[tuple[str, str]]
) -> None:
    code, said = run(tmp_path, monkeypatch, {"m1": 0, "m2": 5}, ran)
    assert code == 0  # the split may leave a part empty
    assert sorted(shard for shard, _ in ran) == ["1/2", "2/2"]
    assert {"m1: a test", "m2: a test"} <= set(said)
    assert said[-1] == "all machines: 12 passed, 4 failed, 4 skipped in 2 s"


def test_one_machine_without_any_test_has_failed_unless_a_selection_left_it_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: list[tuple[str, str]]
) -> None:
    assert run(tmp_path, monkeypatch, {"m1": 5}, ran)[0] == 5
    narrow = Selection(select="x")
    assert run(tmp_path, monkeypatch, {"m1": 5}, ran, narrow)[0] == 0


def test_the_command_leaves_out_what_looks_from_outside(tmp_path: Path) -> None:
    selection = Selection(select="a or b", last_failed=True)
    command = MachineSuite(repository=tmp_path, selection=selection).command()
    assert "--ignore=integration/machine" in command
    assert "-k 'a or b' --last-failed" in command


@pytest.mark.parametrize(("processor", "factor"), [("qemu", "20"), ("kvm", "1"), ("", "1")])
def test_an_emulated_processor_is_given_more_time(processor: str, factor: str) -> None:
    class Asked:
        def ask(self, _command: str) -> str:
            return processor

    assert slowness_of(cast("Any", Asked())) == factor


def test_what_was_counted_is_brought_under_a_name_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: list[tuple[str, str]]
) -> None:
    run(tmp_path, monkeypatch, {"m1": 0, "m2": 0}, ran, coverage=True)
    brought = sorted(path.name for path in (tmp_path / "report").glob("coverage.*"))
    assert brought == ["coverage.m1", "coverage.m2"]


def test_nothing_is_counted_unless_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: list[tuple[str, str]]
) -> None:
    run(tmp_path, monkeypatch, {"m1": 0}, ran)
    assert not list((tmp_path / "report").glob("coverage*"))
    assert "coverage run" not in MachineSuite(repository=tmp_path).command()


def test_counting_keeps_the_suites_exit_code(tmp_path: Path) -> None:
    command = MachineSuite(repository=tmp_path, coverage=True).command()
    _, run_words, code, combine, ending = command.split("; ")
    assert " -m coverage run -m pytest -n auto integration " in run_words
    assert (code, ending) == ("code=$?", "exit $code")
    assert combine.endswith("coverage combine --quiet")
