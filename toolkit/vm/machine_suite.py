# SPDX-License-Identifier: Apache-2.0
"""The integration suite on machines: one part each, seen while it runs, results brought back.

Owns the command line in the machine, who gets which part, and the sum. Which tests
there are is the suite's; see `toolkit.vm.shards` for the split.
"""

from __future__ import annotations

import itertools
import shlex
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from toolkit.vm.coverage import DATA, combine_command, data_of, measured
from toolkit.vm.remote import TREE, Lines, Remote, Running, exit_codes
from toolkit.vm.shards import VARIABLE, Shard
from toolkit.vm.suites import NONE_SELECTED, Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from toolkit.vm.login import Login

_PYTHON: Final = "/usr/local/lib/toolkit/bin/python"
_REPORT: Final = "report/machine.xml"
_TEST_SECONDS: Final = 600  # of one test: the machine's processor may be an emulated one
_EMULATED: Final = "20"  # measured: 11 to 40 times slower
PREFIX: Final = "TOOLKIT_TEST_PREFIX"
SLOWNESS: Final = "TOOLKIT_TIMEOUT_FACTOR"


def slowness_of(remote: Remote) -> str:
    """Return how much longer tests should wait on a machine."""
    is_emulated = remote.ask("systemd-detect-virt || true") == "qemu"  # else it is "kvm"
    return _EMULATED if is_emulated else "1"


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What became of the tests."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0

    @classmethod
    def read(cls, path: Path) -> Counts:
        """Count the cases of a JUnit file."""
        suites = ET.parse(path).getroot().iter("testsuite")  # noqa: S314 - of our own machine
        total = cls()
        for suite in suites:
            tests, failed, errors, skipped = (
                int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")
            )
            part = cls(
                passed=tests - failed - errors - skipped,
                failed=failed + errors,
                skipped=skipped,
                seconds=float(suite.get("time", "0")),
            )
            total = total.plus(part)
        return total

    def plus(self, other: Counts) -> Counts:
        """Return the sum; the time is the longer one, as they ran beside each other."""
        return Counts(
            passed=self.passed + other.passed,
            failed=self.failed + other.failed,
            skipped=self.skipped + other.skipped,
            seconds=max(self.seconds, other.seconds),
        )

    def __str__(self) -> str:
        words = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        return f"{words} in {self.seconds:.0f} s"


@dataclass(frozen=True, kw_only=True)
class MachineSuite:
    """The suite with its options.

    Attributes:
        selection: Which tests; those that look at a machine from outside are left out.
        repository: In its ``report/`` are the JUnit files that are brought, and the coverage.
        coverage: Whether the toolkit's lines that run are counted.
        prefix: Begins the names of the engines that the tests start.
        slowness: How much longer tests wait; empty for more where the processor is emulated.
    """

    repository: Path
    selection: Selection = field(default_factory=Selection)
    coverage: bool = False
    prefix: str = "tkt"
    slowness: str = ""
    say: Callable[[str], None] = print

    def command(self) -> str:
        """Return what a machine's shell is given."""
        trees = self.selection.trees or ("integration",)
        words = [_PYTHON, "-m", "pytest", "-n", self.selection.workers, *trees]
        words += ["--ignore=integration/machine", f"--junitxml={_REPORT}", "--color=no"]
        words += [f"--timeout={_TEST_SECONDS}", *self.selection.options()]
        clean = f"cd {TREE} && mkdir -p report && rm -f {_REPORT} {DATA}*"
        if not self.coverage:
            return f"{clean} && exec {shlex.join(words)}"
        run, combine = shlex.join(measured(words)), shlex.join(combine_command(_PYTHON))
        return f"{clean}; {run}; code=$?; {combine}; exit $code"

    def run(self, logins: Sequence[Login]) -> int:
        """Run a part on each machine at once; return the worst exit code."""
        with ExitStack() as stack:
            remotes = [stack.enter_context(Remote.on(login)) for login in logins]
            parts = (Shard(number=number, count=len(logins)) for number in itertools.count(1))
            codes = exit_codes([self._start(*pair) for pair in zip(remotes, parts, strict=False)])
            for login, remote in zip(logins, remotes, strict=True):
                self._bring(login, remote)
        reports = [self._report(login) for login in logins]
        counts = [Counts.read(path) for path in reports if path.is_file()]
        total = Counts()
        for login, part in zip(logins, counts, strict=False):
            self.say(f"{login.machine}: {part}")
            total = total.plus(part)
        if len(counts) > 1:
            self.say(f"all machines: {total}")
        return self._exit_code(codes)

    def _exit_code(self, codes: Sequence[int]) -> int:
        """Return the worst code: no test is fine where a selection, or the split, leaves none."""
        is_fine = self.selection.is_narrow or len(codes) > 1
        bad = [code for code in codes if code and not (code == NONE_SELECTED and is_fine)]
        return max(bad, default=0)

    def _report(self, login: Login) -> Path:
        return self.repository / "report" / f"{login.machine}.xml"

    def _start(self, remote: Remote, part: Shard) -> Running:
        environ = {PREFIX: self.prefix, SLOWNESS: self.slowness or slowness_of(remote)}
        out: Any = sys.stdout
        if part.count > 1:
            environ[VARIABLE] = str(part)
            out = Lines(self.say, f"{remote.machine}: ")
        return remote.start(self.command(), environ=environ, out=out)

    def _bring(self, login: Login, remote: Remote) -> None:
        """Bring what a machine's part wrote down; nothing older stays in its place."""
        self._report(login).unlink(missing_ok=True)
        remote.fetch(f"{TREE}/{_REPORT}", self._report(login))
        if self.coverage:
            remote.fetch(f"{TREE}/{DATA}", self.repository / data_of(login.machine))
