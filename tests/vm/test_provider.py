# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from toolkit.vm.provider import (
    Choice,
    Installed,
    ProviderMissingError,
    VagrantMissingError,
    choose,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

PLUGINS = (
    "1,,ui,info,x\n1,,plugin-name,{name}\n1,{name},plugin-version,1.0%!(VAGRANT_COMMA)global\n"
)


def installed(*programs: str, plugin: str = "") -> Installed:
    def run(_argv: Sequence[str]) -> str:
        return PLUGINS.format(name=plugin) if plugin else ""

    return Installed(which=lambda name: f"/bin/{name}" if name in programs else None, run=run)


def test_without_vagrant_the_remedy_names_it() -> None:
    with pytest.raises(VagrantMissingError) as raised:
        choose("libvirt", installed=installed("virsh"))
    assert "apt-get install vagrant" in raised.value.hint


def test_what_is_asked_for_is_taken_without_a_look() -> None:
    choice = choose("parallels", installed=installed("vagrant"))
    assert choice == Choice(provider="parallels", reason="asked for")


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ProviderMissingError, match="libvirt, parallels"):
        choose("xen", installed=installed("vagrant"))


def test_libvirt_is_taken_only_with_its_plugin() -> None:
    there = ("vagrant", "virsh", "VBoxManage")
    with_plugin = installed(*there, plugin="vagrant-libvirt")
    assert choose("", installed=with_plugin).provider == "libvirt"
    assert choose("", installed=installed(*there)).provider == "virtualbox"


def test_with_nothing_installed_every_remedy_is_told() -> None:
    with pytest.raises(ProviderMissingError) as raised:
        choose("", installed=installed("vagrant"))
    for name in ("libvirt", "parallels", "vmware_desktop", "virtualbox", "qemu"):
        assert f"  {name}: " in str(raised.value)
