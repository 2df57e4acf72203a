# SPDX-License-Identifier: Apache-2.0
"""How much of the toolkit the tests run, here and in machines, put together.

Owns coverage.py's command lines and the files of data. What is measured, and in which
processes, stands in pyproject.toml.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

DATA: Final = "report/coverage"  # as in pyproject.toml; each process adds a name of its own


def measured(command: Sequence[str]) -> list[str]:
    """Return a command of Python's (``python -m pytest ...``) that is measured.

    The coverage.py that runs is that of the same Python.
    """
    python, *rest = command
    return [*_coverage(python), "run", *rest]


def erase_command() -> list[str]:
    """Return what forgets all that was measured before."""
    return [*_coverage(sys.executable), "erase"]


def combine_command(python: str = sys.executable) -> list[str]:
    """Return what makes one file of all that lies beside it, each tree's paths made this one's."""
    return [*_coverage(python), "combine", "--quiet"]


def report_commands() -> list[list[str]]:
    """Return what puts everything together, and tells it a module a line."""
    return [combine_command(), [*_coverage(sys.executable), "report", "--skip-empty"]]


def data_of(machine: str) -> str:
    """Return the name under which a machine's file is brought here, for `combine` to find."""
    return f"{DATA}.{machine}"


def _coverage(python: str) -> list[str]:
    return [python, "-m", "coverage"]
