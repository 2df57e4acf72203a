# SPDX-License-Identifier: Apache-2.0
"""The command lines behind `invoke test`, `lint`, `types` and `bench`.

Owns which tools run with which options. All run by this interpreter, so that a
virtual environment's own are used.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NONE_SELECTED = 5  # pytest: no test of this suite matches
CHECKED_TREES = ("toolkit", "tests", "integration", "bench", "tasks.py")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which tests run, and how many at once."""

    select: str = ""
    workers: str = "auto"
    last_failed: bool = False
    trees: tuple[str, ...] = ()

    @property
    def is_narrow(self) -> bool:
        """Whether it may leave a suite without any test."""
        return bool(self.select) or self.last_failed

    def pytest(self, *trees: str) -> list[str]:
        """Return the command that runs trees of tests."""
        command = [sys.executable, "-m", "pytest", "-n", self._workers(trees[0]), *trees]
        return [*command, *self.options()]

    def options(self) -> list[str]:
        """Return pytest's options that narrow a run."""
        options = ["-k", self.select] if self.select else []
        return [*options, "--last-failed"] if self.last_failed else options

    def _workers(self, tree: str) -> str:
        """Give unit tests one worker more than processors.

        They wait now and then for disk and clock; but each worker reads all the tests first,
        which takes it 5 s.
        """
        waits = self.workers == "auto" and tree == "tests"
        return str((os.cpu_count() or 1) + 1) if waits else self.workers


def test_commands(selection: Selection, *, unit_only: bool) -> list[list[str]]:
    """Return the suites in their order: the quick one, then the one on a real kernel.

    Where trees of integration tests are named, they are all that is wanted.
    """
    if selection.trees:
        return [] if unit_only else [selection.pytest(*selection.trees)]
    trees = ["tests"] if unit_only else ["tests", "integration"]
    return [selection.pytest(tree) for tree in trees]


def machine_commands(configs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return the suite that looks at machines from outside, for each one.

    Args:
        configs: OpenSSH's configuration and a machine's name in it, for each machine.
    """
    command = [sys.executable, "-m", "pytest", "integration/machine"]
    return [
        [*command, f"--ssh-config={path}", f"--hosts=ssh://{name}", "--sudo"]
        for path, name in configs
    ]


def words(text: str) -> tuple[str, ...]:
    """Return what is separated by commas."""
    return tuple(word for word in text.split(",") if word)


def lint_commands() -> list[list[str]]:
    """Return the linters: style, format, and which layer imports which."""
    ruff = [sys.executable, "-m", "ruff"]
    return [
        [*ruff, "check", "."],
        [*ruff, "format", "--check", "."],
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"],
    ]


def types_commands() -> list[list[str]]:
    """Return the type checker."""
    return [[sys.executable, "-m", "mypy"]]


def bench_commands(
    *, rounds: int, peers: str, quick: bool, network: str = "none", fixtures: bool = False
) -> list[list[str]]:
    """Return the measurements: one container at a time, many at once, one large layer.

    With a *network*, ``bridge`` or ``port``, one at a time alone; with ``port``, and beside
    docker, also how much passes through. With *fixtures* instead a test that needs one
    container, beside testcontainers.
    """
    if fixtures:
        tests = ["--tests", "12", "--rounds", "2"] if quick else []
        return [[sys.executable, "-m", "bench.fixtures", *tests]]
    options = ["--quick"] if quick else []
    one = [sys.executable, "-m", "bench.one", "--rounds", str(rounds), *options]
    if network != "none":
        one += ["--network", network]
        flow = (
            [[sys.executable, "-m", "bench.throughput"]] if network == "port" and not peers else []
        )
        return [[*one, "--peers", peers] if peers else one, *flow]
    many = [sys.executable, "-m", "bench.many", *options]
    if peers:
        one += ["--peers", peers]
        many += ["--peers", peers]
    return [one, many, [sys.executable, "-m", "bench.unpack", *options]]
