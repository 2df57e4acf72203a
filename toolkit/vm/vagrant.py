# SPDX-License-Identifier: Apache-2.0
"""Vagrant's command, with the environment that the Vagrantfile reads.

Owns its command lines, what they answer, and what a person sees of its output. What
is done when is `toolkit.vm.machines`'.
"""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolkit.errors import MachineError
from toolkit.vm import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from toolkit.vm.settings import MachineSettings

_QUESTION_SECONDS: Final = 120.0
_INTERRUPTED_SECONDS: Final = 120.0
_TAIL_LINES: Final = 15
# progress that overwrites itself on a terminal, and colours
_CONTROL: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_DULL: Final = re.compile(r"==> \S+:  -- |Progress: \d|^\s*$")


@dataclass(frozen=True, kw_only=True)
class Vagrant:
    """Vagrant on one set of machines.

    Attributes:
        box_environ: What names the box: TOOLKIT_BOX and its address and version.
        say: Takes each line for the person.
        run: Runs a program and returns what it wrote.
    """

    settings: MachineSettings
    box_environ: Mapping[str, str] = field(default_factory=dict)
    say: Callable[[str], None] = print
    run: Callable[..., str] = commands.run

    def environ(self) -> dict[str, str]:
        """Return what Vagrant's environment has beside ours."""
        settings = self.settings
        chosen = {
            "TOOLKIT_DRIVEN": "1",
            "TOOLKIT_INSTANCE": settings.instance_name,
            "TOOLKIT_MACHINES": str(settings.count),
            "TOOLKIT_MEMORY": str(settings.memory_mib),
            "TOOLKIT_CPUS": str(settings.cpus),
            "TOOLKIT_CGROUPS": settings.cgroups,
            "TOOLKIT_KERNEL_OPTIONS": kernel_options(settings.cgroups, is_emulated=is_emulated()),
            "VAGRANT_CWD": str(settings.repository),
            "VAGRANT_DOTFILE_PATH": str(settings.state_dir / "vagrant"),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_NO_COLOR": "1",
        }
        if settings.provider:
            chosen["VAGRANT_DEFAULT_PROVIDER"] = settings.provider
        if settings.is_system_wide:
            # libvirt's own user has to read the box's kernel: root's home is closed to it
            if "VAGRANT_HOME" not in os.environ:
                chosen["VAGRANT_HOME"] = str(settings.places.state_dir / "vagrant-home")
            chosen["TOOLKIT_POOL_DIR"] = str(settings.places.state_dir / "disks")
        return chosen | dict(self.box_environ)

    def ask(self, *arguments: str, timeout_seconds: float = _QUESTION_SECONDS) -> str:
        """Return what a quick command of Vagrant's answers."""
        argv = ["vagrant", *arguments]
        return self.run(argv, environ=self.environ(), timeout_seconds=timeout_seconds)

    def states(self) -> dict[str, str]:
        """Return each machine's state, in the provider's words (``running``, ``not_created``)."""
        return parse_states(self.ask("status", "--machine-readable"))

    def ssh_config(self, machine: str) -> str:
        """Return OpenSSH's configuration for a machine."""
        return self.ask("ssh-config", machine)

    def do(self, *arguments: str) -> None:
        """Run a command that takes its time, and let the person see how far it is.

        Ctrl-C reaches Vagrant too; it is waited for, so that it can leave in order.

        Raises:
            MachineError: It failed; with its last lines.
        """
        environ = {**os.environ, **self.environ()}
        argv = ["vagrant", *arguments]
        seen: list[str] = []
        with subprocess.Popen(  # noqa: S603 - argv is a list, and no shell reads it
            argv,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            try:
                for line in shown_lines(process.stdout or ()):
                    seen.append(line)
                    self.say(f"  {line}")
            except KeyboardInterrupt:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_INTERRUPTED_SECONDS)
                raise
        if process.returncode:
            tail = "\n".join(seen[-_TAIL_LINES:])
            raise MachineError(f"{' '.join(argv)}: exit code {process.returncode}\n{tail}")


def kernel_options(cgroups: str, *, is_emulated: bool = False) -> str:
    """Return what the local box's kernel is told beside how to start.

    The box has none of AppArmor's profiles, and LXC starts nothing where the kernel
    has AppArmor and not LXC's profile.

    Args:
        cgroups: Flavour of control groups; empty: the box's own.
        is_emulated: The processor is a program: it guesses nothing, so there is nothing to guard.
    """
    flavour = {
        "": "",
        "v1": "systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",
        "v2": "systemd.unified_cgroup_hierarchy=1",
    }[cgroups]
    spared = "mitigations=off no5lvl" if is_emulated else ""
    return " ".join(part for part in (flavour, "apparmor=0", spared) if part)


def is_emulated(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether this Linux machine can only emulate a processor for others.

    The processor is asked: ``/dev/kvm`` may be there and not work.
    """
    try:
        return not re.search(r"\b(vmx|svm)\b", cpuinfo.read_text())
    except OSError:
        return False


def parse_states(text: str) -> dict[str, str]:
    """Read ``vagrant status --machine-readable``: time, machine, kind, value."""
    rows = (line.split(",") for line in text.splitlines())
    return {row[1]: row[3] for row in rows if len(row) > 3 and row[2] == "state"}  # noqa: PLR2004 - a row's columns


def shown_lines(lines: Sequence[str] | Iterator[str]) -> Iterator[str]:
    """Yield what a person wants to see: of progress nothing but that it is over."""
    for line in lines:
        last = _CONTROL.sub("\r", line.rstrip("\n")).rstrip("\r").rpartition("\r")[2]
        if not _DULL.search(last):
            yield last
