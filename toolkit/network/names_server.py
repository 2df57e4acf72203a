# SPDX-License-Identifier: Apache-2.0
"""The engine's side of the name server: start it or find it, and tell it who is called what.

The server (`toolkit.network.dns.server`) outlives the engine. After `open` has said that it is a
new one, every running container must be attached and every name published; otherwise `state`
tells what it knows, and the engine puts right what differs. Each call returns when the change is
visible to containers.
"""

from __future__ import annotations

import os
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

from toolkit.errors import KernelCallError, NameServerError
from toolkit.kernel.directories import listen_in
from toolkit.kernel.process import open_pidfd, signal_pidfd, start_time_ticks
from toolkit.network.dns.control import Channel
from toolkit.network.hosts_file import check_host_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from toolkit.network.dns.table import Asking, NameRecord


_CODE: Final = (
    "import sys; sys.path.insert(0, sys.argv[2]); "
    "from toolkit.network.dns.server import main; main(int(sys.argv[1]))"
)
_SOCKET: Final = "names.sock"
_ANSWER_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 5.0
_BACKLOG: Final = 16


@dataclass(frozen=True)
class NameServerState:
    """What the server knows.

    Attributes:
        containers: Whose questions it answers.
        published: Who is known, by network.
    """

    pid: int
    containers: frozenset[str]
    published: Mapping[str, frozenset[str]]


