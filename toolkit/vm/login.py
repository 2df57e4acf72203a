# SPDX-License-Identifier: Apache-2.0
"""One machine's way in: OpenSSH's configuration, one shared connection, and forwards on it.

Owns the control socket and what is forwarded through it. The connection outlives the
command that opened it: that is how a machine's engine stays reachable. Commands in the
machine are Fabric's, see `toolkit.vm.remote`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from toolkit.errors import MachineError
from toolkit.vm import commands

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENGINE_SOCKET: Final = "/run/toolkit/engine.sock"
_CONNECT_SECONDS: Final = 60.0
_LOOPBACK: Final = "127."


@dataclass(frozen=True, kw_only=True)
class Login:
    """How one machine is reached.

    Attributes:
        machine: Its name in the configuration.
        directory: Of the sockets and the configuration; nobody else's (0700).
    """

    machine: str
    directory: Path
    run: Callable[..., str] = commands.run
    succeeds: Callable[..., bool] = commands.succeeds

    @property
    def config_path(self) -> Path:
        """OpenSSH's configuration, which Fabric and testinfra read too."""
        return self.directory / f"{self.machine}.ssh"

    @property
    def control_path(self) -> Path:
        """The shared connection's socket."""
        return self.directory / f"{self.machine}.ctl"

    @property
    def socket_path(self) -> Path:
        """The engine's socket, on this side."""
        return self.directory / f"{self.machine}.sock"

    @property
    def address(self) -> str:
        """Where the machine is reached, as Vagrant says; loopback behind a provider's own NAT."""
        words = self.config_path.read_text(encoding="utf-8").split()
        return words[words.index("HostName") + 1]

    @property
    def exports(self) -> list[str]:
        """What a shell is told whose docker, toolkit and tests are to use this machine."""
        lines = [f"export DOCKER_HOST=unix://{self.socket_path}"]
        if not self.address.startswith(_LOOPBACK):
            lines.append(f"export TOOLKIT_PUBLISHED_HOST={self.address}")
        return lines

    def write(self, ssh_config: str) -> None:
        """Keep Vagrant's answer, with a shared connection added."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = [line for line in ssh_config.rstrip().splitlines() if line.strip()]
        lines += [
            "  ControlMaster auto",
            f"  ControlPath {self.control_path}",
            "  ControlPersist 12h",
            "  ServerAliveInterval 15",
            "  ConnectTimeout 30",
            "  StreamLocalBindUnlink yes",
        ]
        self.config_path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.config_path.chmod(0o600)

    def argv(self, *options: str) -> list[str]:
        """Return OpenSSH's command line for this machine."""
        return ["ssh", "-F", str(self.config_path), *options, self.machine]

    @property
    def is_open(self) -> bool:
        """Whether the shared connection stands."""
        return self.config_path.exists() and self.succeeds(self.argv("-O", "check"))

    def open(self) -> None:
        """Open the shared connection, in the background, unless it stands.

        Raises:
            MachineError: The machine cannot be reached.
        """
        if not self.is_open:
            self.control_path.unlink(missing_ok=True)
            self.run(self.argv("-f", "-N", "-M"), timeout_seconds=_CONNECT_SECONDS)

    def forward_engine(self) -> None:
        """Have the engine's socket on this side.

        Raises:
            MachineError: OpenSSH refuses.
        """
        self._cancel(f"{self.socket_path}:{ENGINE_SOCKET}")
        self.socket_path.unlink(missing_ok=True)
        self.run(self.argv("-O", "forward", "-L", f"{self.socket_path}:{ENGINE_SOCKET}"))

    def forward_port(self, local: int, remote: str) -> None:
        """Have an address of the machine's (``127.0.0.1:80``) on this side's loopback.

        Raises:
            MachineError: OpenSSH refuses: the port is taken here.
        """
        self.run(self.argv("-O", "forward", "-L", _ports(local, remote)))

    def close_port(self, local: int, remote: str) -> None:
        """Take a forwarded port back; nothing happens if there is none."""
        self._cancel(_ports(local, remote))

    def close(self) -> None:
        """Close the connection and with it all that is forwarded."""
        if self.is_open:
            with suppress(MachineError):
                self.run(self.argv("-O", "exit"))
        for path in (self.socket_path, self.control_path):
            path.unlink(missing_ok=True)

    def _cancel(self, what: str) -> None:
        with suppress(MachineError):
            self.run(self.argv("-O", "cancel", "-L", what))


def _ports(local: int, remote: str) -> str:
    return f"127.0.0.1:{local}:{remote}"
