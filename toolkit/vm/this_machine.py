# SPDX-License-Identifier: Apache-2.0
"""`up`, `down` and `status` where the engine runs on this very machine.

Owns the order of the steps and what a person is told. The steps themselves are
their own modules'.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from toolkit.bootstrap import bootstrap_image
from toolkit.errors import EngineUnreachableError, MachineError, ToolkitError
from toolkit.vm import doctor, packages
from toolkit.vm.engine_process import EngineProcess
from toolkit.vm.first_container import FirstContainer
from toolkit.vm.leftovers import Leftovers

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolkit.config import Instance

BASE_IMAGE = "busybox"


@dataclass(frozen=True, kw_only=True)
class ThisMachine:
    """A Linux machine on which the engine runs as a process of root's.

    Attributes:
        say: Takes each line for the person.
    """

    instance: Instance
    say: Callable[[str], None] = print
    host: doctor.Host = field(default_factory=doctor.Host.this)

    @property
    def engine(self) -> EngineProcess:
        """The engine's process."""
        return EngineProcess(self.instance)

    def doctor(self, *, repair: bool = False) -> bool:
        """Tell each feature in a line; return whether nothing required is missing.

        With *repair*, the instance's engine also puts links and rules right that others
        have changed.

        Raises:
            EngineUnreachableError: There is no engine to repair anything.
        """
        if repair:
            with FirstContainer.on(self.instance) as first:
                mended = first.repair()
            for line in mended or ["nothing of the network had to be repaired"]:
                self.say(line)
        features = doctor.examine(self.host)
        for feature in features:
            self.say(feature.line())
        return doctor.is_fit(features)

    def up(self, *, install: bool = True) -> None:
        """Make the machine ready, start the engine, run a container, say how to go on.

        Raises:
            MachineError: Something required is missing, or the engine does not start.
        """
        self.prepare(install=install)
        started = self.engine.find() is None
        if started:
            self.engine.start()
        with FirstContainer.on(self.instance) as first:
            self.say(f"engine {first.version()} {'started' if started else 'already runs'}")
            if not first.has_image(BASE_IMAGE):
                self.say(f"making the image {BASE_IMAGE} from this machine's static busybox")
                bootstrap_image(first.client, BASE_IMAGE)
            self.say(f"first container says: {first.run(BASE_IMAGE, ['echo', 'hello'])}")
        self.say(f"socket {self.instance.socket_path}")
        self.say(f"export DOCKER_HOST=unix://{self.instance.socket_path}")
        self.say("next: invoke test")

    def prepare(self, *, install: bool) -> None:
        """Install what is missing and can be installed; refuse a machine that stays unfit."""
        features = doctor.examine(self.host)
        if (missing := packages.missing_packages(features)) and install and self.host.is_root:
            packages.install(missing, say=self.say)
            features = doctor.examine(self.host)
        elif missing:
            self.say(f"not installed: {' '.join(missing)}; apt-get install them")
        if not doctor.is_fit(features):
            lines = (f.line() for f in features if f.is_required and not f.is_present)
            raise MachineError("\n".join(["this machine cannot run containers:", *lines]))

    def down(self, *, keep_data: bool = False) -> None:
        """Stop containers and engine of the instance and remove what they had here.

        Raises:
            MachineError: Not root, or something cannot be removed.
        """
        if not self.host.is_root:
            raise MachineError("down: run as root, as up was")
        self.remove_containers(keep=keep_data)
        stopped = self.engine.stop()
        self.say("engine stopped" if stopped else "no engine ran")
        leftovers = Leftovers(self.instance)
        leftovers.end_processes()
        for path in leftovers.remove(keep_data=keep_data):
            if os.path.commonpath([path, "/sys"]) != "/sys":
                self.say(f"removed {path}")
        self.say("system packages stay installed")

    def remove_containers(self, *, keep: bool) -> None:
        """Have the engine remove its containers, or only stop them to *keep* them."""
        try:
            with FirstContainer.on(self.instance) as first:
                count = first.clear(keep=keep)
            self.say(f"containers {'stopped' if keep else 'removed'}: {count}")
        except EngineUnreachableError:
            self.say("no engine answers; removing what it left")
        except ToolkitError as error:  # an engine that is out of order has to go all the same
            self.say(f"the engine cannot remove its containers ({error}); doing it without it")

    def status(self) -> bool:
        """Tell whether the engine runs, and what; return whether it answers."""
        identity = self.engine.find()
        if identity is None:
            self.say(f"engine of instance {self.instance.name}: does not run (invoke up)")
            return False
        with FirstContainer.on(self.instance) as first:
            version, running, count = first.version(), first.count_running(), first.count()
        self.say(f"engine {version} of instance {self.instance.name}, pid {identity.pid}")
        self.say(f"socket {self.instance.socket_path}")
        self.say(f"containers {running} running, {count} in all")
        self.say(f"data {self.instance.data_dir}, log {self.engine.log_path}")
        return True
