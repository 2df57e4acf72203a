# SPDX-License-Identifier: Apache-2.0
"""Testinfra on a container: its modules ask through the engine, no command line in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

if TYPE_CHECKING:
    from toolkit.testing.container import Container


class ContainerHost(Protocol):
    """Binds testinfra to containers: what the fixture `container_host` gives."""

    def __call__(self, container: Container, *, user: str = "") -> Host:
        """Return a container as a testinfra host."""


class ContainerBackend(BaseBackend):  # type: ignore[misc]  # testinfra has no types
    """Runs testinfra's commands in a container."""

    NAME = "toolkit"

    def __init__(self, container: Container, *, user: str = "", **more: Any) -> None:
        super().__init__(hostname=container.name, **more)
        self._container = container
        self._user = user

    def run(self, command: str, *args: str, **_: Any) -> CommandResult:
        """Run a command by the container's shell, as testinfra writes it."""
        line = self.get_command(command, *args)
        done = self._container.exec(["/bin/sh", "-c", line], user=self._user)
        return self.result(
            done.exit_code, self.encode(line), done.stdout.encode(), done.stderr.encode()
        )


def host_of(container: Container, *, user: str = "") -> Host:
    """Return a container as a testinfra host.

    Args:
        container: One that runs and has a shell.
        user: Who the commands run as; the container's own user without.
    """
    return Host(ContainerBackend(container, user=user))
