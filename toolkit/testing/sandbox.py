# SPDX-License-Identifier: Apache-2.0
"""A private engine in a network namespace of its own, for a test that breaks things.

Its bridges and rules are seen by nobody else; its data goes with it. Published
ports are reached from inside the namespace: `Sandbox.run_command`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from toolkit.client.local_engine import is_listening, start_engine
from toolkit.testing.discovery import FoundEngine, NoEngineError, engine_command
from toolkit.testing.engine import ContainerEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

_END_SECONDS: Final = 20.0
_COMMAND_SECONDS: Final = 60.0
_BRING_UP: Final = 'ip link set lo up && exec "$@"'


class Sandbox(ContainerEngine):
    """An engine that a test has to itself.

    Attributes:
        instance: Name of its instance.
        pid: Its process, whose network namespace is the sandbox's.
    """

    instance: str = ""
    pid: int = 0

    @classmethod
    def launch(cls, run_id: str) -> Self:
        """Start an engine in a new network namespace, and open a session on it.

        Raises:
            NoEngineError: Not root on Linux.
            EngineUnreachableError: It did not start; with its last line.
        """
        if sys.platform != "linux" or os.geteuid() != 0:
            raise NoEngineError("a sandbox needs root on Linux")
        instance = f"sb{uuid.uuid4().hex[:7]}"
        words = engine_command(instance, "--data-root", str(_data_dir(instance)))
        unshared = ["unshare", "--net", "--", "sh", "-c", _BRING_UP, "sh", *words]
        start_engine(instance, command=unshared)
        url = f"unix:///run/{instance}/engine.sock"
        with ExitStack() as undo:
            undo.callback(_remove_data, instance)
            sandbox = cls.open(FoundEngine(url, "sandbox"), run_id)
            undo.pop_all()
        sandbox.instance = instance
        sandbox.pid = _peer_pid(Path(f"/run/{instance}/engine.sock"))
        return sandbox

    def run_command(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command of this machine inside the sandbox's network namespace."""
        words = ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *command]
        return subprocess.run(  # noqa: S603  # the test's own words
            words, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
        )

    def close(self) -> None:
        """Drop it: session, engine, data. A second call does nothing."""
        pid, self.pid = self.pid, 0
        pidfd = -1
        with suppress(ProcessLookupError):
            pidfd = os.pidfd_open(pid) if pid else -1
        super().close()
        if pidfd >= 0 and not _end(pidfd):
            stays = f"{_data_dir(self.instance)} stays"
            warnings.warn(f"the engine of a sandbox does not end, pid {pid}: {stays}", stacklevel=2)
        elif pid:
            _remove_data(self.instance)


def _data_dir(instance: str) -> Path:
    return Path("/var/lib") / instance


def _peer_pid(socket_path: Path) -> int:
    """Return the process that listens on a socket, by the kernel's word."""
    import socket  # noqa: PLC0415  # only here
    import struct  # noqa: PLC0415  # same

    credentials = struct.Struct("3i")  # pid, uid, gid
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(socket_path))
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
    return int(credentials.unpack(raw)[0])


def _end(pidfd: int) -> bool:
    """End an engine, whose namespace goes with it; tell whether it ended in time."""
    import select  # noqa: PLC0415  # only here
    import signal  # noqa: PLC0415  # same

    try:
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        return bool(select.select([pidfd], [], [], _END_SECONDS)[0])
    except ProcessLookupError:
        return True
    finally:
        os.close(pidfd)


def _remove_data(instance: str) -> None:
    if not is_listening(Path(f"/run/{instance}/engine.sock")):
        for directory in (_data_dir(instance), Path("/run") / instance):
            shutil.rmtree(directory, ignore_errors=True)