class NamesServer:
    """The connection to an instance's name server; safe in threads.

    Args:
        run_dir: Directory of its socket, made 0700; it must not survive a reboot.
    """

    def __init__(self, run_dir: Path, instance: str = "") -> None:
        self._instance = instance  # in the server's environment, by which it is found
        self._run_dir = run_dir
        self._channel: Channel | None = None
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def is_there(self) -> bool:
        """Say whether a server of an earlier engine runs."""
        with self._lock, suppress(OSError):
            connection = self._connect()
            if connection is not None:
                connection.close()
                return True
        return False

    def open(self) -> bool:
        """Connect to the server, or start one; return whether it is new.

        Raises:
            NameServerError: Neither can be done.
        """
        with self._lock:
            try:
                self._run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._run_dir.chmod(0o700)
                self._close()
                is_new = False
                connection = self._connect()
                if connection is None:
                    self._start()
                    is_new = True
                    connection = self._connect()
            except (OSError, subprocess.TimeoutExpired) as error:
                raise NameServerError(f"cannot start the name server: {error}") from error
            if connection is None:
                raise NameServerError("the name server does not stay up")
            self._channel = Channel(connection)
            return is_new

    def close(self) -> None:
        """Drop the connection; the server goes on."""
        with self._lock:
            self._close()

    def stop(self) -> None:
        """End the server."""
        with suppress(NameServerError):
            pid = self.state().pid
            with suppress(KernelCallError):
                pidfd = open_pidfd(pid)
                try:
                    self._ask({"op": "stop"})
                    _await_end(pidfd)
                finally:
                    os.close(pidfd)
        self.close()
        (self._run_dir / _SOCKET).unlink(missing_ok=True)
        if self._child is not None:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(_STOP_SECONDS)
            self._child = None

    def attach(self, container: str, netns_fd: int, asking: Asking, *, pidfd: int = -1) -> None:
        """Answer at 127.0.0.11 inside a container.

        Args:
            container: Its id.
            netns_fd: Its network namespace, with loopback up.
            asking: Whom it asks.
            pidfd: Its program; when that ends the resolver goes, engine or not.

        Raises:
            NameServerError: The server is gone or cannot do it.
        """
        fds = [netns_fd] if pidfd < 0 else [netns_fd, pidfd]
        self._ask({"op": "attach", "container": container, **_message_of(asking)}, fds)

    def seat(self, container: str, asking: Asking) -> None:
        """Change whom an attached container asks; errors as of `attach`."""
        self._ask({"op": "seat", "container": container, **_message_of(asking)})

    def watch(self, container: str, pid: int, ticks: int) -> None:
        """Have an attached container forgotten when its program ends, engine or not.

        Args:
            container: Its id.
            pid: The program.
            ticks: When it was started, by which it is known for sure.

        Raises:
            NameServerError: The server is gone, or does not know the container.
            KernelCallError: The program has ended.
        """
        pidfd = open_pidfd(pid)
        try:
            if start_time_ticks(pid) == ticks:
                self._ask({"op": "watch", "container": container}, [pidfd])
        finally:
            os.close(pidfd)

    def detach(self, container: str) -> None:
        """Answer a container no more; raises as `attach`."""
        self._ask({"op": "detach", "container": container})

    def publish(self, network: str, network_name: str, record: NameRecord) -> None:
        """Make a container known on a network, instead of what was published of it before.

        Args:
            network: Id of the network.
            network_name: May stand behind a name: ``web.backend``.
            record: The container's names and addresses on that network.

        Raises:
            InvalidNameError: A name is none.
            NameServerError: The server is gone.
        """
        for name in record.names:
            check_host_name(name)
        self._ask(
            {
                "op": "publish",
                "network": network,
                "network_name": network_name,
                "container": record.container,
                "names": list(record.names),
                "addresses": [str(address) for address in record.addresses],
            }
        )

    def withdraw(self, network: str, container: str) -> None:
        """Make a container unknown on a network; raises as `attach`."""
        self._ask({"op": "withdraw", "network": network, "container": container})

    def state(self) -> NameServerState:
        """Return what the server knows; raises as `attach`."""
        told = self._ask({"op": "state"})
        published = {network: frozenset(known) for network, known in told["published"].items()}
        return NameServerState(told["pid"], frozenset(told["containers"]), published)

    def _ask(self, message: dict[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        with self._lock:
            if self._channel is None:
                raise NameServerError("not connected to the name server")
            try:
                self._channel.send(message, fds)
                received = self._channel.receive()
            except (OSError, ValueError, TypeError) as error:
                self._close()
                raise NameServerError(f"the name server is gone: {error}") from error
            if received is None:
                self._close()
                raise NameServerError("the name server is gone")
        answer = received[0]
        if "error" in answer:
            raise NameServerError(f"name server: {message['op']}: {answer['error']}")
        return answer

    def _close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _connect(self) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_ANSWER_SECONDS)
        dir_fd = os.open(self._run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{dir_fd}/{_SOCKET}")
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        except OSError:
            connection.close()
            raise
        finally:
            os.close(dir_fd)
        return connection

    def _start(self) -> None:
        """Start a server at a socket that listens already, so nobody need wait for it."""
        if self._child is not None:
            self._child.wait(_STOP_SECONDS)  # nobody listens there: it is dead
        package_parent = str(Path(__file__).resolve().parents[2])
        dir_fd = os.open(self._run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            listener = listen_in(dir_fd, _SOCKET, socket.SOCK_STREAM, _BACKLOG)
        finally:
            os.close(dir_fd)
        with listener:
            fd = str(listener.fileno())
            self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and our own words
                (sys.executable, "-I", "-X", "utf8", "-c", _CODE, fd, package_parent),
                pass_fds=(listener.fileno(),),
                stdin=subprocess.DEVNULL,
                env={"PATH": os.defpath, "TOOLKIT_INSTANCE": self._instance},
                cwd="/",
                start_new_session=True,
            )


def _message_of(asking: Asking) -> dict[str, Any]:
    for alias, name in asking.private_names.items():
        check_host_name(alias)
        check_host_name(name)
    return {
        "networks": list(asking.networks),
        "resolvers": [str(address) for address in asking.resolvers],
        "private_names": dict(asking.private_names),
    }


def _await_end(pidfd: int) -> None:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    if not poller.poll(_STOP_SECONDS * 1000):
        signal_pidfd(pidfd, signal.SIGKILL)
        poller.poll(_STOP_SECONDS * 1000)
