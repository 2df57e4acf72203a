# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.fakes.engine_http import Answer, CannedEngine
from toolkit.bootstrap.errors import BusyboxMissingError
from toolkit.config import Instance
from toolkit.errors import EngineUnreachableError, MachineError
from toolkit.vm import doctor
from toolkit.vm.this_machine import ThisMachine

if TYPE_CHECKING:
    from pathlib import Path


def no_busybox() -> Path:
    raise BusyboxMissingError("no static busybox")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def machine(tmp_path: Path, said: list[str]) -> ThisMachine:
    """A machine on which nothing is there, and of which we are not root."""
    host = doctor.Host(
        root=tmp_path,
        release="5.4.0",
        which=lambda _: None,
        has_system_call=lambda _: False,
        has_library=lambda _: False,
        find_busybox=no_busybox,
        succeeds=lambda _: False,
    )
    instance = Instance(name="tku5", run_dir=tmp_path / "run", data_dir=tmp_path / "data")
    return ThisMachine(instance=instance, say=said.append, host=host)


def test_doctor_tells_a_line_for_each_feature(machine: ThisMachine, said: list[str]) -> None:
    assert machine.doctor() is False
    assert [line.split()[0] for line in said[:2]] == ["root", "kernel"]
    assert len(said) == len(doctor.examine(machine.host))


def test_doctor_repairs_only_where_an_engine_runs(machine: ThisMachine) -> None:
    with pytest.raises(EngineUnreachableError):
        machine.doctor(repair=True)


def test_up_on_an_unfit_machine_refuses_and_starts_nothing(machine: ThisMachine) -> None:
    with pytest.raises(MachineError, match=r"cannot run containers:\nroot +MISSING"):
        machine.up()
    assert not machine.instance.run_dir.exists()


def test_up_without_installing_only_tells_what_to_install(
    machine: ThisMachine, said: list[str]
) -> None:
    with pytest.raises(MachineError):
        replace(machine, host=replace(machine.host, is_root=True)).up(install=False)
    packages = "libseccomp2 busybox-static iproute2 iptables lxc"
    assert said == [f"not installed: {packages}; apt-get install them"]


def test_down_needs_root(machine: ThisMachine) -> None:
    with pytest.raises(MachineError, match="run as root"):
        machine.down()


def test_down_without_an_engine_removes_what_is_there(
    machine: ThisMachine, said: list[str]
) -> None:
    machine.instance.run_dir.mkdir()
    replace(machine, host=replace(machine.host, is_root=True)).down()
    assert not machine.instance.run_dir.exists()
    assert "no engine answers; removing what it left" in said


def test_status_of_no_engine_says_how_to_get_one(machine: ThisMachine, said: list[str]) -> None:
    assert machine.status() is False
    assert said == ["engine of instance tku5: does not run (invoke up)"]


def test_down_goes_on_when_the_engine_is_out_of_order(
    machine: ThisMachine, said: list[str]
) -> None:
    machine.instance.run_dir.mkdir()
    broken: dict[str, Answer] = {"GET /containers/json": (500, {"message": "no store"})}
    with CannedEngine(broken).serving(machine.instance.socket_path):
        machine.remove_containers(keep=False)
    assert said == ["the engine cannot remove its containers (no store); doing it without it"]
