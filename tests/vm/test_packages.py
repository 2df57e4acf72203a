# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import MachineError
from toolkit.vm.doctor import Feature
from toolkit.vm.packages import install, missing_packages


def feature(name: str, package: str = "", *, is_present: bool = False) -> Feature:
    return Feature(name=name, is_present=is_present, package=package)


def test_each_package_is_wanted_once_and_only_for_what_is_missing() -> None:
    features = [
        feature("a", "lxc"),
        feature("b", "iptables", is_present=True),
        feature("c"),
        feature("d", "lxc"),
    ]
    assert missing_packages(features) == ["lxc"]


def test_install_says_what_it_installs_before_the_script_runs() -> None:
    happened: list[str] = []

    def run(argv: list[str], *, environ: dict[str, str], **_: object) -> str:
        assert Path(argv[1]).is_file()
        assert environ == {"TOOLKIT_PROVISION": "here"}
        happened.append(" ".join([argv[0], Path(argv[1]).name, *argv[2:]]))
        return ""

    install(["lxc", "iptables"], say=happened.append, run=run)
    assert happened == [
        "installing system packages: lxc iptables",
        "sh packages.sh lxc iptables",
    ]


def test_install_of_nothing_runs_nothing() -> None:
    def run(*_: object, **__: object) -> str:
        raise AssertionError

    install([], say=lambda _: None, run=run)


def test_a_failing_apt_is_reported_with_what_to_install_by_hand() -> None:
    def run(*_: object, **__: object) -> str:
        raise MachineError("apt-get: no such program on this machine")

    with pytest.raises(MachineError, match=r"no such program(.|\n)*by hand: lxc"):
        install(["lxc"], say=lambda _: None, run=run)
