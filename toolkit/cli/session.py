# SPDX-License-Identifier: Apache-2.0
"""A program's streams joined to the person's: what attach, run, start and exec share.

Owns the copying, the detach keys and the half-close. Which container, what its exit
code is, and signals are the commands'.
"""

from __future__ import annotations

import os
import select
from contextlib import ExitStack
from enum import Enum
from typing import TYPE_CHECKING, Final

from toolkit.cli.detach import DEFAULT_KEYS, DetachScanner
from toolkit.cli.output import warn
from toolkit.cli.terminal import is_terminal, raw_terminal
from toolkit.client.frames import STDERR, SYSTEM_ERROR, FrameDecoder

if TYPE_CHECKING:
    from toolkit.client import HijackedConnection

_READ_BYTES: Final = 64 * 1024
_STDIN: Final = 0


class Ending(Enum):
    """Why a session is over."""

    STREAM_ENDED = "stream ended"
    DETACHED = "detached"


class Session:
    """One connection between a program and standard input, output and error."""

    def __init__(
        self,
        stream: HijackedConnection,
        *,
        has_tty: bool,
        with_stdin: bool,
        detach_keys: bytes = DEFAULT_KEYS,
    ) -> None:
        self._stream = stream
        self._decoder = None if has_tty else FrameDecoder()
        self._scanner = DetachScanner(detach_keys) if has_tty else None
        self._is_raw = has_tty and with_stdin and is_terminal(_STDIN)
        self._reads_stdin = with_stdin
        self._is_detached = False
        self._outgoing = b""

    def run(self) -> Ending:
        """Copy until the program's streams end, or the person leaves.

        Raises:
            StreamError: The engine sent something else than the streams.
        """
        with ExitStack() as undo:
            undo.callback(self._stream.close)
            if self._is_raw:
                undo.enter_context(raw_terminal(_STDIN))
            if not self._reads_stdin:
                self._stream.half_close()
            self._stream.socket.settimeout(0)
            return self._copy()

    def _copy(self) -> Ending:
        poll = select.poll()
        while not self._is_detached:
            self._register(poll)
            ready = dict(poll.poll(0 if self._stream.pending else None))
            if (self._stream.pending or self._stream.fileno() in ready) and not self._exchange(
                ready.get(self._stream.fileno(), select.POLLIN)
            ):
                return Ending.STREAM_ENDED
            if _STDIN in ready and not self._outgoing:
                self._take_stdin()
        return Ending.DETACHED

    def _register(self, poll: select.poll) -> None:
        wanted = select.POLLIN | (select.POLLOUT if self._outgoing else 0)
        poll.register(self._stream.fileno(), wanted)
        if self._reads_stdin and not self._outgoing:
            poll.register(_STDIN, select.POLLIN)
        else:  # no more is read than the program takes
            try:
                poll.unregister(_STDIN)
            except KeyError:
                return

    def _exchange(self, events: int) -> bool:
        if events & select.POLLOUT:
            self._send_outgoing()
        if events & ~select.POLLOUT:
            try:
                data = self._stream.recv(_READ_BYTES)
            except BlockingIOError:
                return True
            if not data:
                return self._end()
            self._show(data)
        return True

    def _end(self) -> bool:
        if self._decoder:
            self._decoder.finish()
        return False

    def _show(self, data: bytes) -> None:
        if self._decoder is None:
            write_all(1, data)
            return
        for kind, payload in self._decoder.feed(data):
            if kind == SYSTEM_ERROR:
                warn(f"toolkit: {payload.decode(errors='replace').strip()}")
            else:
                write_all(2 if kind == STDERR else 1, payload)

    def _take_stdin(self) -> None:
        try:
            typed = os.read(_STDIN, _READ_BYTES)
        except OSError:  # closed, or a terminal that has gone: nothing more comes
            typed = b""
        if not typed:
            self._reads_stdin = False
            self._stream.half_close()
            return
        if self._scanner:
            typed, self._is_detached = self._scanner.feed(typed)
        self._outgoing = typed
        self._send_outgoing()

    def _send_outgoing(self) -> None:
        try:
            while self._outgoing:
                sent = self._stream.socket.send(self._outgoing)
                self._outgoing = self._outgoing[sent:]
        except BlockingIOError:
            return
        except OSError:  # the program has closed its input; its output may still come
            self._outgoing = b""
            self._reads_stdin = False


def write_all(fd: int, data: bytes) -> None:
    """Write to a descriptor that somebody else may have made non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
