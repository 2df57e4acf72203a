# SPDX-License-Identifier: Apache-2.0
"""What can be done with images, beside the event loop, and told to who listens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO

from toolkit.build.beside import beside
from toolkit.build.fetch import fetch_file
from toolkit.images.removal import ImageUser
from toolkit.runtime.lifecycle import RUNNING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.engine.context import EngineContext
    from toolkit.images.image import Image, ImageId


@dataclass(frozen=True, kw_only=True)
class RemovedImage:
    """One thing that a removal took away; one of the two is empty.

    Attributes:
        untagged: A familiar name.
        deleted: Id of an image or a layer.
    """

    untagged: str = ""
    deleted: str = ""


class ImageUseCases:
    """The images of an instance."""

    def __init__(self, context: EngineContext) -> None:
        self._context = context
        self._store = context.parts.images

    async def list(self) -> list[Image]:
        """Return all images, newest first."""
        return await self._context.on_host(self._store.list)

    async def inspect(self, text: str) -> Image:
        """Return the image of a reference, an id, or the beginning of one.

        Raises:
            ImageNotFoundError: There is none.
        """
        return await self._context.on_host(self._store.resolve, text)

    async def import_(
        self,
        stream: BinaryIO,
        *,
        reference: str | None = None,
        config: dict[str, Any] | None = None,
        message: str = "",
    ) -> Image:
        """Make an image of a file system's archive.

        Raises:
            UnsafeArchiveError: The archive is none, or would leave its root.
            InvalidReferenceError: The name cannot be given to an image.
        """
        work = partial(
            self._store.import_tar, stream, reference=reference, config=config, message=message
        )
        image = await self._context.whole(beside(work))
        self._tell("import", image.id, reference or image.id)
        return image

    async def import_url(
        self, url: str, *, reference: str | None, config: dict[str, Any], message: str
    ) -> Image:
        """Make an image of an archive that is fetched; ``http`` without a scheme (rule 3.6).

        Raises:
            FetchError: It cannot be had.
            UnsafeArchiveError: It is no archive, or would leave its root.
            InvalidReferenceError: The name cannot be given to an image.
        """
        full = url if "://" in url else f"http://{url}"

        def fetch_and_import() -> Image:
            with TemporaryDirectory(dir=self._context.instance.builds_dir) as directory:
                fetched = fetch_file(full, Path(directory))
                with (Path(directory) / fetched.name).open("rb") as stream:
                    return self._store.import_tar(
                        stream, reference=reference, config=config, message=message
                    )

        image = await self._context.whole(beside(fetch_and_import))
        self._tell("import", image.id, reference or image.id)
        return image

    async def tag(self, text: str, reference: str) -> None:
        """Give an image one more name.

        Raises:
            ImageNotFoundError: There is no such image.
            InvalidReferenceError: The name cannot be given to an image.
        """
        image = await self.inspect(text)
        await self._context.whole(self._context.on_host(self._store.tag, image.id, reference))
        self._tell("tag", image.id, reference)

    async def remove(
        self, text: str, *, force: bool = False, noprune: bool = False
    ) -> Sequence[RemovedImage]:
        """Take a name away, or an image with all of its names.

        Raises:
            ImageNotFoundError: There is no such image.
            ImageInUseError: A container or another image stands on it.
        """
        users = self._users()
        work = partial(
            self._store.remove,
            text,
            force=force,
            noprune=noprune,
            users=lambda image_id: users.get(image_id, ()),
        )
        removed = await self._context.whole(beside(work))
        found = []
        for thing in removed:
            if thing.image_id is not None:
                action = "untag" if thing.action == "untagged" else "delete"
                self._tell(action, thing.image_id, thing.name)
            found.append(
                RemovedImage(untagged=thing.name)
                if thing.action == "untagged"
                else RemovedImage(deleted=thing.name)
            )
        return found

    def _users(self) -> dict[str, Sequence[ImageUser]]:
        """Return the containers of each image, as they are now."""
        users: dict[str, list[ImageUser]] = {}
        for container in self._context.index.newest_first():
            record = container.record
            user = ImageUser(container_id=record.id, is_running=record.state.status in RUNNING)
            users.setdefault(record.image_id, []).append(user)
        return dict(users)

    def _tell(self, action: str, image_id: ImageId, name: str) -> None:
        self._context.events.publish("image", action, image_id, {"name": name})
