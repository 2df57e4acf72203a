# SPDX-License-Identifier: Apache-2.0
"""The engine as a background process of this machine: start, find, stop.

Owns its process from outside: a session and a log of its own, the wait until it
serves, and which process that is. What an engine does is nobody's business here.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import toolkit
from toolkit.errors import MachineError
from toolkit.vm.notify import listening_ready_socket
from toolkit.vm.process import ProcessIdentity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from toolkit.config import Instance

_TAIL_LINES = 15
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

    @property
    def record_path(self) -> Path:
        """Where the process that `start` made is written down."""
        return self.instance.run_dir / "engine-process.json"

    def find(self) -> ProcessIdentity | None:
        """Return the process that serves the socket, else the one written down, if it lives."""
        return self._peer() or self._recorded()

    def start(
        self, *, timeout_seconds: float = 30, command: Sequence[str] = (), backend: str = ""
    ) -> ProcessIdentity:
        """Start the engine in a session of its own and wait until it serves.

        Raises:
            MachineError: It ended, or did not say READY=1 in time; with its last lines.
        """
        self.instance.run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        notify_path = self.instance.run_dir / f"notify-{os.getpid()}.sock"
        with listening_ready_socket(notify_path) as ready:
            child = self._spawn(command or self._command(backend), notify_path)
            pidfd = os.pidfd_open(child.pid)
            try:
                identity = ProcessIdentity.of(child.pid)
                is_ready = ready.wait_ready(pidfd, timeout_seconds)
            finally:
                os.close(pidfd)
            if not is_ready or identity is None:
                raise MachineError(self._failure(child, timeout_seconds))
        self.record_path.write_text(json.dumps(asdict(identity)) + "\n")
        child.returncode = 0  # it stays: no warning that nobody waits for it here
        return identity

    def stop(self, *, grace_seconds: float = 20) -> bool:
        """Stop the engine that `find` names; return whether there was one."""
        identity = self.find()
        if identity is None:
            return False
        identity.stop(grace_seconds)
        with suppress(ChildProcessError):  # a child of this very process, in tests
            os.waitpid(identity.pid, os.WNOHANG)
        self.record_path.unlink(missing_ok=True)
        return True

    def _command(self, backend: str) -> list[str]:
        command = [sys.executable, "-m", "toolkit.cli.main", "engine"]
        command += ["--instance", self.instance.name]
        return [*command, "--backend", backend] if backend else command

    def _spawn(self, command: Sequence[str], notify_path: Path) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=Path(toolkit.__file__).parent.parent,  # the same code that runs here
                env=engine_environment(os.environ, self.instance, notify_path),
                start_new_session=True,
            )

    def _failure(self, child: subprocess.Popen[bytes], timeout_seconds: float) -> str:
        try:
            exit_code = child.wait(0.2)
            what = f"the engine ended with exit code {exit_code} before it served"
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            what = f"the engine did not serve within {timeout_seconds:g} s"
        tail = self.log_path.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join([f"{what}; the end of {self.log_path}:", *tail])

    def _peer(self) -> ProcessIdentity | None:
        """Return the process that listens on the socket, by the kernel's word."""
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

    def _recorded(self) -> ProcessIdentity | None:
        try:
            identity = ProcessIdentity(**json.loads(self.record_path.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return identity if identity.is_alive else None


def engine_environment(
    environ: Mapping[str, str], instance: Instance, notify_path: Path
) -> dict[str, str]:
    """Return the environment of an engine: ours, its instance, and where to say READY=1."""
    kept = {name: value for name, value in environ.items() if name != "DOCKER_HOST"}
    return kept | {"TOOLKIT_INSTANCE": instance.name, "NOTIFY_SOCKET": str(notify_path)}
