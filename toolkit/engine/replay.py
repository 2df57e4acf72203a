# SPDX-License-Identifier: Apache-2.0
"""Sending a stopped container's log to an attached client, which no shim is there to do."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Final

from toolkit.engine.logs import LogSelection, read_log
from toolkit.runtime.loglines import split_lines

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.engine.context import EngineContext
    from toolkit.runtime.loglines import LogEntry
    from toolkit.runtime.protocol import AttachClient

_KINDS: Final = {"stdout": 1, "stderr": 2}
_STALL_SECONDS: Final = 60.0


async def replay_log(context: EngineContext, path: Path, client: AttachClient) -> None:
    """Send what was logged to a client, and close its connection (rule 2.51)."""
    loop = asyncio.get_running_loop()
    selection = LogSelection(stdout=client.stdout, stderr=client.stderr)
    with socket.socket(fileno=client.fd) as connection:
        connection.settimeout(0)
        try:
            async for entry in read_log(context, path, selection):
                data = _framed(entry) if client.framed else entry.data
                async with asyncio.timeout(_STALL_SECONDS):
                    await loop.sock_sendall(connection, data)
        except (OSError, TimeoutError):
            return  # the client is gone, or does not read


def _framed(entry: LogEntry) -> bytes:
    kind = _KINDS[entry.stream]
    lines = split_lines(entry.data)
    return b"".join(struct.pack(">BxxxI", kind, len(line)) + line for line in lines)
