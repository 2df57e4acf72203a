# SPDX-License-Identifier: Apache-2.0
"""A connection that carries JSON documents, a line each, in both directions."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any, Final, Self

import msgspec

_LONGEST_LINE_BYTES: Final = 256 * 1024

Document = dict[str, Any]


class LineConnection:
    """A client's socket that was given away, as lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, fd: int, pending: bytes = b"") -> Self:
        """Return the connection on a descriptor, which is its own from now on.

        Args:
            fd: A connected stream socket.
            pending: What the client sent already.
        """
        loop = asyncio.get_running_loop()
        connected = socket.socket(fileno=fd)
        connected.setblocking(False)  # noqa: FBT003 - its only argument
        reader = asyncio.StreamReader(limit=_LONGEST_LINE_BYTES)
        if pending:
            reader.feed_data(pending)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.create_connection(lambda: protocol, sock=connected)
        return cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def read(self) -> Document | None:
        """Return the next document; None when the client is gone or talks nonsense."""
        try:
            line = await self._reader.readline()
            document = msgspec.json.decode(line) if line.endswith(b"\n") else None
        except (OSError, ValueError, msgspec.DecodeError):
            return None
        return document if isinstance(document, dict) else None

    async def write(self, document: Document) -> None:
        """Send a document; a client that is gone is noticed by `read`."""
        with suppress(OSError):
            self._writer.write(msgspec.json.encode(document) + b"\n")
            await self._writer.drain()

    def close(self) -> None:
        """Close it; a second call does nothing."""
        self._writer.close()
