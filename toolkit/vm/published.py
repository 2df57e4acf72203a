# SPDX-License-Identifier: Apache-2.0
"""Ports that containers in a machine publish, reached on this side's loopback.

Owns which port becomes which. The engine says what is published; OpenSSH carries it.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from toolkit.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from toolkit.vm.login import Login

_LOOPBACK: Final = "127.0.0.1"
_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - what an engine answers
_LOWEST: Final = 1024  # below, only root may listen


@dataclass(frozen=True, kw_only=True, order=True)
class PublishedPort:
    """One port that a container publishes in its machine.

    Attributes:
        host: Address at which it is reached there, in brackets if it is of IPv6.
    """

    container: str
    port: int
    container_port: int
    protocol: str = "tcp"
    host: str = _LOOPBACK

    @property
    def target(self) -> str:
        """Address and port, as OpenSSH wants them."""
        return f"{self.host}:{self.port}"


def published_ports(containers: Iterable[dict[str, Any]]) -> list[PublishedPort]:
    """Return what the engine's list of containers says, each once."""
    found = {
        PublishedPort(
            container=document["Names"][0].lstrip("/"),
            port=entry["PublicPort"],
            container_port=entry["PrivatePort"],
            protocol=entry.get("Type", "tcp"),
            host=_reached_at(entry.get("IP", "")),
        )
        for document in containers
        for entry in document.get("Ports") or ()
        if entry.get("PublicPort")
    }
    return sorted(found)


def _reached_at(address: str) -> str:
    if address in _EVERYWHERE:
        return _LOOPBACK
    return f"[{address}]" if ":" in address else address


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The published ports of one machine, on this side.

    Attributes:
        is_free: Tells whether somebody could listen on a port of the loopback here.
    """

    login: Login
    say: Callable[[str], None] = print
    is_free: Callable[[int], bool]

    @property
    def _record(self) -> Path:
        return self.login.directory / f"{self.login.machine}.ports"

    def forward(self) -> None:
        """Forward what is published now, and take back what no longer is."""
        with Client(f"unix://{self.login.socket_path}") as client:
            wanted = published_ports(client.containers.list())
        if not wanted:
            self.say(f"{self.login.machine}: no container publishes a port")
        self.close()
        forwarded: dict[str, int] = {}
        for published in wanted:
            name = f"{published.container} {published.container_port}/{published.protocol}"
            if published.protocol != "tcp":
                self.say(f"{name}: not reachable from here: SSH carries tcp only")
                continue
            if published.target not in forwarded:
                forwarded[published.target] = self._local(published.port)
                self.login.forward_port(forwarded[published.target], published.target)
                self._record.write_text(json.dumps(forwarded), encoding="utf-8")
            self.say(f"{name} -> {_LOOPBACK}:{forwarded[published.target]}")

    def close(self) -> None:
        """Take every forwarded port back."""
        for remote, local in self._recorded().items():
            self.login.close_port(local, remote)
        self._record.unlink(missing_ok=True)

    def _recorded(self) -> dict[str, int]:
        if not self._record.exists():
            return {}
        return dict(json.loads(self._record.read_text(encoding="utf-8")))

    def _local(self, port: int) -> int:
        """Return the same port if it can be had here, else a free one."""
        if port >= _LOWEST and self.is_free(port):
            return port
        return free_port()


def is_free(port: int) -> bool:
    """Tell whether nobody listens on a port of the loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])
