# SPDX-License-Identifier: Apache-2.0
"""What a person asks of machines that are there, one function a task.

Owns no state: each puts together what other modules own. Fabric is imported where it
is used: it takes 300 ms, and `invoke up` on this machine needs none of it.
"""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Final

from toolkit.vm import commands, published, suites
from toolkit.vm.box import Box

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from toolkit.vm.login import Login
    from toolkit.vm.machines import Machines
    from toolkit.vm.settings import MachineSettings

_UNIT: Final = "toolkit-engine"


def build_box(settings: MachineSettings) -> Path:
    """Build the local box, unless it is there; return its catalogue."""
    return Box(settings=settings, machine=platform.machine()).build()


def ssh(login: Login, command: str) -> int:
    """Log in on this terminal, or run a command; return the exit code."""
    return commands.watch([*login.argv(), command] if command else login.argv("-t"))


def sync(machines: Machines) -> None:
    """Bring the checkout to every machine."""
    for login in machines.logins:
        login.open()
        machines.refresh(login)


def provision(machines: Machines, machine: str) -> None:
    """Run the scripts in one machine, whether that is due or not."""
    from toolkit.vm.remote import Remote  # noqa: PLC0415 - see the module's docstring

    login = machines.chosen(machine)
    with Remote.on(login) as remote:
        machines.sync(login)
        machines.provision(login, remote)


def logs(login: Login, *, lines: int, follow: bool) -> None:
    """Show the engine's log."""
    command = f"sudo journalctl --unit={_UNIT} --no-pager --lines={lines}"
    ssh(login, f"{command} --follow" if follow else command)


def ports(login: Login, *, close: bool) -> None:
    """Forward the published ports, or take them back."""
    forwards = published.Ports(login=login, is_free=published.is_free)
    if close:
        forwards.close()
    else:
        forwards.forward()


def test(machines: Machines, selection: suites.Selection, *, coverage: bool, count: int) -> int:
    """Look at machines from outside, then run the suite inside; return the exit code.

    Args:
        machines: Those that were made.
        selection: Which tests.
        coverage: Whether the toolkit's lines that run are counted.
        count: How many machines share the suite; 0 for all.
    """
    from toolkit.vm import machine_suite  # noqa: PLC0415 - see the module's docstring

    sync(machines)
    logins = machines.logins[: count or None]
    code = 0 if selection.trees else _look_at(machines, logins, selection)
    suite = machine_suite.MachineSuite(
        repository=machines.settings.repository,
        selection=selection,
        coverage=coverage,
        prefix=os.environ.get(machine_suite.PREFIX, "tkt"),
        slowness=os.environ.get(machine_suite.SLOWNESS, ""),
        say=machines.say,
    )
    return suite.run(logins) or code


def _look_at(machines: Machines, logins: Sequence[Login], selection: suites.Selection) -> int:
    """Look at every machine from outside, whatever became of the first; return the exit code."""
    configs = [(str(login.config_path), login.machine) for login in logins]
    codes = [
        commands.watch(
            [*command, *selection.options()],
            directory=machines.settings.repository,
            environ={"TOOLKIT_CGROUPS": machines.settings.cgroups},
        )
        for command in suites.machine_commands(configs)
    ]
    fine = {0, suites.NONE_SELECTED} if selection.is_narrow else {0}
    return next((code for code in codes if code not in fine), 0)
