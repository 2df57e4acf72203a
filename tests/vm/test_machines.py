# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.errors import MachineError
from toolkit.vm import machines as machines_module
from toolkit.vm.login import Login
from toolkit.vm.machines import Machines, NoMachineError
from toolkit.vm.provider import Choice
from toolkit.vm.settings import MachineSettings, Places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

CONFIG = "Host machine1\n  HostName 192.0.2.7\n"


@dataclass
class FakeWorld:
    """Vagrant, OpenSSH, rsync and what Fabric would do, for one machine.

    Attributes:
        state: Of the machine, in Vagrant's words.
        provisioned: What the machine has in the file that says so.
        wants_restart: What provisioning asks for.
        did: Each act, in order.
    """

    state: str = "not_created"
    is_connected: bool = False
    provisioned: str = ""
    wants_restart: bool = False
    changed: str = "<f+++++++++ toolkit/errors.py\n"
    did: list[str] = field(default_factory=list)

    def run(self, argv: Sequence[str], **_: Any) -> str:
        words = list(argv)
        if words[:2] == ["vagrant", "status"]:
            return f"1,machine1,state,{self.state}\n"
        if words[:2] == ["vagrant", "ssh-config"]:
            return CONFIG
        if words[0] == "rsync":
            self.did.append("sync")
            return self.changed
        if words[0] == "ssh" and "-M" in words:
            self.is_connected = True
        if words[0] == "ssh" and "forward" in words:
            self.did.append("forward")
        return ""

    def do(self, *arguments: str) -> None:
        self.did.append(" ".join(("vagrant", *arguments)))
        if arguments[0] in {"up", "reload"}:
            self.state = "running"
        if arguments[0] == "destroy":
            self.state = "not_created"

    def ask(self, command: str, *, as_root: bool = False) -> str:
        if command.startswith("cat "):
            return self.provisioned
        if command.startswith("echo "):
            self.provisioned = command.split()[1]
        if command.startswith("test -e"):
            return "yes" if self.wants_restart else ""
        if "systemctl restart" in command:
            assert as_root
            self.did.append("restart engine")
        return ""

    def provision(self, command: str, *, environ: Mapping[str, str], **_: Any) -> None:
        assert command.endswith("all.sh")
        self.did.append(f"provision {environ['TOOLKIT_CGROUPS']}".strip())


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def machines(
    tmp_path: Path, world: FakeWorld, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> Machines:
    @dataclass
    class FakeRemote:
        ask: Callable[..., str] = world.ask
        do: Callable[..., None] = world.provision

        def set_clock(self) -> None:
            world.did.append("clock")

    @contextmanager
    def on(_login: Login) -> Iterator[FakeRemote]:
        yield FakeRemote()

    monkeypatch.setattr("toolkit.vm.machines.Remote.on", on)
    monkeypatch.setattr("toolkit.vm.machines.Vagrant.do", lambda _, *words: world.do(*words))
    monkeypatch.setattr(Login, "is_open", property(lambda _: world.is_connected))
    monkeypatch.setattr(Machines, "greet", lambda _: world.did.append("greet"))
    monkeypatch.setattr(
        machines_module, "choose", lambda name: Choice(provider=name or "virtualbox", reason="test")
    )
    places = Places(state_dir=tmp_path / "s", cache_dir=tmp_path / "c", runtime_dir=tmp_path / "r")
    settings = MachineSettings(instance_name="tku", provider="virtualbox", places=places)
    return Machines(settings=settings, say=said.append, run=world.run)


def again(machines: Machines) -> Machines:
    """Return the machines as the next command sees them."""
    found = Machines.of(machines.settings, say=machines.say)
    return replace(found, run=machines.run)


def test_up_makes_starts_brings_provisions_and_forwards(
    machines: Machines, world: FakeWorld
) -> None:
    machines.up()
    assert world.did == [
        "vagrant up --no-provision machine1 --provider=virtualbox",
        "clock",
        "sync",
        "provision",
        "forward",
        "greet",
    ]


def test_a_second_up_neither_starts_nor_provisions(machines: Machines, world: FakeWorld) -> None:
    machines.up()
    world.did.clear()
    world.changed = ""
    again(machines).up()
    assert world.did == ["clock", "sync", "forward", "greet"]


def test_an_engine_whose_code_changed_is_started_again(
    machines: Machines, world: FakeWorld
) -> None:
    machines.up()
    world.did.clear()
    again(machines).up()
    assert "restart engine" in world.did


def test_a_halted_machine_is_started_without_being_told_its_provider(
    machines: Machines, world: FakeWorld
) -> None:
    machines.up()
    world.did.clear()
    world.state, world.is_connected = "poweroff", False
    again(machines).up()
    assert world.did[0] == "vagrant up --no-provision machine1"


def test_provisioning_that_needs_a_restart_gets_one(machines: Machines, world: FakeWorld) -> None:
    world.wants_restart = True
    v1 = replace(machines, settings=replace(machines.settings, cgroups="v1"))
    v1.up()
    assert world.did[3:5] == ["provision v1", "vagrant reload --no-provision machine1"]


def test_another_flavour_later_is_refused_with_the_remedy(machines: Machines) -> None:
    machines.up()
    with pytest.raises(MachineError, match="invoke destroy"):
        Machines.of(replace(machines.settings, cgroups="v1"))


def test_halt_puts_to_sleep_or_switches_off(machines: Machines, world: FakeWorld) -> None:
    machines.up()
    again(machines).halt(off=False)
    again(machines).halt(off=True)
    assert world.did[-2:] == ["vagrant suspend", "vagrant halt"]


def test_destroy_forgets_the_machines(machines: Machines, world: FakeWorld) -> None:
    machines.up()
    again(machines).destroy(boxes=False)
    assert world.did[-1] == "vagrant destroy --force"
    assert not again(machines).exist
    assert not machines.settings.places.state_dir.exists()
    assert not machines.settings.places.runtime_dir.exists()


@pytest.mark.parametrize("has_neighbour", [False, True])
def test_the_box_goes_too_unless_machines_of_another_instance_need_it(
    machines: Machines, said: list[str], *, has_neighbour: bool
) -> None:
    machines.up()
    places = machines.settings.places
    for directory in (places.cache_dir, places.state_dir / "disks"):
        directory.mkdir()
    if has_neighbour:
        (places.state_dir / "machines" / "tkv").mkdir()
    again(machines).destroy(boxes=True)
    assert places.cache_dir.exists() is has_neighbour
    assert (places.state_dir / "disks").exists() is has_neighbour
    assert ("the box stays: machines of instance tkv need it" in said) is has_neighbour


def test_destroy_without_machines_asks_nothing_of_vagrant(
    machines: Machines, world: FakeWorld
) -> None:
    machines.destroy(boxes=False)
    assert world.did == []


def test_what_needs_a_machine_says_how_to_get_one(machines: Machines) -> None:
    with pytest.raises(NoMachineError) as raised:
        machines.halt(off=False)
    assert "invoke up" in raised.value.hint


def test_more_machines_than_were_made_are_refused_with_the_remedy(machines: Machines) -> None:
    machines.up()
    three = Machines.of(replace(machines.settings, count=3))
    with pytest.raises(NoMachineError, match="invoke up --machines 3"):
        three.there()


def test_a_later_up_may_ask_for_more(machines: Machines, world: FakeWorld) -> None:
    machines.up()
    world.did.clear()
    three = Machines.of(replace(machines.settings, count=3))
    world.is_connected = False
    replace(three, run=machines.run).up()
    assert world.did[0] == "vagrant up --no-provision machine2 machine3"
    assert again(machines).logins[-1].machine == "machine3"


def test_a_restored_snapshot_gets_the_time_and_its_forward_back(
    machines: Machines, world: FakeWorld
) -> None:
    machines.up()
    world.did.clear()
    again(machines).snapshot("restore", "clean")
    assert world.did == [
        "vagrant snapshot restore --no-provision machine1 clean",
        "clock",
        "forward",
    ]


def test_an_unknown_act_on_snapshots_is_refused(machines: Machines) -> None:
    machines.up()
    with pytest.raises(MachineError, match="choose save, restore"):
        again(machines).snapshot("burn", "clean")


def test_a_machine_is_chosen_by_name_or_is_the_first(machines: Machines) -> None:
    machines.up()
    known = again(machines)
    assert known.chosen("").machine == "machine1"
    with pytest.raises(NoMachineError, match="machine9"):
        known.chosen("machine9")


def test_status_tells_the_state_and_that_no_engine_is_reached(
    machines: Machines, said: list[str]
) -> None:
    assert machines.status() is False
    machines.up()
    said.clear()
    assert again(machines).status() is False
    assert "machine1: running, its engine is not reached (invoke up)" in said
