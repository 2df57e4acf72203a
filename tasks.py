# SPDX-License-Identifier: Apache-2.0
"""The one entry for people: `invoke --list` is the manual.

Each task is a few lines; what it does stands in `toolkit.vm`.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.exceptions import Exit
from invoke.tasks import task

from toolkit.config import Instance
from toolkit.errors import ToolkitError
from toolkit.vm import suites
from toolkit.vm.conformance import measure as measure_conformance
from toolkit.vm.this_machine import ThisMachine

if TYPE_CHECKING:
    from invoke.context import Context

_HERE = Path(__file__).parent
_DONE = frozenset({0})
_NONE_SELECTED = 5  # pytest: no test of this suite matches


def _machine(instance: str) -> ThisMachine:
    environ = dict(os.environ)
    if instance:
        environ["TOOLKIT_INSTANCE"] = instance
    if sys.platform != "linux":
        raise Exit("The engine needs a Linux kernel; 'vagrant up' makes one (see README).", 1)
    return ThisMachine(instance=Instance.from_environment(environ))


def _failed(error: ToolkitError) -> Exit:
    return Exit("\n".join(filter(None, [str(error), error.hint])), 1)


def _run_each(c: Context, commands: list[list[str]], *, fine: frozenset[int] = _DONE) -> None:
    """Run each command in the repository; fail in the end if any did, with its exit code."""
    with c.cd(str(_HERE)):
        done = [c.run(shlex.join(command), warn=True, in_stream=False) for command in commands]
    codes = [result.exited for result in done if result is not None]
    if failed := next((code for code in codes if code not in fine), 0):
        raise Exit(code=failed)


@task(
    help={
        "install": "install missing system packages with apt (--no-install only tells)",
        "instance": "name of the engine's instance (default: TOOLKIT_INSTANCE or toolkit)",
    }
)
def up(_c: Context, install: bool = True, instance: str = "") -> None:
    """Make this machine ready, start the engine and run a first container."""
    try:
        _machine(instance).up(install=install)
    except ToolkitError as error:
        raise _failed(error) from error


@task(
    help={
        "keep_data": "keep images and containers in /var/lib/<instance>; by default they go too",
        "instance": "name of the engine's instance",
    }
)
def down(_c: Context, keep_data: bool = False, instance: str = "") -> None:
    """Stop the engine and its containers and remove all that they had here.

    System packages that `up` installed stay.
    """
    try:
        _machine(instance).down(keep_data=keep_data)
    except ToolkitError as error:
        raise _failed(error) from error


@task(help={"instance": "name of the engine's instance"})
def status(_c: Context, instance: str = "") -> None:
    """Tell whether the engine runs, where, and with how many containers."""
    try:
        answers = _machine(instance).status()
    except ToolkitError as error:
        raise _failed(error) from error
    if not answers:
        raise Exit(code=1)


@task
def doctor(_c: Context) -> None:
    """Tell what this machine has of what containers need, a line a feature, with remedies."""
    if not _machine("").doctor():
        raise Exit("Something required is missing (MISSING above).", 1)


@task(
    help={
        "select": "run only the tests that match (pytest -k)",
        "workers": "how many tests at once (a number, or auto)",
        "unit_only": "leave out the integration tests, which need root on Linux",
    }
)
def test(c: Context, select: str = "", workers: str = "auto", unit_only: bool = False) -> None:
    """Run the unit tests, then the integration tests on this kernel."""
    selection = suites.Selection(select=select, workers=workers)
    fine = _DONE | {_NONE_SELECTED} if select else _DONE
    _run_each(c, suites.test_commands(selection, unit_only=unit_only), fine=fine)


@task
def conformance(_c: Context) -> None:
    """Count the conformance rows that tests cover, and tell what is left out, and why."""
    coverage = measure_conformance(_HERE)
    for line in coverage.lines():
        sys.stdout.write(f"{line}\n")
    if not coverage.is_complete:
        raise Exit(code=1)


@task
def lint(c: Context) -> None:
    """Check style, format and which layer imports which."""
    _run_each(c, suites.lint_commands())


@task
def types(c: Context) -> None:
    """Check the types, strictly."""
    _run_each(c, suites.types_commands())


@task(
    help={
        "rounds": "how many times each peer starts a container",
        "peers": "only these, separated by commas (ours,ours-lxc,dockerd,podman,runc,crun,lxc)",
        "quick": "few rounds, to see that it works",
        "network": "what containers get: none, bridge, or port (a bridge and a published port)",
    }
)
def bench(
    c: Context, rounds: int = 15, peers: str = "", quick: bool = False, network: str = "none"
) -> None:
    """Measure start to exit of a container beside the other runtimes installed here."""
    _run_each(c, suites.bench_commands(rounds=rounds, peers=peers, quick=quick, network=network))
