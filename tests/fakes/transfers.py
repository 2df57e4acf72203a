# SPDX-License-Identifier: Apache-2.0
"""Transfers whose progress a test writes itself; what was asked is written down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, BinaryIO

from toolkit.images.progress import ProgressMessage
from toolkit.images.registry.manifest import Platform
from toolkit.images.registry.registries import FoundRepository, RemoteImage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from toolkit.images.references import Reference
    from toolkit.images.registry.credentials import Credentials

DIGEST = "sha256:" + "cd" * 32


class FakeTransfers:
    """Tells the messages that it was given, and then fails if it shall.

    Attributes:
        refuses: Raised before anything is told.
        fails: Raised after the messages.
    """

    def __init__(self) -> None:
        self.messages = [ProgressMessage(status="Pulling from a", id="latest")]
        self.refuses: Exception | None = None
        self.fails: Exception | None = None
        self.asked: list[tuple[Any, ...]] = []

    async def pull(
        self, reference: Reference, *, credentials: Credentials, platform: str
    ) -> AsyncGenerator[ProgressMessage, None]:
        return self._begun("pull", str(reference), credentials, platform)

    async def push(
        self, reference: Reference, *, credentials: Credentials
    ) -> AsyncGenerator[ProgressMessage, None]:
        return self._begun("push", str(reference), credentials)

    async def load(self, stream: BinaryIO, *, quiet: bool) -> AsyncGenerator[ProgressMessage, None]:
        return self._begun("load", await asyncio.to_thread(stream.read), quiet)

    async def save(self, names: Sequence[str]) -> AsyncGenerator[bytes, None]:
        self._ask("save", list(names))
        return _pieces(b"tar", b"ball")

    async def log_in(self, credentials: Credentials) -> str:
        self._ask("log in", credentials)
        return "Login Succeeded"

    async def look(self, reference: Reference, *, credentials: Credentials) -> RemoteImage:
        self._ask("look", str(reference), credentials)
        platforms = (
            Platform(os="linux", architecture="amd64"),
            Platform(os="linux", architecture="arm", variant="v7"),
        )
        return RemoteImage(digest=DIGEST, media_type="m/t", size=3, platforms=platforms)

    async def search(
        self, term: str, *, limit: int, credentials: Credentials
    ) -> list[FoundRepository]:
        self._ask("search", term, limit, credentials)
        return [
            FoundRepository(name="busybox", star_count=9, is_official=True),
            FoundRepository(name="me/busybox", description="d"),
        ]

    def _ask(self, *what: Any) -> None:
        self.asked.append(what)
        if self.refuses is not None:
            raise self.refuses

    def _begun(self, *what: Any) -> AsyncGenerator[ProgressMessage, None]:
        self._ask(*what)
        return self._tell()

    async def _tell(self) -> AsyncGenerator[ProgressMessage, None]:
        for message in self.messages:
            yield message
        if self.fails is not None:
            raise self.fails


async def _pieces(*parts: bytes) -> AsyncGenerator[bytes, None]:
    for part in parts:
        yield part
