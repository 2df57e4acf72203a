# SPDX-License-Identifier: Apache-2.0
"""The engine as a background process of this machine: start, find, stop.

Which process it is, the kernel says: the one that listens on the socket. How it
is started is `toolkit.client.local_engine`'s; what it does is nobody's business here.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.client.local_engine import start_engine
from toolkit.errors import EngineUnreachableError, MachineError
from toolkit.vm.process import ProcessIdentity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from toolkit.config import Instance

_PEER_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class EngineProcess:
    """The engine of one instance, whether it runs or not."""

    instance: Instance

    @property
    def log_path(self) -> Path:
        """Where its standard output and error go."""
        return self.instance.run_dir / "engine.log"

    def find(self) -> ProcessIdentity | None:
        """Return the process that listens on the socket; None if nobody does."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            try:
                connection.connect(str(self.instance.socket_path))
            except OSError:
                return None
            credentials = connection.getsockopt(
                socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size
            )
        return ProcessIdentity.of(_PEER_CREDENTIALS.unpack(credentials)[0])

    def start(self, command: Sequence[str] = ()) -> ProcessIdentity:
        """Start the engine, wait until it serves, and return its process.

        Args:
            command: What to run instead of ``toolkit engine --instance <name>``.

        Raises:
            MachineError: It ended, or did not serve in time; with its last line.
        """
        try:
            start_engine(self.instance.name, run_dir=self.instance.run_dir, command=command)
        except EngineUnreachableError as error:
            raise MachineError(str(error)) from error
        identity = self.find()
        if identity is None:
            raise MachineError(f"the engine ended as soon as it served (see {self.log_path})")
        return identity

    def stop(self, *, grace_seconds: float = 20) -> bool:
        """Stop the engine that `find` names; return whether there was one."""
        identity = self.find()
        if identity is None:
            return False
        identity.stop(grace_seconds)
        with suppress(ChildProcessError):  # ours to reap only where this process started it
            os.waitpid(identity.pid, os.WNOHANG)
        return True
