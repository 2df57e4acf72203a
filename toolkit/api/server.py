# SPDX-License-Identifier: Apache-2.0
"""The engine's socket: made safely, or taken from systemd; and who is connected to it."""

from __future__ import annotations

import asyncio
import errno
import grp
import logging
import os
import secrets
import socket
import stat
from typing import TYPE_CHECKING, Final

from toolkit.api.application import COMMON_HEADERS
from toolkit.api.connection import Connection, Serve
from toolkit.errors import HostError, InstanceLockedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from toolkit.api.heads import Limits

_log = logging.getLogger(__name__)

SOCKET_MODE: Final = 0o660
SOCKET_GROUP: Final = "toolkit"
_BACKLOG: Final = 1024
_FIRST_PASSED_FD: Final = 3  # sd_listen_fds(3)
_LONGEST_SOCKET_PATH: Final = 107  # sun_path, without its end


class SocketPathError(HostError):
    """The engine cannot listen where it was told to.

    Attributes:
        path: Where that is.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"cannot listen on {path}: {reason}")
        self.path = path


def open_socket(path: Path, *, group: str = SOCKET_GROUP) -> socket.socket:
    """Return a listening socket at *path*, reachable from its first moment by its group only.

    It is bound in a directory that nobody else enters, given its owner and mode
    there, and renamed into place (S-91). A dead engine's socket is replaced;
    a living one's, and whatever is no socket, is left alone.

    Raises:
        InstanceLockedError: Somebody answers there.
        SocketPathError: Something that is no socket is there, or it cannot be made.
    """
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise SocketPathError(path, f"the path is longer than {_LONGEST_SOCKET_PATH} bytes")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _check_free(path)
        return _bind_and_rename(path, _group_id(group))
    except OSError as error:
        raise SocketPathError(path, error.strerror or str(error)) from error


def admit_group(directory: Path, *, group: str = SOCKET_GROUP) -> None:
    """Let the group that may use the engine reach its socket, and nobody else in.

    Whatever the umask was when somebody made the directory, and whoever that was.
    """
    group_id = _group_id(group)
    if group_id >= 0:
        os.chown(directory, 0, group_id)
    directory.chmod(0o700 if group_id < 0 else 0o710)


def _check_free(path: Path) -> None:
    """Refuse a path that is in use, or that is not a socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketPathError(path, "there is something that is not a socket; remove it yourself")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        failure = probe.connect_ex(os.fspath(path))
    if failure not in {errno.ECONNREFUSED, errno.ENOENT}:
        raise InstanceLockedError(f"another engine answers on {path}")


def _bind_and_rename(path: Path, group_id: int) -> socket.socket:
    """Bind where nobody comes, then move into place."""
    nest = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    nest.mkdir(mode=0o700)
    nest_fd = os.open(nest, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        address = os.fspath(nest / "s")
        if len(os.fsencode(address)) > _LONGEST_SOCKET_PATH:
            address = f"/proc/self/fd/{nest_fd}/s"
        listener.bind(address)
        os.chmod(address, SOCKET_MODE)  # noqa: PTH101 - by descriptor
        if group_id >= 0:
            os.chown(address, 0, group_id)
        listener.listen(_BACKLOG)
        os.rename("s", path, src_dir_fd=nest_fd)
    except BaseException:
        listener.close()
        (nest / "s").unlink(missing_ok=True)
        raise
    finally:
        os.close(nest_fd)
        nest.rmdir()
    return listener


def _group_id(name: str) -> int:
    """Return the group that may use the engine; -1 where there is none."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return -1


def passed_socket(environ: Mapping[str, str], pid: int) -> socket.socket | None:
    """Return the socket that systemd listens on for us, if it does."""
    if environ.get("LISTEN_PID") != str(pid) or environ.get("LISTEN_FDS") != "1":
        return None
    return socket.socket(fileno=_FIRST_PASSED_FD)


def notify(environ: Mapping[str, str], message: str) -> None:
    """Tell the service manager how things stand, if there is one."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        try:
            manager.sendto(message.encode(), address)
        except OSError as error:
            _log.warning("cannot tell the service manager %r: %s", message, error.strerror)


class Server:
    """The connections of one engine."""

    def __init__(self, serve: Serve, limits: Limits | None = None) -> None:
        self._serve = serve
        self._limits = limits
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []

    @property
    def connection_count(self) -> int:
        """How many are connected."""
        return len(self._connections)

    async def listen(self, listener: socket.socket) -> None:
        """Serve whoever connects."""
        listener.settimeout(0)
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(self._connection, sock=listener)
        self._servers.append(server)

    def _connection(self) -> Connection:
        """Return what serves one client."""
        return Connection(
            self._serve,
            headers=COMMON_HEADERS,
            limits=self._limits,
            registry=self._connections,
        )

    async def close(self, grace_seconds: float) -> None:
        """Take nobody new, let acts finish for a while, end what only listens."""
        for server in self._servers:
            server.close()
        for connection in tuple(self._connections):
            connection.close()
        running = [connection.task for connection in self._connections if connection.task]
        if running:
            await asyncio.wait(running, timeout=grace_seconds)
        await asyncio.sleep(0)  # lets the closed ones go
        for connection in tuple(self._connections):
            connection.abort()
