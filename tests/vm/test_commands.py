# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from toolkit.errors import MachineError
from toolkit.vm.commands import run, succeeds, watch

if TYPE_CHECKING:
    from pathlib import Path


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def test_run_returns_what_the_program_wrote() -> None:
    assert run(python("print('hi')")) == "hi\n"


def test_run_adds_to_the_environment_and_changes_directory(tmp_path: Path) -> None:
    code = "import os; print(os.environ['GIVEN'], os.getcwd(), 'PATH' in os.environ)"
    assert run(python(code), environ={"GIVEN": "x"}, directory=tmp_path) == f"x {tmp_path} True\n"


def test_a_failure_carries_the_exit_code_and_the_last_lines() -> None:
    code = "import sys; sys.stderr.write('first\\nlast words\\n'); sys.exit(3)"
    with pytest.raises(MachineError, match=r"exit code 3\n(.|\n)*last words"):
        run(python(code))


def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(MachineError, match=r"not done after 0\.2 s"):
        run(python("import signal; signal.pause()"), timeout_seconds=0.2)


def test_a_missing_program_is_named() -> None:
    with pytest.raises(MachineError, match="no-such-program: no such program"):
        run(["no-such-program"])
    assert not succeeds(["no-such-program"])


def test_what_runs_on_the_terminal_has_our_environment_and_what_is_added() -> None:
    code = "import os, sys; sys.exit(int(os.environ['CODE']) if 'PATH' in os.environ else 9)"
    assert watch([sys.executable, "-c", code], environ={"CODE": "3"}) == 3
