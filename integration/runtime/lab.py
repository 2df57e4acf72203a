# SPDX-License-Identifier: Apache-2.0
"""A supervisor without an engine: bundles on a busybox root, and people attached to them.

Owns what a test of the runtime needs and the engine would do otherwise: the
launch document, the directories of the overlay, and the sockets of clients.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import struct
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from integration.pace import SLOWNESS
from toolkit.runtime import document
from toolkit.runtime.logfile import LogReader
from toolkit.runtime.supervisor import AttachClient, ExitStatus, Running, Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from toolkit.config import Instance

PATIENCE_SECONDS = 30.0 * SLOWNESS
_NUMBERS = itertools.count(1)
_KINDS = {1: "stdout", 2: "stderr"}


class Person:
    """Somebody at the other end of an attached connection."""

    def __init__(self, **options: Any) -> None:
        self.socket, theirs = socket.socketpair()
        theirs.settimeout(0)
        self.client = AttachClient(fd=theirs.detach(), **options)
        self._opening = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with self._opening:
            if self._streams is None:
                self._streams = await asyncio.open_connection(sock=self.socket)
        return self._streams

    async def type(self, text: bytes) -> None:
        """Send input."""
        _, writer = await self._open()
        writer.write(text)
        await writer.drain()

    async def end_input(self) -> None:
        """Close one's own direction and go on listening."""
        _, writer = await self._open()
        writer.write_eof()

    async def see(self, text: bytes) -> bytes:
        """Return what is shown up to a text."""
        reader, _ = await self._open()
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await reader.readuntil(text)

    async def see_the_end(self) -> bytes:
        """Return all that is shown until the connection is closed."""
        reader, _ = await self._open()
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await reader.read()

    async def leave(self) -> None:
        """Close the connection."""
        _, writer = await self._open()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def unframed(data: bytes) -> dict[str, bytes]:
    """Return what each stream brought, by docker's 8-byte heads."""
    streams, at = {"stdout": b"", "stderr": b""}, 0
    while at < len(data):
        kind, size = struct.unpack_from(">BxxxI", data, at)
        streams[_KINDS[kind]] += data[at + 8 : at + 8 + size]
        at += 8 + size
    return streams


@dataclass(frozen=True)
class Ended:
    """A program that has ended, and what it said according to the log."""

    status: ExitStatus
    stdout: str
    stderr: str


@dataclass
class Lab:
    """A place to run programs in.

    Attributes:
        root: The busybox tree that every container stands on.
        directory: Where bundles are made.
    """

    instance: Instance
    root: Path
    directory: Path
    supervisor: Supervisor = field(init=False)

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(self.instance)

    def bundle(
        self,
        *args: str,
        tty: bool = False,
        stdin: bool = False,
        user: str = "",
        change: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> Path:
        """Make a bundle; *change* gets its launch document before it is written."""
        number = next(_NUMBERS)
        bundle = self.directory / f"bundle{number}"
        for name in ("rootfs", "upper", "work"):
            (bundle / name).mkdir(parents=True)
        container_id = f"{number:064x}"
        start = document.default_document()
        start["process"].update(args=list(args), env=["PATH=/bin"], terminal=tty)
        start["root"]["path"] = str(bundle / "rootfs")
        start["hostname"] = "lab"
        start["mounts"] = document.default_mounts(shm_size_bytes=document.DEFAULT_SHM_BYTES)
        start["linux"]["cgroupsPath"] = f"{self.instance.cgroup_parent}/{container_id}"
        start["linux"]["resources"]["pids"] = {"limit": document.DEFAULT_PIDS}
        start["linux"]["sysctl"] = document.default_sysctls()
        start["annotations"] = {
            "toolkit.container.id": container_id,
            "toolkit.rootfs": json.dumps(self._rootfs(bundle)),
            "toolkit.user": user,
            "toolkit.log.path": str(bundle / "log"),
            "toolkit.exit.path": str(bundle / "exit.json"),
            "toolkit.stdin.open": "1" if stdin else "",
            "toolkit.stdin.once": "1" if stdin else "",
            "toolkit.home.default": "1",
        }
        change(start)
        (bundle / "config.json").write_text(json.dumps(start))
        return bundle

    def _rootfs(self, bundle: Path) -> dict[str, Any]:
        return {
            "kind": "overlay",
            "base_dir": "/",
            "lower_dirs": [str(self.root).lstrip("/")],
            "upper_dir": str(bundle / "upper").lstrip("/"),
            "work_dir": str(bundle / "work").lstrip("/"),
        }

    async def run(self, *args: str, **options: Any) -> Ended:
        """Run a program to its end."""
        bundle = self.bundle(*args, **options)
        running = await self.supervisor.start(bundle)
        return await self.ended(running, bundle)

    async def ended(self, running: Running, bundle: Path) -> Ended:
        """Wait until a program is over and everything of it is given back."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            status = await running.exited
            await running.released
        streams = {name: logged(bundle, name) for name in ("stdout", "stderr")}
        return Ended(status, **streams)

    @asynccontextmanager
    async def running(
        self, *args: str, people: Sequence[Person] = (), **options: Any
    ) -> AsyncIterator[tuple[Running, Path]]:
        """Run a program for the length of a block; it is killed when it is not over then."""
        bundle = self.bundle(*args, **options)
        running = await self.supervisor.start(bundle, [person.client for person in people])
        try:
            yield running, bundle
        finally:
            if not running.exited.done():
                os.kill(running.pid, signal.SIGKILL)
            async with asyncio.timeout(PATIENCE_SECONDS):
                await running.released


def logged(bundle: Path, stream: str) -> str:
    """Return what the log of a bundle has of a stream."""
    reader = LogReader(bundle / "log")
    try:
        parts = reader.read(stdout=stream == "stdout", stderr=stream == "stderr")
        return b"".join(entry.data for entry in parts).decode()
    finally:
        reader.close()
