# SPDX-License-Identifier: Apache-2.0
"""Attached clients of a shim: nobody waits for a slow one, and it loses nothing.

A client whose buffer is full is fed from the log file until it has caught up
(`docs/architecture.md`). What it already got of an unfinished line is skipped
there, byte by byte.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from toolkit.runtime.loglines import decode_runs
from toolkit.runtime.logwriter import STREAMS, LogWriter

if TYPE_CHECKING:
    from toolkit.runtime.protocol import AttachClient

BUFFER_BYTES: Final = 256 * 1024
CATCH_UP_BYTES: Final = 128 * 1024
MAX_FRAME_BYTES: Final = 32 * 1024
_HEAD: Final = struct.Struct(">BxxxI")
_KINDS: Final = {"stdout": 1, "stderr": 2}


class Client:
    """One attached connection.

    Attributes:
        wants_input: Its bytes go to the program.
        input_ended: It will send no more.
        detached: It typed the detach keys.
        gone: It can take no more.
    """

    def __init__(self, options: AttachClient, log: LogWriter, *, has_tty: bool) -> None:
        self._socket = socket.socket(fileno=options.fd)
        self._socket.setblocking(False)  # noqa: FBT003 - the call takes no keyword
        self._log = log
        self._framed = options.framed
        self._wanted = {"stdout": options.stdout, "stderr": options.stderr}
        self._stays = options.stream
        self._keys = options.detach_keys if has_tty else b""
        self._matched = 0
        self._out: deque[memoryview] = deque()
        self._queued_bytes = 0
        self._behind_at: int | None = 0 if options.logs else None
        self._skip = dict.fromkeys(STREAMS, 0)
        self._closing = False
        self.pending = options.pending
        self.wants_input = options.stdin
        self.input_ended = False
        self.detached = False
        self.gone = False

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    @property
    def has_output(self) -> bool:
        """Whether there is something to send, here or in the log."""
        return bool(self._out) or self._behind_at is not None or self._closing

    def offer(self, stream: str, data: bytes) -> None:
        """Take a chunk that is about to go to the log, or fall behind."""
        if self._behind_at is not None or self.gone or not self._stays:
            return
        if self._queued_bytes + len(data) > BUFFER_BYTES:
            self._behind_at = self._log.offset
            self._skip = {name: len(part) for name, part in self._log.unfinished.items()}
        elif self._wanted[stream]:
            self._queue(stream, data)

    def close_after_output(self) -> None:
        """End the connection once everything was sent."""
        self._closing = True

    def _queue(self, stream: str, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(data), MAX_FRAME_BYTES):
            part = view[start : start + MAX_FRAME_BYTES]
            if self._framed:
                self._out.append(memoryview(_HEAD.pack(_KINDS[stream], len(part))))
                self._queued_bytes += _HEAD.size
            self._out.append(part)
            self._queued_bytes += len(part)

    def flush(self) -> None:
        """Send what the client takes now; catch up from the log when there is room."""
        try:
            while True:
                if self._behind_at is not None and self._queued_bytes < CATCH_UP_BYTES:
                    self._catch_up()
                if not self._out:
                    break
                self._forget(self._socket.sendmsg([*self._first(64)]))
        except BlockingIOError:
            return
        except OSError:
            self.drop()
            return
        if self._closing and self._behind_at is None:
            self._end()

    def _first(self, count: int) -> list[memoryview]:
        return [self._out[index] for index in range(min(count, len(self._out)))]

    def _forget(self, sent: int) -> None:
        self._queued_bytes -= sent
        while sent:
            part = self._out.popleft()
            if sent < len(part):
                self._out.appendleft(part[sent:])
                return
            sent -= len(part)

    def _catch_up(self) -> None:
        """Queue the next lines of the log, or what is not in it yet when they are over."""
        offset = self._behind_at or 0
        lines, found_at = self._log.read(offset, CATCH_UP_BYTES)
        if found_at > offset:  # what it had the beginning of is gone: the log goes on elsewhere
            self._skip = dict.fromkeys(STREAMS, 0)
        for entry in decode_runs(lines):
            self._queue_unseen(entry.stream, entry.data)
        self._behind_at = found_at + len(lines)
        if self._behind_at < self._log.offset and lines:
            return
        self._behind_at = None
        if not self._stays:
            self._closing = True
            return
        for stream, data in self._log.unfinished.items():
            self._queue_unseen(stream, data)
        self._skip = dict.fromkeys(STREAMS, 0)

    def _queue_unseen(self, stream: str, data: bytes) -> None:
        skipped = min(self._skip[stream], len(data))
        self._skip[stream] -= skipped
        if self._wanted[stream] and len(data) > skipped:
            self._queue(stream, data[skipped:])

    def receive(self, limit_bytes: int) -> bytes:
        """Return input from the client; sets `input_ended` at its half-close or detach keys."""
        if self.pending:
            data, self.pending = self.pending, b""
            return self._filter(data)
        try:
            data = self._socket.recv(limit_bytes)
        except BlockingIOError:
            return b""
        except OSError:
            self.drop()
            return b""
        if not data:
            self.input_ended = True
            held, self._matched = self._keys[: self._matched], 0
            return held
        return self._filter(data) if self._keys and self.wants_input else data

    def _filter(self, data: bytes) -> bytes:
        """Take the detach keys out of the input; what only began like them goes through."""
        if not self._keys:
            return data
        out = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    self.detach()
                    return bytes(out)
                continue
            out += self._keys[: self._matched]
            self._matched = int(byte == self._keys[0])
            if not self._matched:
                out.append(byte)
        return bytes(out)

    def detach(self) -> None:
        """End this client's session; the program goes on."""
        self.detached = True
        self.input_ended = True
        self._stays = False
        self._behind_at = None
        self._closing = True

    def _end(self) -> None:
        with suppress(OSError):  # the client was quicker
            self._socket.shutdown(socket.SHUT_WR)
        self.drop()

    def drop(self) -> None:
        """Forget the client and what it has not taken."""
        self.gone = True
        self.input_ended = True
        self._behind_at = None
        self._out.clear()
        self._queued_bytes = 0

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
