# SPDX-License-Identifier: Apache-2.0
"""The containers of one process: those of a test, and those that a run shares."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from toolkit.testing.container import Container
from toolkit.testing.leases import Lease
from toolkit.testing.spec import specification_hash

if TYPE_CHECKING:
    from typing import Unpack

    from toolkit.testing.engine import ContainerEngine
    from toolkit.testing.spec import Command, RunOptions


class OwnContainers:
    """Starts containers for one test; what the fixture `run_container` gives.

    Attributes:
        started: In their order, with those that did not become ready.
        kept: Those that outlive the test for a person to look into.
        resources: Removes networks and volumes, once the containers have gone.
    """

    def __init__(self, engine: ContainerEngine, labels: dict[str, str]) -> None:
        self._engine = engine
        self._labels = labels
        self._reused: set[str] = set()
        self.started: list[Container] = []
        self.kept: list[Container] = []
        self.resources = ExitStack()

    def __call__(
        self, image: str, command: Command | None = None, **options: Unpack[RunOptions]
    ) -> Container:
        """Start a container, wait until it is ready, and return it."""
        labels = {**self._labels, **self._engine.labels}
        container = self._engine.start(image, command, options, labels=labels)
        self.started.append(container)
        if options.get("reuse"):
            self._reused.add(container.id)
        self._engine.wait_for(container, options)
        return container

    def keep(self) -> list[Container]:
        """Keep all of them for a person; return them."""
        for container in self.started:
            if container not in self.kept and container.id not in self._reused:
                self._engine.keep(container)
                self.kept.append(container)
        return self.kept

    def close(self) -> None:
        """Remove those that are neither kept nor there to be used again, newest first.

        With a kept one, the test's networks and volumes stay, too.
        """
        if self.kept:
            self.resources.pop_all()
        with ExitStack() as undo:  # the first that fails keeps none of the others
            undo.callback(self.resources.close)
            for container in self.started:
                if container not in self.kept and container.id not in self._reused:
                    undo.callback(container.remove)
        self.started.clear()


class SharedContainers:
    """Starts containers once for all processes of a run; what `shared_container` gives.

    Attributes:
        held: Those that this process has asked for.
    """

    def __init__(self, engine: ContainerEngine) -> None:
        self._engine = engine
        self._leases: dict[str, tuple[Lease, Container]] = {}

    @property
    def held(self) -> list[Container]:
        """The containers that this process holds."""
        return [container for _, container in self._leases.values()]

    def __call__(
        self, image: str, command: Command | None = None, **options: Unpack[RunOptions]
    ) -> Container:
        """Return the run's container of that specification; start it if we are the first."""
        engine = self._engine
        body = engine.body(image, command, options, {})
        key = specification_hash(image, {**body, "name": options.get("name", "")}, {})
        if key in self._leases:
            return self._leases[key][1]
        lease = Lease.join(engine, f"container {key}")

        def make() -> list[str]:
            container = engine.start(image, command, options, labels=lease.labels)
            engine.wait_for(container, options)
            return [container.id, container.name]

        try:
            container_id, name = lease.value(make)
        except BaseException:
            lease.close()
            raise
        container = Container(engine, container_id, name=name, image=image)
        self._leases[key] = (lease, container)
        return container

    def close(self) -> None:
        """Let go of all; with the last process that does, they are removed."""
        with ExitStack() as undo:  # as above
            for lease, container in self._leases.values():
                if not self._engine.is_toolkit:
                    undo.callback(container.remove)
                undo.callback(lease.close)
        self._leases.clear()
