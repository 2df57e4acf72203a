# SPDX-License-Identifier: Apache-2.0
"""The proxies' processes: one small one that forks, and one for each container with ports.

The first is started by the engine and ends with it. So does the one that it keeps forked
ahead, which becomes the next container's. The others outlive it: each holds the
listening sockets of its container and serves a control socket, named by the container, through
which a later engine finds it, asks it and stops it. Only the standard library is loaded, and
little of that; what is loaded is shared with the first (row S-90).

A container's process knows nothing but sockets and backends, and runs in the host's namespaces.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from toolkit.kernel.directories import listen_in
from toolkit.network.proxy_datagrams import DatagramForward
from toolkit.network.proxy_loop import READABLE, Loop
from toolkit.network.proxy_streams import StreamForward

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Message = dict[str, Any]
Forward = StreamForward | DatagramForward
Backend = tuple[str, int]

LARGEST_MESSAGE_BYTES: Final = 1 << 17
MOST_FDS: Final = 250  # the kernel passes at most 253 with one message (unix(7))
_CREDENTIALS: Final = struct.Struct("iII")
_BACKLOG: Final = 16
_FDS_OF_CONNECTION: Final = 6
_FDS_OF_SESSION: Final = 1
_RESERVED_FDS: Final = 64
_MOST_SESSIONS: Final = 4096
_QUIET_MS: Final = 30  # the next process is forked ahead when no request has come for so long


def send(connection: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Send one message with descriptors."""
    socket.send_fds(connection, [json.dumps(message).encode()], fds)


def receive(connection: socket.socket) -> tuple[Message, list[int]] | None:
    """Return the next message and its descriptors; None at the end."""
    content, fds, _, _ = socket.recv_fds(connection, LARGEST_MESSAGE_BYTES, MOST_FDS)
    if not content:
        return None
    message: Message = json.loads(content)
    return message, fds


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Return pid and user of the process at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    return pid, uid


def serve(
    listeners: Sequence[socket.socket],
    backends: Sequence[Backend],
    control: socket.socket | None = None,
    *,
    loop: Loop | None = None,
) -> None:
    """Carry what comes to *listeners* to their *backends* until told to stop.

    Args:
        listeners: Bound sockets, which are closed at the end; streams listen already.
        backends: Address and port for each of them.
        control: Where another process may ask or stop; None: only `Loop.is_running` ends it.
        loop: The loop to run, if it is not to be made here.
    """
    loop = loop or Loop()
    forwards = [
        _forward(loop, listener, backend)
        for listener, backend in zip(listeners, backends, strict=True)
    ]
    served = _Control(loop, control, forwards) if control is not None else None
    loop.run()
    for forward in forwards:
        forward.close()
    if served is not None:
        served.close()


class _Control:
    """Answers processes of our own user."""

    def __init__(self, loop: Loop, listener: socket.socket, forwards: list[Forward]) -> None:
        self._loop = loop
        self._listener = listener
        self._forwards = forwards
        self._clients: set[socket.socket] = set()
        listener.settimeout(0)
        loop.watch(listener.fileno(), READABLE, self._accept)

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._listener.close()

    def _accept(self, _mask: int) -> None:
        with suppress(OSError):
            client, _ = self._listener.accept()
            if peer_of(client)[1] != os.geteuid() or len(self._clients) >= _BACKLOG:
                client.close()
                return
            client.settimeout(0)
            self._clients.add(client)
            self._loop.watch(client.fileno(), READABLE, lambda _mask: self._answer(client))

    def _answer(self, client: socket.socket) -> None:
        with suppress(OSError, ValueError):
            received = receive(client)
            if received is not None:
                message, fds = received
                for fd in fds:
                    os.close(fd)
                if message.get("op") == "stop":
                    self._loop.is_running = False  # what we close then is the answer
                    return
                send(client, self._description())
                return
        self._loop.watch(client.fileno(), 0, self._accept)
        self._clients.discard(client)
        client.close()

    def _description(self) -> Message:
        errors = [forward.last_error for forward in self._forwards if forward.last_error]
        return {
            "sessions": sum(forward.sessions for forward in self._forwards),
            "failures": sum(forward.failures for forward in self._forwards),
            "last_errors": errors[:_BACKLOG],
        }


