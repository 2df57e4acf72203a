# SPDX-License-Identifier: Apache-2.0
"""A name server in memory: what it was told, by whom it was told, and its death."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from toolkit.errors import NameServerError
from toolkit.network.dns.table import Asking, NameRecord, NameTable
from toolkit.network.names_server import NameServerState


@dataclass
class FakeNames:
    """A server that survives engines; its process is a child that a test may end.

    Attributes:
        resolvers: Whom each attached container's other questions go to.
        watched: Containers whose program it watches.
        started: How often a server was started.
        refuses: How many of the next calls of attach fail.
    """

    table: NameTable = field(default_factory=NameTable)
    resolvers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    watched: set[str] = field(default_factory=set)
    started: int = 0
    refuses: int = 0
    is_connected: bool = False
    _pid: int = 0

    def is_there(self) -> bool:
        return self._pid > 0

    def open(self) -> bool:
        self.is_connected = True
        if self._pid:
            return False
        self.started += 1
        self._pid = _child()
        self.table, self.resolvers, self.watched = NameTable(), {}, set()
        return True

    def close(self) -> None:
        self.is_connected = False

    def stop(self) -> None:
        self.die()

    def die(self) -> None:
        """End as if by SIGKILL."""
        self.is_connected = False
        pid, self._pid = self._pid, 0
        if pid:
            os.kill(pid, 9)
            os.waitpid(pid, 0)

    def attach(self, container: str, netns_fd: int, asking: Asking) -> None:
        del netns_fd
        self._check()
        if self.refuses:
            self.refuses -= 1
            raise NameServerError("name server: attach: no sockets")
        self._sit(container, asking)

    def seat(self, container: str, asking: Asking) -> None:
        self._check(container)
        self._sit(container, asking)

    def watch(self, container: str, pid: int, ticks: int) -> None:
        del pid, ticks
        self._check(container)
        self.watched.add(container)

    def detach(self, container: str) -> None:
        self._check()
        self.table.unseat(container)
        self.resolvers.pop(container, None)
        self.watched.discard(container)

    def publish(self, network: str, network_name: str, record: NameRecord) -> None:
        self._check()
        self.table.publish(network, network_name, record)

    def withdraw(self, network: str, container: str) -> None:
        self._check()
        self.table.withdraw(network, container)

    def state(self) -> NameServerState:
        self._check()
        published = {net: frozenset(known) for net, known in self.table.published().items()}
        return NameServerState(self._pid, frozenset(self.resolvers), published)

    def ask(self, container: str, name: str) -> list[str]:
        """Return what a container is answered."""
        return [str(address) for address in self.table.lookup(container, name) or ()]

    def _sit(self, container: str, asking: Asking) -> None:
        self.table.seat(container, asking.networks, asking.private_names)
        self.resolvers[container] = tuple(map(str, asking.resolvers))

    def _check(self, container: str = "") -> None:
        if not (self.is_connected and self._pid):
            raise NameServerError("the name server is gone")
        if container and container not in self.resolvers:
            raise NameServerError("this container is not attached")


def _child() -> int:
    """Start a process that waits to be ended."""
    return os.posix_spawn("/bin/sleep", ["sleep", "600"], {})
