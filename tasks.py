# SPDX-License-Identifier: Apache-2.0
"""The one entry for people: `invoke --list` is the manual.

Each task is a few lines; what it does stands in `toolkit.vm`.
"""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.exceptions import Exit
from invoke.tasks import task

from toolkit.config import Instance
from toolkit.errors import ToolkitError
from toolkit.vm import machine_verbs, suites
from toolkit.vm.conformance import measure as measure_conformance
from toolkit.vm.coverage import erase_command, measured, report_commands
from toolkit.vm.memory import Memory
from toolkit.vm.settings import MachineSettings, is_root
from toolkit.vm.this_machine import ThisMachine
from toolkit.vm.where import decide

if TYPE_CHECKING:
    from collections.abc import Iterator

    from invoke.context import Context

    from toolkit.vm.machines import Machines

_HERE = Path(__file__).parent
_DONE = frozenset({0})


def _machine(instance: str) -> ThisMachine:
    environ = dict(os.environ)
    if instance:
        environ["TOOLKIT_INSTANCE"] = instance
    if sys.platform != "linux":
        raise Exit("The engine needs a Linux kernel: invoke up makes a machine that has one.", 1)
    return ThisMachine(instance=Instance.from_environment(environ))


def _has_machines(instance: str) -> bool:
    settings = MachineSettings.from_environment(os.environ, instance=instance)
    return Memory.read(settings.state_dir) is not None


def _machines(instance: str = "", **chosen: str | int) -> Machines:
    """Return the machines of an instance; Fabric is imported only for them."""
    from toolkit.vm.machines import Machines  # noqa: PLC0415 - 300 ms, and only for machines

    settings = MachineSettings.from_environment(os.environ, instance=instance, **chosen)  # type: ignore[arg-type]
    return Machines.of(settings)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what went wrong into one message and an exit code."""
    try:
        yield
    except ToolkitError as error:
        raise Exit("\n".join(filter(None, [str(error), error.hint])), 1) from error


def _run_each(c: Context, commands: list[list[str]], *, fine: frozenset[int] = _DONE) -> None:
    """Run each command in the repository; fail in the end if any did, with its exit code."""
    with c.cd(str(_HERE)):
        done = [c.run(shlex.join(command), warn=True, in_stream=False) for command in commands]
    codes = [result.exited for result in done if result is not None]
    if failed := next((code for code in codes if code not in fine), 0):
        raise Exit(code=failed)


@contextmanager
def _counted(c: Context) -> Iterator[None]:
    """Tell in the end which of the toolkit's lines were run in the block."""
    _run_each(c, [erase_command()])
    try:
        yield
    finally:
        _run_each(c, report_commands())


_INSTANCE = "name of the engine's instance (default: TOOLKIT_INSTANCE or toolkit)"
_MACHINE = "name of the machine (default: the first)"


@task(
    help={
        "here": "run the engine on this machine (the default as root on Linux without a machine)",
        "provider": "make a machine: libvirt, virtualbox, vmware_desktop, parallels or qemu",
        "machines": "how many machines",
        "cgroups": "flavour of control groups that a machine is started with: v1 or v2",
        "install": "install missing system packages with apt (--no-install only tells)",
        "instance": _INSTANCE,
    }
)
def up(
    _c: Context,
    here: bool = False,
    provider: str = "",
    machines: int = 0,
    cgroups: str = "",
    install: bool = True,
    instance: str = "",
) -> None:
    """Make this machine or a Vagrant machine ready, start the engine, run a first container."""
    with _told():
        where = decide(
            os.environ,
            here=here,
            provider=provider,
            platform=sys.platform,
            is_root=is_root(),
            asked_of_machines="--machines" if machines else "--cgroups" if cgroups else "",
            has_machines=_has_machines(instance),
        )
        if where.is_here:
            _machine(instance).up(install=install)
            return
        sys.stdout.write(f"a machine of Vagrant's: {where.reason}\n")
        _machines(instance, provider=provider, count=machines, cgroups=cgroups).up()


@task(
    help={
        "keep_data": "keep images and containers in /var/lib/<instance>; by default they go too",
        "instance": _INSTANCE,
    }
)
def down(_c: Context, keep_data: bool = False, instance: str = "") -> None:
    """Stop the engine on this machine and its containers and remove all that they had here.

    System packages that `up` installed stay. Vagrant machines: see `halt` and `destroy`.
    """
    with _told():
        _machine(instance).down(keep_data=keep_data)


@task(help={"instance": _INSTANCE})
def status(_c: Context, instance: str = "") -> None:
    """Tell whether the engine runs, where, and with how many containers; machines too."""
    with _told():
        machines = _machines(instance)
        answers = machines.status() if machines.exist else _machine(instance).status()
    if not answers:
        raise Exit(code=1)


@task(
    help={
        "repair": "have the engine put back links and rules that others have taken away",
        "instance": "whose engine",
    }
)
def doctor(_c: Context, repair: bool = False, instance: str = "") -> None:
    """Tell what this machine has of what containers need, a line a feature, with remedies."""
    with _told():
        is_fit = _machine(instance).doctor(repair=repair)
    if not is_fit:
        raise Exit("Something required is missing (MISSING above).", 1)