def _forward(loop: Loop, listener: socket.socket, backend: Backend) -> Forward:
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _RESERVED_FDS
    if listener.type == socket.SOCK_STREAM:
        return StreamForward(loop, listener, backend, max(1, room // _FDS_OF_CONNECTION))
    return DatagramForward(loop, listener, backend, min(_MOST_SESSIONS, room // _FDS_OF_SESSION))


def main(engine_fd: int, dir_fd: int) -> None:
    """Fork a proxy for each request, until the engine is gone.

    Args:
        engine_fd: Where requests come from.
        dir_fd: The directory of the control sockets, which only our user can enter.
    """
    engine = socket.socket(fileno=engine_fd)
    engine.set_inheritable(False)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the proxies
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a ctrl-c in the engine's terminal is not ours
    _set_name("toolkit-proxies")
    json.loads(json.dumps({"": [1, ""]}))  # what Python loads late is loaded before the fork
    gc.collect()
    gc.freeze()
    _raise_fd_limit()
    Forker(engine, dir_fd).serve()


class Start(NamedTuple):
    """One request: the first descriptor takes the answer, the others are listeners."""

    name: str
    fds: list[int]
    backends: list[Backend]


class Forker:
    """Forks a process for each request, and one ahead, where there is time.

    Args:
        engine: Where requests come from.
        dir_fd: The directory of the control sockets.
    """

    def __init__(self, engine: socket.socket, dir_fd: int) -> None:
        self._engine = engine
        self._dir_fd = dir_fd
        self._waiting: socket.socket | None = None

    def serve(self) -> None:
        """Serve until the engine is gone; what waits ends then, too."""
        poller = select.poll()
        poller.register(self._engine, select.POLLIN)
        fds: list[int] = []
        backends: list[Backend] = []
        while True:
            if self._waiting is None and not poller.poll(_QUIET_MS):
                self._fork_ahead()
            received = receive(self._engine)
            if received is None:
                return
            message, more_fds = received
            fds += more_fds
            backends += [(host, port) for host, port in message["backends"]]
            if "name" in message:  # the last of those that ask for one proxy
                self._start(Start(message["name"], fds, backends))
                for fd in fds:
                    os.close(fd)
                fds, backends = [], []

    def _start(self, start: Start) -> None:
        """Give a request to the process that waits, or to a new one."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            with waiting, suppress(OSError):  # it was killed
                if len(start.fds) <= MOST_FDS:
                    send(waiting, {"name": start.name, "backends": start.backends}, start.fds)
                    return
        try:
            self._fork(lambda: start)
        except OSError as error:
            _answer_starter(start.fds[0], {"error": f"cannot fork: {error.strerror}"})

    def _fork_ahead(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        def wait_for_start() -> Start | None:
            ours.close()
            _set_name("toolkit-spare")
            received = receive(theirs)
            theirs.close()
            if received is None:
                return None
            message, fds = received
            return Start(message["name"], fds, message["backends"])

        with theirs, suppress(OSError):  # the next request tries again, and says so
            self._fork(wait_for_start)
            self._waiting = ours

    def _fork(self, body: Callable[[], Start | None]) -> None:
        if os.fork() == 0:  # noqa: TID251 - this process has one thread
            self._engine.close()
            _become_proxy(body, self._dir_fd)


def _become_proxy(wait_for_start: Callable[[], Start | None], dir_fd: int) -> NoReturn:
    code, start = 1, None
    try:
        os.setsid()
        start = wait_for_start()
        if start is not None:
            _run_proxy(start, dir_fd)
        code = 0
    except BaseException as error:  # noqa: BLE001 - the last chance to tell why
        if start is not None:
            _answer_starter(start.fds[0], {"error": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(code)


def _run_proxy(start: Start, dir_fd: int) -> None:
    _set_name("toolkit-proxy")
    control = listen_in(dir_fd, start.name, socket.SOCK_SEQPACKET, _BACKLOG)
    listeners = [socket.socket(fileno=fd) for fd in start.fds[1:]]
    _answer_starter(start.fds[0], {"pid": os.getpid()})
    os.close(start.fds[0])
    _leave_output()
    serve(listeners, [(host, port) for host, port in start.backends], control)
    with suppress(OSError):
        os.unlink(start.name, dir_fd=dir_fd)


def _answer_starter(fd: int, message: Message) -> None:
    with suppress(OSError):  # an engine that is gone finds the proxy by its socket, or none
        os.write(fd, json.dumps(message).encode())


def _leave_output() -> None:
    """Let go of the engine's output: who reads it to the end must not wait for a container."""
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null_fd, number)
    os.close(null_fd)


def _raise_fd_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _set_name(name: str) -> None:
    with suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as file:  # noqa: PTH123  # pathlib costs memory
        file.write(name)
