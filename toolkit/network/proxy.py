# SPDX-License-Identifier: Apache-2.0
"""The engine's side of the proxies: start one for a container, find it again, stop it.

What a proxy does is in `toolkit.network.proxy_main`. One process serves all published ports of a
container. It outlives the engine; a later one finds it by the socket that bears the container's
id, in a directory that only root can enter (row S-87).
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import KernelCallError, ProxyError
from toolkit.kernel.process import open_pidfd, signal_pidfd
from toolkit.network.proxy_main import MOST_FDS, peer_of, receive, send

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Proxies", "ProxyReport"]

Backend = tuple[str, int]

_CODE: Final = (
    "import sys; sys.path.insert(0, sys.argv[3]); "
    "from toolkit.network.proxy_main import main; main(int(sys.argv[1]), int(sys.argv[2]))"
)
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", re.ASCII)
# One that is gone closes its socket: this is for one that hangs. The first answer comes after
# the start of an interpreter, which takes ten seconds on an emulated processor that is busy.
_ANSWER_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 5.0
_ANSWER_BYTES: Final = 4096


@dataclass(frozen=True)
class ProxyReport:
    """What a proxy says of itself.

    Attributes:
        sessions: Connections and UDP sessions now.
        failures: How often a backend could not be reached.
        last_errors: What was met then, one text a port.
    """

    sessions: int
    failures: int
    last_errors: tuple[str, ...]


class Proxies:
    """The proxies of one instance; safe in threads.

    Args:
        run_dir: Directory of their sockets, made 0700; it must not survive a reboot.
        instance: Stands in their environment, by which they are found.
    """

    def __init__(self, run_dir: Path, instance: str = "") -> None:
        self._run_dir = run_dir
        self._instance = instance
        self._dir_fd = -1
        self._forker: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Make the directory and start the process that forks.

        Raises:
            ProxyError: It does not start.
        """
        with self._lock:
            try:
                self._run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._dir_fd = os.open(
                    self._run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
                )
                os.fchmod(self._dir_fd, 0o700)
                self._start_forker()
            except OSError as error:
                raise ProxyError(f"cannot start the proxies: {error}") from error

    def close(self) -> None:
        """End the process that forks; proxies go on."""
        with self._lock:
            self._end_forker()
            if self._dir_fd >= 0:
                os.close(self._dir_fd)
                self._dir_fd = -1

    def start(self, name: str, ports: Sequence[tuple[socket.socket, Backend]]) -> int:
        """Start the proxy of a container, in the place of an earlier one; return its pid.

        Args:
            name: The container's id.
            ports: Bound sockets, which are the proxy's from now on, and where they lead.

        Raises:
            ProxyError: It does not start; the sockets are closed then too.
        """
        _check_name(name)
        try:
            self.stop(name)
            with self._lock:
                if self._forker is None or self._forker.poll() is not None:
                    self._end_forker()
                    self._start_forker()
                return self._request(name, ports)
        except OSError as error:
            raise ProxyError(f"cannot start the proxy of {name[:12]}: {error}") from error
        finally:
            for listener, _ in ports:
                listener.close()

    def stop(self, name: str) -> bool:
        """End a container's proxy; return whether there was one. Its ports are free then.

        Raises:
            ProxyError: It does not end.
        """
        connection = self._connect(name)
        if connection is None:
            return False
        with connection:
            pid, _ = peer_of(connection)
            try:
                pidfd = open_pidfd(pid)
            except KernelCallError:
                return True  # gone meanwhile
            try:
                with suppress(OSError):
                    send(connection, {"op": "stop"})
                _await_end(pidfd, name)
            finally:
                os.close(pidfd)
        self._unlink(name)
        return True

    def running(self) -> dict[str, int]:
        """Return the pids of the proxies that run, by container; forget those that are dead."""
        found = {}
        for name in os.listdir(self._dir_fd):  # noqa: PTH208 - by its descriptor
            connection = self._connect(name)
            if connection is None:
                continue
            with connection:
                found[name] = peer_of(connection)[0]
        return found

    def report(self, name: str) -> ProxyReport | None:
        """Ask a container's proxy how it does; None if there is none."""
        connection = self._connect(name)
        if connection is None:
            return None
        with connection, suppress(OSError, ValueError):
            send(connection, {"op": "report"})
            received = receive(connection)
            if received is not None:
                told = received[0]
                return ProxyReport(told["sessions"], told["failures"], tuple(told["last_errors"]))
        return None

    def sweep(self, known: set[str]) -> list[str]:
        """Stop the proxies of containers that are not known any more; return which."""
        unknown = [name for name in self.running() if name not in known]
        for name in unknown:
            self.stop(name)
        return unknown

    def _request(self, name: str, ports: Sequence[tuple[socket.socket, Backend]]) -> int:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            forker = self._socket
            if forker is None:
                raise ProxyError("the proxies are not open")
            send(forker, {"backends": []}, [theirs.fileno()])
            theirs.close()
            for start in range(0, len(ports), MOST_FDS):
                some = ports[start : start + MOST_FDS]
                fds = [listener.fileno() for listener, _ in some]
                send(forker, {"backends": [backend for _, backend in some]}, fds)
            send(forker, {"backends": [], "name": name})
            ours.settimeout(_ANSWER_SECONDS)
            answer = ours.recv(_ANSWER_BYTES)
        told: dict[str, Any] = json.loads(answer) if answer else {"error": "it ended at once"}
        if "error" in told:
            raise ProxyError(f"cannot start the proxy of {name[:12]}: {told['error']}")
        return int(told["pid"])

    def _start_forker(self) -> None:
        if self._dir_fd < 0:
            raise ProxyError("the proxies are not open")
        interpreter: str = getattr(sys, "_base_executable", "") or sys.executable
        package_parent = str(Path(__file__).resolve().parents[2])
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fds = (theirs.fileno(), self._dir_fd)
            self._socket = ours
            self._forker = subprocess.Popen(  # noqa: S603 - our own interpreter and our own words
                (
                    interpreter,
                    "-I",
                    "-S",
                    "-X",
                    "utf8",
                    "-c",
                    _CODE,
                    *map(str, fds),
                    package_parent,
                ),
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                env={"PATH": os.defpath, "TOOLKIT_INSTANCE": self._instance},
                cwd="/",
                start_new_session=True,
            )

    def _end_forker(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._forker is not None:
            self._forker.wait()
            self._forker = None

    def _connect(self, name: str) -> socket.socket | None:
        """Connect to a proxy; None, and no socket left, if it is dead."""
        _check_name(name)
        if self._dir_fd < 0:
            raise ProxyError("the proxies are not open")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(_ANSWER_SECONDS)
        try:
            connection.connect(f"/proc/self/fd/{self._dir_fd}/{name}")
        except FileNotFoundError:
            connection.close()
            return None
        except ConnectionRefusedError:
            connection.close()
            self._unlink(name)
            return None
        except OSError as error:
            connection.close()
            raise ProxyError(f"cannot reach the proxy of {name[:12]}: {error}") from error
        return connection

    def _unlink(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._dir_fd)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ProxyError(f"invalid name for a proxy: {name[:80]!r}")


def _await_end(pidfd: int, name: str) -> None:
    """Wait for a process that was told to end, and kill one that does not."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    for last_word in (None, signal.SIGKILL):
        if last_word is not None:
            signal_pidfd(pidfd, last_word)
        if poller.poll(_STOP_SECONDS * 1000):
            return
    raise ProxyError(f"the proxy of {name[:12]} does not end")
