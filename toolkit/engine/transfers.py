# SPDX-License-Identifier: Apache-2.0
"""Images on their way: from and to registries, and as archives; told while it goes on.

What is refused before anything was told (an unknown image, a login) is raised
by the call; what fails later is raised by the progress that it returned.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Final

from toolkit.build.beside import beside
from toolkit.engine.feed import Feed
from toolkit.images.registry.credentials import NOBODY

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from toolkit.engine.context import EngineContext
    from toolkit.images.image import Image
    from toolkit.images.progress import ProgressMessage
    from toolkit.images.references import Reference
    from toolkit.images.registry.credentials import Credentials
    from toolkit.images.registry.registries import FoundRepository, RemoteImage

    Progress = AsyncGenerator[ProgressMessage, None]
    Listener = Callable[[ProgressMessage], None]

_MESSAGES_AHEAD: Final = 64


class TransferUseCases:
    """How an instance's images come and go.

    Each transfer has a thread of its own; a client that goes away ends it at the
    next thing that would be told.
    """

    def __init__(self, context: EngineContext) -> None:
        self._events = context.events
        self._loop = asyncio.get_running_loop()
        self._registries = context.parts.registries
        self._archives = context.parts.archives

    async def pull(
        self, reference: Reference, *, credentials: Credentials = NOBODY, platform: str = ""
    ) -> Progress:
        """Fetch an image; all tags of a repository, for a reference without tag and digest.

        Raises:
            RemoteImageNotFoundError: There is none, or it is not shown.
            RegistryError: The registry cannot be reached, or refuses the login.
        """
        every_tag = reference.tag is None and reference.digest is None

        def pull(listener: Listener) -> None:
            self._registries.pull(
                reference,
                listener,
                credentials=credentials,
                platform=platform,
                every_tag=every_tag,
            )
            self._tell("pull", reference.familiar, reference.familiar_name)

        return await self._begun(pull)

    async def push(self, reference: Reference, *, credentials: Credentials = NOBODY) -> Progress:
        """Send an image; all tags of a name, for a reference without tag.

        Raises:
            ImageNotFoundError: There is no such image here.
            InvalidReferenceError: It names a digest.
        """

        def push(listener: Listener) -> None:
            self._registries.push(reference, listener, credentials=credentials)
            self._tell("push", reference.familiar, reference.familiar_name)

        return await self._begun(push)

    async def load(self, stream: BinaryIO, *, quiet: bool = False) -> Progress:
        """Take over all images of an archive.

        Raises:
            UnsafeArchiveError: It is no archive, or asks for too much.
            InvalidImageError: It holds no image that can be used.
            WrongContentError: Something in it is not what its name says.
        """

        def load(listener: Listener) -> None:
            for image in self._archives.load(stream, listener, quiet=quiet):
                self._tell("load", image.id, _name_of(image))

        return await self._begun(load)

    async def save(self, names: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """Return images as one archive.

        Raises:
            ImageNotFoundError: One of them is not here.
        """

        def save(put: Callable[[bytes], None]) -> None:
            saved = self._archives.save(names)
            for chunk in saved.chunks():
                put(chunk)
            for image_id in saved.ids:
                self._tell("save", image_id, image_id)

        return await Feed(save).begin()

    async def log_in(self, credentials: Credentials) -> str:
        """Find out whether a login is good; return docker's word for it.

        Raises:
            RegistryAuthError: It is not.
            RegistryError: The registry cannot be reached.
        """
        return await beside(partial(self._registries.log_in, credentials))

    async def look(self, reference: Reference, *, credentials: Credentials = NOBODY) -> RemoteImage:
        """Return what a registry has under a name.

        Raises:
            RemoteImageNotFoundError: Nothing.
            RegistryError: The registry cannot be reached.
        """
        return await beside(partial(self._registries.look, reference, credentials=credentials))

    async def search(
        self, term: str, *, limit: int, credentials: Credentials = NOBODY
    ) -> list[FoundRepository]:
        """Return the repositories that a registry finds for a term.

        Raises:
            RegistryError: The registry cannot be reached, or cannot search.
        """
        return await beside(
            partial(self._registries.search, term, limit=limit, credentials=credentials)
        )

    async def _begun(self, act: Callable[[Listener], None]) -> Progress:
        return await Feed(act, ahead=_MESSAGES_AHEAD).begin()

    def _tell(self, action: str, subject: str, name: str) -> None:
        """Publish an event, from a transfer's thread."""
        self._loop.call_soon_threadsafe(
            self._events.publish, "image", action, subject, {"name": name}
        )


def _name_of(image: Image) -> str:
    return image.references[0] if image.references else image.id
