# SPDX-License-Identifier: Apache-2.0
"""Who runs the machines: chosen by the person, or by what is installed, with the reason.

Owns the order of preference and how each provider is recognised.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from toolkit.errors import MachineError
from toolkit.vm import commands

if TYPE_CHECKING:
    from collections.abc import Callable


class VagrantMissingError(MachineError):
    """Vagrant is not installed."""

    hint = (
        "macOS: brew install --cask vagrant; Debian and Ubuntu: apt-get install vagrant "
        "vagrant-libvirt. As root on Linux no machine is needed: invoke up --here"
    )


class ProviderMissingError(MachineError):
    """Nothing that could run a machine is installed."""

    hint = "Install one of them, or name what you have: invoke up --provider NAME"


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One of Vagrant's providers, and how it is recognised.

    Attributes:
        name: Vagrant's word.
        program: A program that is there when it is installed.
        plugin: Vagrant's plugin that it needs; empty if Vagrant has it.
        remedy: How to get it.
    """

    name: str
    program: str
    plugin: str = ""
    remedy: str = ""


# the first that is there is taken: those that start quickest first
PROVIDERS: Final = (
    Provider(
        name="libvirt",
        program="virsh",
        plugin="vagrant-libvirt",
        remedy="Linux: apt-get install vagrant-libvirt libvirt-daemon-system qemu-system-x86",
    ),
    Provider(
        name="parallels",
        program="prlctl",
        plugin="vagrant-parallels",
        remedy="macOS: Parallels Desktop Pro and vagrant plugin install vagrant-parallels",
    ),
    Provider(
        name="vmware_desktop",
        program="vmrun",
        plugin="vagrant-vmware-desktop",
        remedy="VMware Fusion and vagrant plugin install vagrant-vmware-desktop",
    ),
    Provider(name="virtualbox", program="VBoxManage", remedy="VirtualBox (7.1 on Apple silicon)"),
    Provider(
        name="qemu",
        program="qemu-img",
        plugin="vagrant-qemu",
        remedy="macOS: brew install qemu and vagrant plugin install vagrant-qemu",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Who runs the machines, and why."""

    provider: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What is installed here; a test answers itself."""

    which: Callable[[str], str | None] = shutil.which
    run: Callable[..., str] = commands.run

    def plugins(self) -> frozenset[str]:
        """Return the names of Vagrant's plugins."""
        listed = self.run(["vagrant", "plugin", "list", "--machine-readable"])
        rows = (line.split(",") for line in listed.splitlines())
        return frozenset(row[3] for row in rows if len(row) > 3 and row[2] == "plugin-name")  # noqa: PLR2004 - a row's columns


def choose(wanted: str, *, reason: str = "asked for", installed: Installed | None = None) -> Choice:
    """Return who runs the machines.

    Args:
        wanted: A provider's name; empty: the first that is installed.
        reason: Why that name, as a person is told.
        installed: What there is; this machine's, if not given.

    Raises:
        VagrantMissingError: There is no Vagrant.
        ProviderMissingError: No provider is installed, or the name is unknown.
    """
    here = installed or Installed()
    if here.which("vagrant") is None:
        raise VagrantMissingError("vagrant is not installed")
    if wanted:
        if wanted not in {provider.name for provider in PROVIDERS}:
            known = ", ".join(provider.name for provider in PROVIDERS)
            raise ProviderMissingError(f"provider {wanted!r}: choose one of {known}")
        return Choice(provider=wanted, reason=reason)
    plugins = here.plugins()
    for provider in PROVIDERS:
        if here.which(provider.program) and (not provider.plugin or provider.plugin in plugins):
            return Choice(provider=provider.name, reason=f"{provider.program} is installed")
    lines = (f"  {provider.name}: {provider.remedy}" for provider in PROVIDERS)
    raise ProviderMissingError("\n".join(["no provider of machines is installed:", *lines]))
