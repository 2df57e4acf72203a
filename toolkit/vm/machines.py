# SPDX-License-Identifier: Apache-2.0
"""A set of Vagrant machines with an engine in each: brought up, kept, taken away.

Owns the order of the steps and what a person is told. Vagrant makes the machines,
OpenSSH holds the way in, Fabric runs what has to be run inside.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, Self

from toolkit.client import Client
from toolkit.errors import EngineUnreachableError, MachineError
from toolkit.vm import box as local_box
from toolkit.vm import commands
from toolkit.vm.first_container import FirstContainer
from toolkit.vm.libvirt_daemon import LibvirtDaemon
from toolkit.vm.login import Login
from toolkit.vm.memory import Memory
from toolkit.vm.provider import choose
from toolkit.vm.remote import TREE, Remote
from toolkit.vm.tree import Tree, touches_engine
from toolkit.vm.vagrant import Vagrant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from toolkit.vm.settings import MachineSettings

_PROVISIONED: Final = "/var/lib/toolkit-provisioned"
_RESTART_NEEDED: Final = "/run/toolkit-restart-needed"
RUNNING: Final = "running"
NOT_CREATED: Final = "not_created"


class NoMachineError(MachineError):
    """There is no machine to do that with."""

    hint = "invoke up --provider NAME makes one; invoke status tells what there is"


@dataclass(frozen=True, kw_only=True)
class Machines:
    """One set of machines.

    Attributes:
        memory: What they were made with; None before the first `up`.
        say: Takes each line for the person.
    """

    settings: MachineSettings
    memory: Memory | None = None
    say: Callable[[str], None] = print
    run: Callable[..., str] = commands.run

    @classmethod
    def of(cls, settings: MachineSettings, *, say: Callable[[str], None] = print) -> Self:
        """Return the machines of an instance, there or not.

        Raises:
            MachineError: What is asked for contradicts what they are.
        """
        memory = Memory.read(settings.state_dir)
        if memory is not None:
            settings = memory.applied_to(settings)
        return cls(settings=settings, memory=memory, say=say)

    @property
    def exist(self) -> bool:
        """Whether there ever was an `up`, and no `destroy` since."""
        return self.memory is not None

    @property
    def logins(self) -> list[Login]:
        """The ways in, in the order of the machines."""
        directory = self.settings.runtime_dir
        return [
            Login(machine=name, directory=directory, run=self.run)
            for name in self.settings.machine_names
        ]

    @cached_property
    def vagrant(self) -> Vagrant:
        """Vagrant's command."""
        environ = self.memory.box_environ if self.memory else {}
        return Vagrant(settings=self.settings, box_environ=environ, say=self.say, run=self.run)

    @cached_property
    def libvirt(self) -> LibvirtDaemon:
        """The libvirt of this machine."""
        directory = self.settings.places.runtime_dir / "libvirt"
        return LibvirtDaemon(directory=directory, say=self.say, run=self.run)

    def up(self) -> None:
        """Make the machines if they are not there, start them, and forward their engines.

        Raises:
            MachineError: A step failed; what was made stays, and `up` goes on from there.
        """
        began = time.monotonic()
        decided = self.decided()
        decided.start()
        for login in decided.logins:
            decided.make_ready(login)
        decided.greet()
        self.say(f"up in {time.monotonic() - began:.1f} s")

    def decided(self) -> Machines:
        """Return these machines with everything decided and remembered, and say why."""
        if self.memory is not None:
            memory = replace(self.memory, count=self.settings.count)
        else:
            choice = choose(self.settings.provider)
            self.say(f"provider {choice.provider}: {choice.reason}")
            settings = replace(self.settings, provider=choice.provider)
            memory = Memory.of(settings, self._box_environ(choice.provider))
        memory.write(self.settings.state_dir)
        return replace(self, settings=memory.applied_to(self.settings), memory=memory)

    def _box_environ(self, provider: str) -> dict[str, str]:
        """Choose the box, and say why."""
        if self.settings.box:
            self.say(f"box {self.settings.box}: asked for by TOOLKIT_BOX")
            names = ("TOOLKIT_BOX", "TOOLKIT_BOX_URL", "TOOLKIT_BOX_VERSION")
            return {name: os.environ[name] for name in names if name in os.environ}
        box = local_box.Box(settings=self.settings, machine=platform.machine(), say=self.say)
        if provider != "libvirt" or not box.directory.parent.is_dir():
            self.say("box: the published Ubuntu (invoke box builds a Debian for libvirt instead)")
            return {}
        self.say(f"box {local_box.BOX_NAME}: built here")
        return {
            "TOOLKIT_BOX": local_box.BOX_NAME,
            "TOOLKIT_BOX_URL": box.build().as_uri(),
            "TOOLKIT_BOX_VERSION": box.version,
        }

    def start(self) -> None:
        """Have every machine running, and a way into each."""
        self._need_libvirt()
        if all(login.is_open for login in self.logins):
            return  # each answers on the connection of the last `up`
        states = self.vagrant.states()
        if down := [name for name in self.settings.machine_names if states.get(name) != RUNNING]:
            self.say(f"starting {' '.join(down)}")
            arguments = ["up", "--no-provision", *down]
            if all(states.get(name) == NOT_CREATED for name in down):
                arguments.append(f"--provider={self.settings.provider}")
            self.vagrant.do(*arguments)
        for login in self.logins:
            login.write(self.vagrant.ssh_config(login.machine))
            login.open()

    def make_ready(self, login: Login) -> None:
        """Bring a machine its tree, provision it if that is due, and forward its engine."""
        with Remote.on(login) as remote:
            remote.set_clock()
            remote.ask(f"mkdir -p {TREE}", as_root=True)
        self.refresh(login)
        login.open()
        login.forward_engine()

    def refresh(self, login: Login) -> None:
        """Bring a machine its tree, and do what follows from what changed."""
        changed = self.sync(login)
        with Remote.on(login) as remote:
            if self.needs_provisioning(remote):
                self.provision(login, remote)
            elif touches_engine(changed):
                self.say(f"{login.machine}: starting the engine again: its code has changed")
                remote.ask("systemctl restart toolkit-engine", as_root=True)

    def sync(self, login: Login) -> list[str]:
        """Make a machine's tree equal to ours; return the files that changed."""
        changed = Tree(repository=self.settings.repository, run=self.run).bring_to(login)
        if changed:
            self.say(f"{login.machine}: {len(changed)} files brought to {TREE}")
        return changed

    def _provision_key(self) -> str:
        tree = Tree(repository=self.settings.repository)
        return tree.provision_key(cgroups=self.settings.cgroups)

    def needs_provisioning(self, remote: Remote) -> bool:
        """Tell whether the scripts have changed since they ran in a machine."""
        done = remote.ask(f"cat {_PROVISIONED} 2>/dev/null || true")
        return done != self._provision_key()

    def provision(self, login: Login, remote: Remote) -> None:
        """Run the scripts in a machine; start it again where they ask for that."""
        self.say(f"{login.machine}: provisioning")
        environ = {"TOOLKIT_CGROUPS": self.settings.cgroups, "TOOLKIT_PROVISION": "machine"}
        script = f"sh {TREE}/vagrant/provision/all.sh"
        remote.do(script, environ=environ, say=self.say)
        remote.ask(f"echo {self._provision_key()} >{_PROVISIONED}", as_root=True)
        if remote.ask(f"test -e {_RESTART_NEEDED} && echo yes || true") == "yes":
            self.say(f"{login.machine}: starting again: its kernel has other options now")
            login.close()
            self.vagrant.do("reload", "--no-provision", login.machine)
            login.write(self.vagrant.ssh_config(login.machine))

    def greet(self) -> None:
        """Prove that each engine answers, and say how to reach it."""
        for login in self.logins:
            with Client(f"unix://{login.socket_path}") as client:
                first = FirstContainer(client)
                kernel = first.run("busybox", ["uname", "-r"])
                self.say(f"{login.machine}: engine {first.version()} on kernel {kernel}")
        for login in reversed(self.logins):
            for line in login.exports:
                self.say(line)
        self.say("next: invoke test --machine")

    def there(self) -> Machines:
        """Return the machines that were made, if there are any.

        Raises:
            NoMachineError: There are none, or fewer than are asked for.
        """
        made = self.memory.count if self.memory else 0
        if not made:
            raise NoMachineError(f"instance {self.settings.instance_name} has no machine")
        if made < self.settings.count:
            wanted = f"{self.settings.count} machines are asked for, {made} made"
            raise NoMachineError(f"{wanted}: invoke up --machines {self.settings.count}")
        return self

    def halt(self, *, off: bool) -> None:
        """Put the machines to sleep on the disk, or switch them *off*."""
        self.there()
        for login in self.logins:
            login.close()
        self._need_libvirt()
        self.vagrant.do("halt" if off else "suspend")

    def destroy(self, *, boxes: bool) -> None:
        """Remove the machines and what is remembered of them; with *boxes* the box too."""
        if self.exist:
            for login in self.logins:
                login.close()
            self._need_libvirt()
            self.vagrant.do("destroy", "--force")
        self.libvirt.release(self.settings.instance_name)
        directories = [self.settings.state_dir, self.settings.runtime_dir]
        if boxes:
            directories += self._box_directories()
        for directory in directories:
            if directory.is_dir():
                shutil.rmtree(directory)
                self.say(f"removed {directory}")
        places = self.settings.places
        for parent in (self.settings.state_dir.parent, places.state_dir, places.runtime_dir):
            with suppress(OSError):  # something is in it that stays
                parent.rmdir()

    def _box_directories(self) -> list[Path]:
        """Return where boxes and disks are, unless machines of another instance need them."""
        places = self.settings.places
        instances = sorted(path.name for path in places.state_dir.glob("machines/*"))
        if others := [name for name in instances if name != self.settings.instance_name]:
            self.say(f"the box stays: machines of instance {' '.join(others)} need it")
            return []
        return [places.cache_dir, *(places.state_dir / name for name in ("vagrant-home", "disks"))]

    def _need_libvirt(self) -> None:
        if self.settings.provider == "libvirt":
            disks = self.settings.places.state_dir / "disks"
            self.libvirt.ensure(self.settings.instance_name, pool_dir=disks)

    def snapshot(self, action: str, name: str) -> None:
        """Save, restore, delete or list snapshots of every machine.

        Raises:
            MachineError: There is no such action, or it failed.
        """
        self.there()
        self._need_libvirt()
        if action == "list":
            self.vagrant.do("snapshot", "list")
            return
        if action not in {"save", "restore", "delete"}:
            raise MachineError(f"snapshot {action}: choose save, restore, delete or list")
        options = {"save": ["--force"], "restore": ["--no-provision"], "delete": []}[action]
        for login in self.logins:
            login.close()
            self.vagrant.do("snapshot", action, *options, login.machine, name)
            if action == "restore":
                self._wake(login)

    def _wake(self, login: Login) -> None:
        login.write(self.vagrant.ssh_config(login.machine))
        login.open()
        with Remote.on(login) as remote:
            remote.set_clock()
        login.forward_engine()

    def states(self) -> Mapping[str, str]:
        """Return each machine's state in the provider's words."""
        self.there()
        self._need_libvirt()
        return self.vagrant.states()

    def status(self) -> bool:
        """Tell what there is; return whether every engine answers."""
        if not self.exist:
            self.say(f"machines of instance {self.settings.instance_name}: none")
            return False
        states = self.states()
        self.say(f"provider {self.settings.provider}, memory {self.settings.state_dir}")
        answers = [self._tell(login, states) for login in self.logins]
        return all(answers)

    def _tell(self, login: Login, states: Mapping[str, str]) -> bool:
        state = states.get(login.machine, NOT_CREATED)
        try:
            with Client(f"unix://{login.socket_path}") as client:
                first = FirstContainer(client)
                engine = f"engine {first.version()}, containers {first.count_running()} running"
        except EngineUnreachableError:
            self.say(f"{login.machine}: {state}, its engine is not reached (invoke up)")
            return False
        self.say(f"{login.machine}: {state}, {engine}, socket {login.socket_path}")
        return True

    def chosen(self, machine: str) -> Login:
        """Return one machine's way in; the first's for an empty name.

        Raises:
            NoMachineError: There is none of that name.
        """
        for login in self.there().logins:
            if machine in {"", login.machine}:
                return login
        raise NoMachineError(f"no machine {machine!r}: {' '.join(self.settings.machine_names)}")