@task
def box(_c: Context) -> None:
    """Build a Debian box for libvirt here, without a machine, unless it is there already."""
    with _told():
        machine_verbs.build_box(MachineSettings.from_environment(os.environ))


@task(
    help={"off": "switch them off (the default puts their memory to disk)", "instance": _INSTANCE}
)
def halt(_c: Context, off: bool = False, instance: str = "") -> None:
    """Stop the machines; `up` or `resume` go on where they were."""
    with _told():
        _machines(instance).halt(off=off)


@task(help={"instance": _INSTANCE})
def resume(_c: Context, instance: str = "") -> None:
    """Go on with machines that were halted."""
    with _told():
        _machines(instance).there().up()


@task(help={"boxes": "remove the box and Vagrant's copy of it too", "instance": _INSTANCE})
def destroy(_c: Context, boxes: bool = False, instance: str = "") -> None:
    """Remove the machines, and a libvirtd that was started for them."""
    with _told():
        _machines(instance).destroy(boxes=boxes)


@task(help={"command": "what to run there (default: a shell)", "machine": _MACHINE})
def ssh(_c: Context, command: str = "", machine: str = "") -> None:
    """Log in to a machine, or run a command there; its exit code is ours."""
    with _told():
        code = machine_verbs.ssh(_machines().chosen(machine), command)
    if code:
        raise Exit(code=code)


@task
def sync(_c: Context) -> None:
    """Bring this checkout to the machines; an engine whose code changed is started again."""
    with _told():
        machine_verbs.sync(_machines().there())


@task(help={"machine": _MACHINE})
def provision(_c: Context, machine: str = "") -> None:
    """Run the provisioning scripts in a machine and tell what they changed."""
    with _told():
        machine_verbs.provision(_machines(), machine)


@task(
    help={
        "follow": "go on showing what comes",
        "lines": "how many of the last lines",
        "machine": _MACHINE,
    }
)
def logs(_c: Context, follow: bool = False, lines: int = 100, machine: str = "") -> None:
    """Show what a machine's engine logged."""
    with _told():
        machine_verbs.logs(_machines().chosen(machine), lines=lines, follow=follow)


@task(
    help={"action": "save, restore, delete or list", "name": "of the snapshot"},
    positional=["action"],
)
def snapshot(_c: Context, action: str, name: str = "clean") -> None:
    """Keep the machines' state under a name, or go back to it."""
    with _told():
        _machines().snapshot(action, name)


@task(help={"close": "take the forwarded ports back", "machine": _MACHINE})
def ports(_c: Context, close: bool = False, machine: str = "") -> None:
    """Make the ports that containers publish in a machine reachable on this one."""
    with _told():
        machine_verbs.ports(_machines().chosen(machine), close=close)


@task(
    help={
        "select": "run only the tests that match (pytest -k)",
        "workers": "how many tests at once (a number, or auto)",
        "unit_only": "leave out the integration tests, which need root on Linux",
        "machine": "run the integration tests on the machines that `up` made",
        "machines": "share them out over that many machines",
        "last_failed": "run only what failed the last time",
        "trees": "files and directories of integration tests, separated by commas",
        "coverage": "count the toolkit's lines that run, on machines too, and tell them",
    }
)
def test(
    c: Context,
    select: str = "",
    workers: str = "auto",
    unit_only: bool = False,
    machine: bool = False,
    machines: int = 0,
    last_failed: bool = False,
    trees: str = "",
    coverage: bool = False,
) -> None:
    """Run the unit tests, then the integration tests on this kernel or on a machine's."""
    selection = suites.Selection(
        select=select, workers=workers, last_failed=last_failed, trees=suites.words(trees)
    )
    fine = _DONE | {suites.NONE_SELECTED} if selection.is_narrow else _DONE
    on_machines = machine or bool(machines)
    # trees that are named are all that is wanted
    commands = suites.test_commands(selection, unit_only=unit_only or on_machines)
    with _counted(c) if coverage else nullcontext():
        _run_each(c, [measured(words) if coverage else words for words in commands], fine=fine)
        if on_machines and not unit_only:
            with _told():
                there = _machines(count=machines).there()
                code = machine_verbs.test(there, selection, coverage=coverage, count=machines)
            if code:
                raise Exit(code=code)


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
        "fixtures": "instead: 100 tests that need a container, beside testcontainers on dockerd",
        "quick": "few rounds, to see that it works",
        "network": "what containers get: none, bridge, or port (a bridge and a published port)",
    }
)
def bench(
    c: Context,
    rounds: int = 15,
    peers: str = "",
    quick: bool = False,
    network: str = "none",
    fixtures: bool = False,
) -> None:
    """Measure start to exit of a container beside the other runtimes installed here."""
    _run_each(
        c,
        suites.bench_commands(
            rounds=rounds, peers=peers, quick=quick, network=network, fixtures=fixtures
        ),
    )
