# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.errors import MachineError
from toolkit.vm.settings import MachineSettings, Places
from toolkit.vm.vagrant import Vagrant, is_emulated, kernel_options, parse_states, shown_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

STATUS = """\
1,machine1,metadata,provider,libvirt
1,machine1,provider-name,libvirt
1,machine1,state,running
1,machine1,state-human-short,running
1,machine2,state,not_created
1,,ui,info,Current machine states:\\n
"""


@pytest.fixture
def settings(tmp_path: Path) -> MachineSettings:
    places = Places(
        state_dir=tmp_path / "state", cache_dir=tmp_path / "cache", runtime_dir=tmp_path / "run"
    )
    return MachineSettings(instance_name="tku", count=2, cgroups="v1", places=places)


def fake_vagrant(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = directory / "vagrant"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


def test_states_are_read_by_machine() -> None:
    assert parse_states(STATUS) == {"machine1": "running", "machine2": "not_created"}


def test_states_asks_with_the_environment_of_the_vagrantfile(settings: MachineSettings) -> None:
    asked: list[dict[str, str]] = []

    def run(argv: Sequence[str], *, environ: dict[str, str], **_: Any) -> str:
        assert argv == ["vagrant", "status", "--machine-readable"]
        asked.append(environ)
        return STATUS

    vagrant = Vagrant(settings=settings, box_environ={"TOOLKIT_BOX": "b"}, run=run)
    assert vagrant.states()["machine1"] == "running"
    assert asked[0]["TOOLKIT_MACHINES"] == "2"
    assert asked[0]["TOOLKIT_BOX"] == "b"
    assert asked[0]["VAGRANT_DOTFILE_PATH"] == str(settings.state_dir / "vagrant")
    assert "unified_cgroup_hierarchy=0" in asked[0]["TOOLKIT_KERNEL_OPTIONS"]


def test_vagrants_home_is_left_alone_where_things_are_not_roots(settings: MachineSettings) -> None:
    assert "VAGRANT_HOME" not in Vagrant(settings=settings).environ()


def test_roots_vagrant_home_is_not_below_roots_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VAGRANT_HOME", raising=False)
    settings = MachineSettings(places=Places.of({"HOME": "/root"}, is_root=True))
    environ = Vagrant(settings=settings).environ()
    assert Path(environ["VAGRANT_HOME"]).is_relative_to("/var/lib")
    assert Path(environ["TOOLKIT_POOL_DIR"]).is_relative_to("/var/lib")


def test_the_boxs_own_flavour_needs_no_kernel_option() -> None:
    assert kernel_options("") == "apparmor=0"


def test_an_emulated_processor_needs_no_guards() -> None:
    assert kernel_options("v2", is_emulated=True).endswith("=1 apparmor=0 mitigations=off no5lvl")


@pytest.mark.parametrize(
    ("flags", "emulated"), [("fpu vmx sse", False), ("fpu svm", False), ("fpu hypervisor", True)]
)
def test_the_processor_is_asked_whether_it_can_host(
    tmp_path: Path, flags: str, *, emulated: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
    assert is_emulated(tmp_path / "cpuinfo") is emulated


def test_a_system_without_such_a_file_is_not_asked(tmp_path: Path) -> None:
    assert not is_emulated(tmp_path / "none")


def test_do_shows_the_lines_and_leaves_out_progress(
    settings: MachineSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = r"printf '==> m: Starting\n\rProgress: 1%%\r\033[KProgress: 2%%\n==> m:  -- Cpus: 2\n'"
    fake_vagrant(tmp_path, script, monkeypatch)
    said: list[str] = []
    Vagrant(settings=settings, say=said.append).do("up")
    assert said == ["  ==> m: Starting"]


def test_do_that_fails_carries_the_last_lines(
    settings: MachineSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_vagrant(tmp_path, "echo no room; exit 4", monkeypatch)
    with pytest.raises(MachineError, match=r"vagrant up: exit code 4\nno room"):
        Vagrant(settings=settings, say=lambda _: None).do("up")


def test_a_line_that_overwrote_itself_is_shown_as_it_ended() -> None:
    assert list(shown_lines(["a\rb\n", "\x1b[0mc\x1b[0m\n"])) == ["b", "c"]
