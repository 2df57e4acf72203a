# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sqlite3
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from toolkit.vm import coverage
from toolkit.vm.settings import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


def test_the_file_of_data_is_where_the_project_says() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert project["tool"]["coverage"]["run"]["data_file"] == coverage.DATA


def test_a_machine_has_what_measures() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert any(name.startswith("coverage") for name in project["optional-dependencies"]["test"])


def test_a_command_is_measured_by_its_own_python() -> None:
    command = coverage.measured(["/other/python", "-m", "pytest", "tests"])
    assert command == ["/other/python", "-m", "coverage", "run", "-m", "pytest", "tests"]


def measure_a_tree(tree: Path) -> None:
    """Have a tree with the project's settings, and one module of it measured."""
    (tree / "toolkit").mkdir(parents=True)
    (tree / "toolkit" / "__init__.py").touch()
    (tree / "toolkit" / "thing.py").write_text("done = 1\n")
    (tree / "report").mkdir()
    (tree / "pyproject.toml").write_bytes((REPOSITORY / "pyproject.toml").read_bytes())
    command = coverage.measured([sys.executable, "-m", "toolkit.thing"])
    subprocess.run(command, cwd=tree, check=True)


def test_what_a_machine_measured_counts_for_the_tree_here(tmp_path: Path) -> None:
    pytest.importorskip("coverage")
    machine, here = tmp_path / "machine" / "toolkit", tmp_path / "here"
    measure_a_tree(machine)
    subprocess.run(coverage.combine_command(), cwd=machine, check=True)
    measure_a_tree(here)
    (machine / coverage.DATA).rename(here / coverage.data_of("machine1"))
    subprocess.run(coverage.combine_command(), cwd=here, check=True)
    with sqlite3.connect(here / coverage.DATA) as data:
        paths = data.execute("select path from file where path like '%thing%'").fetchall()
    assert paths == [(str(here / "toolkit" / "thing.py"),)]
