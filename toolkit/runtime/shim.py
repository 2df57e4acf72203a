# SPDX-License-Identifier: Apache-2.0
"""The shim: one small process beside each running program, which outlives the engine.

It holds the program's streams, writes the log and the exit status, serves the
attached clients and hears what the engine asks. One thread, one epoll; nothing
is polled and no client is waited for.
"""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from toolkit.errors import ToolkitError
from toolkit.kernel import process, pty
from toolkit.runtime.exitfile import write_exit_status
from toolkit.runtime.protocol import (
    AttachClient,
    ExitStatus,
    Message,
    is_root_peer,
    receive_message,
    send_message,
)
from toolkit.runtime.stdin import StdinWriter
from toolkit.runtime.streams import Client

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from toolkit.runtime.backend import Program
    from toolkit.runtime.logwriter import LogWriter

_READ_BYTES: Final = 256 * 1024
_DRAIN_SECONDS: Final = 5.0
_ACKNOWLEDGE_SECONDS: Final = 1.0

_IN: Final = select.EPOLLIN
_OUT: Final = select.EPOLLOUT
_GONE: Final = select.EPOLLHUP | select.EPOLLERR


class Shim:
    """Serves one running program until it has ended and every client has its output."""

    def __init__(
        self, program: Program, log: LogWriter, annotations: dict[str, str], listener: socket.socket
    ) -> None:
        self._program = program
        self._log = log
        self._exit_path = annotations.get("toolkit.exit.path", "")
        self._listener = listener
        self._has_tty = program.ends.terminal >= 0
        self._stdin_once = bool(annotations.get("toolkit.stdin.once")) and not self._has_tty
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._controls: dict[int, socket.socket] = {}
        self._clients: dict[int, Client] = {}
        self._outputs: dict[int, str] = {}
        self._exited = False
        self._wait_status = 0
        self._status: ExitStatus | None = None
        self._released = False
        self._unacknowledged: set[int] = set()
        self._deadline: float | None = None
        input_fd = program.ends.terminal if self._has_tty else program.ends.stdin
        self._stdin = StdinWriter(input_fd, owns_fd=not self._has_tty)
        self._watch(program.pidfd, _IN, self._on_exit)
        self._watch(listener.fileno(), _IN, self._on_connection)
        self._watch_outputs()

    def _watch_outputs(self) -> None:
        ends = self._program.ends
        for stream, fd in (
            ("stdout", ends.terminal),
            ("stdout", ends.stdout),
            ("stderr", ends.stderr),
        ):
            if fd >= 0:
                os.set_blocking(fd, False)
                self._outputs[fd] = stream
                self._watch(fd, _IN, partial(self._on_output, fd))

    def _watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def _unwatch(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    # -- the loop ------------------------------------------------------------------

    def serve(self) -> None:
        """Run until the program has ended and all of its output is delivered."""
        while not self._is_done():
            timeout = -1.0
            if self._deadline is not None:
                timeout = max(0.0, self._deadline - time.monotonic())
            try:
                ready = self._epoll.poll(timeout)
            except InterruptedError:
                continue
            for fd, events in ready:
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler(events)
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._on_deadline()
            self._update_clients()
            if self._status is not None and not self._unacknowledged:
                self._release()

    def _release(self) -> None:
        """Give the namespaces and the cgroup back, once the clients have their output."""
        if not self._released:
            self._released = True
            with suppress(ToolkitError):
                self._program.release()
            self._tell({"event": "released"})

    def _is_done(self) -> bool:
        return self._released and not self._clients

    def _on_deadline(self) -> None:
        self._deadline = None
        if self._status is None:
            for fd in [*self._outputs]:
                self._close_output(fd)
            self._finish()
        else:
            self._unacknowledged.clear()
            self._close_clients()

    # -- the program ---------------------------------------------------------------

    def _on_output(self, fd: int, _events: int) -> None:
        self._read_output(fd)

    def _read_output(self, fd: int) -> bool:
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # EIO: nobody holds the terminal any more
            data = b""
        if not data:
            self._close_output(fd)
            return False
        stream = self._outputs[fd]
        for client in self._clients.values():
            client.offer(stream, data)
        self._log.write(stream, data)
        return True

    def _close_output(self, fd: int) -> None:
        self._unwatch(fd)
        del self._outputs[fd]
        if not self._has_tty:
            os.close(fd)
        if self._exited and not self._outputs:
            self._finish()

    def _on_exit(self, _events: int) -> None:
        self._unwatch(self._program.pidfd)
        _, self._wait_status = os.waitpid(self._program.pid, 0)
        self._exited = True
        if self._program.ends_with_namespace:
            self._deadline = time.monotonic() + _DRAIN_SECONDS
        else:
            self._program.kill_rest()
            for fd in [*self._outputs]:
                while self._read_output(fd):
                    pass
            for fd in [*self._outputs]:
                self._close_output(fd)
        if not self._outputs:
            self._finish()

    def _finish(self) -> None:
        """Make the exit status durable, tell the engine, let go of everything else."""
        if self._status is not None:
            return
        self._log.finish()
        code, number = process.exit_status_of(self._wait_status)
        self._status = ExitStatus(
            exit_code=code,
            signal=number,
            oom_killed=self._program.was_oom_killed(),
            finished_at=datetime.now(UTC),
        )
        if self._exit_path:
            with suppress(OSError):  # a full disk: the message below still tells
                write_exit_status(self._exit_path, self._status)
        self._unacknowledged = set(self._controls)
        self._tell({"event": "exited", **self._status.to_message()})
        self._deadline = time.monotonic() + _ACKNOWLEDGE_SECONDS
        self._stdin.close()
        if not self._unacknowledged:
            self._close_clients()

    def _close_clients(self) -> None:
        for client in self._clients.values():
            client.close_after_output()

    # -- the engine ----------------------------------------------------------------

    def add_control(self, control: socket.socket) -> None:
        """Serve a connection of an engine; say how the program stands."""
        control.settimeout(0)
        fd = control.fileno()
        self._controls[fd] = control
        self._watch(fd, _IN, partial(self._on_control, fd))
        pid = self._program.pid
        self._send(fd, {"event": "started", "pid": pid,
                        "start_time": process.start_time_ticks(pid) or 0})  # fmt: skip
        if self._status is not None:
            self._send(fd, {"event": "exited", **self._status.to_message()})

    def _on_connection(self, _events: int) -> None:
        with suppress(OSError):
            control, _ = self._listener.accept()
            if is_root_peer(control):
                self.add_control(control)
            else:
                control.close()

    def _on_control(self, fd: int, _events: int) -> None:
        try:
            received = receive_message(self._controls[fd])
        except BlockingIOError:
            return
        except (OSError, ValueError):
            received = None
        if received is None:
            self._drop_control(fd)
            return
        message, fds = received
        if message["op"] == "acknowledge":
            self._unacknowledged.discard(fd)
            if not self._unacknowledged and self._status is not None:
                self._close_clients()
            return
        error = ""
        try:
            self._obey(message, fds)
        except (ToolkitError, OSError, ValueError) as problem:
            error = str(problem)
        self._send(fd, {"reply": message["id"], "error": error})

    def _obey(self, message: Message, fds: list[int]) -> None:
        match message["op"]:
            case "attach":
                self.add_client(AttachClient.from_message(message["client"], fds[0]))
            case "resize":
                if not self._has_tty:
                    raise ValueError("the container has no terminal")
                pty.resize(self._program.ends.terminal, message["rows"], message["columns"])
            case "signal":
                process.signal_pidfd(self._program.pidfd, message["number"])

    def _send(self, fd: int, message: Message) -> None:
        try:
            send_message(self._controls[fd], message)
        except OSError:
            self._drop_control(fd)

    def _tell(self, message: Message) -> None:
        for fd in [*self._controls]:
            self._send(fd, message)

    def _drop_control(self, fd: int) -> None:
        self._unwatch(fd)
        self._controls.pop(fd).close()
        self._unacknowledged.discard(fd)
        if self._status is not None and not self._unacknowledged:
            self._close_clients()

    # -- the clients ---------------------------------------------------------------

    def add_client(self, options: AttachClient) -> None:
        """Serve an attached connection from now on."""
        client = Client(options, self._log, has_tty=self._has_tty)
        fd = client.fileno()
        self._clients[fd] = client
        self._watch(fd, _IN, partial(self._on_client, client))
        if client.pending:
            self._take_input(client)
        if self._status is not None:
            client.close_after_output()

    def _on_client(self, client: Client, events: int) -> None:
        if events & _OUT:
            client.flush()
        if events & _GONE:
            while not client.input_ended and self._take_input(client):
                pass  # who types and leaves at once has typed: at most a socket's buffer
            client.drop()
        elif events & _IN and not client.input_ended:
            self._take_input(client)

    def _take_input(self, client: Client) -> bool:
        data = client.receive(_READ_BYTES)
        if client.wants_input and data:
            self._stdin.write(data)
        return bool(data)

    def _update_clients(self) -> None:
        """Flush what waits, end what is over, and watch for what matters next."""
        self._flush_stdin()
        for fd, client in [*self._clients.items()]:
            if client.has_output:
                client.flush()
            if client.input_ended and client.wants_input:
                client.wants_input = False
                if self._stdin_once and not client.detached:
                    self._stdin.close_after_output()
            if client.gone:
                self._unwatch(fd)
                del self._clients[fd]
                client.close()
                if client.detached:
                    self._tell({"event": "detached"})
                continue
            events = _OUT if client.has_output else 0
            if not client.input_ended and (self._stdin.has_room or not client.wants_input):
                events |= _IN
            self._epoll.modify(fd, events)

    def _flush_stdin(self) -> None:
        """Pass input on, and watch for room while some of it waits."""
        fd = self._stdin.fd
        if self._stdin.flush_needed:
            self._stdin.flush()
        waits = self._stdin.flush_needed
        if self._has_tty:
            if fd in self._handlers:
                self._epoll.modify(fd, _IN | (_OUT if waits else 0))
        elif waits and fd not in self._handlers:
            self._watch(fd, _OUT, lambda _events: None)  # the next turn of the loop writes
        elif not waits and self._handlers.pop(fd, None) is not None and self._stdin.fd >= 0:
            self._epoll.unregister(fd)

    def close(self) -> None:
        """Close what is still open; the process ends next."""
        self._log.close()
        self._listener.close()
