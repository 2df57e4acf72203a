# SPDX-License-Identifier: Apache-2.0
"""Building images: the use case around `toolkit.build`, and what its cache leaves."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from toolkit.build.beside import beside
from toolkit.build.builder import Bench, Build
from toolkit.build.context import BuildContext, new_context
from toolkit.build.dockerfile import parse_dockerfile
from toolkit.build.ports import Told
from toolkit.errors import ImageInUseError, ImageNotFoundError, ToolkitError
from toolkit.images.store import machine_architecture, taggable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from toolkit.build.ports import BuildOptions
    from toolkit.engine.workshop import Workshop
    from toolkit.images.image import Image
    from toolkit.storage.layers import LayerStore

    Tell = Callable[[Told], Awaitable[None]]

_QUIET_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class PrunedBuilds:
    """What a prune of the build cache took away."""

    image_ids: tuple[str, ...]
    freed_bytes: int


class BuildUseCases:
    """The builds of an instance."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._context = workshop.context
        self._images = workshop.images

    async def build(self, options: BuildOptions, stream: BinaryIO, tell: Tell) -> Image:
        """Build an image; a build that is cancelled leaves nothing.

        What is wrong with the Dockerfile's form is raised before anything is told.

        Raises:
            InvalidReferenceError: A name cannot be given to an image.
            DockerfileError: The Dockerfile's form is wrong.
            UnsafeArchiveError: The context is no archive, or one that must not be unpacked.
            ToolkitError: A step failed.
        """
        names = [taggable(tag).familiar for tag in options.tags]
        directory = self._context.instance.builds_dir
        context = await beside(lambda: new_context(directory), undo=BuildContext.remove)
        try:
            await beside(lambda: context.receive(stream))
            if options.quiet:
                image = await self._build_quietly(context, options, tell)
            else:
                image = await self._build(context, options, tell)
        finally:
            await beside(context.remove)
        await tell(Told(image_id=image.id))
        line = f"{image.id}\n" if options.quiet else f"Successfully built {_short(image.id)}\n"
        await tell(Told(stream=line))
        for name in dict.fromkeys(names):
            await self._images.tag(image.id, name)
            if not options.quiet:
                await tell(Told(stream=f"Successfully tagged {name}\n"))
        return image

    async def _build(self, context: BuildContext, options: BuildOptions, tell: Tell) -> Image:
        text = await beside(lambda: context.read_dockerfile(options.dockerfile))
        dockerfile = parse_dockerfile(text)
        dockerfile.up_to(options.target)
        bench = Bench(
            workshop=self._workshop,
            layers=cast("LayerStore", self._context.parts.layers),
            context=context,
            platform=f"linux/{machine_architecture()}",
            tell=tell,
        )
        built = await Build(bench, dockerfile, options).run()
        return await self._images.inspect(built.id)

    async def _build_quietly(
        self, context: BuildContext, options: BuildOptions, tell: Tell
    ) -> Image:
        """Build, and tell the last lines only if it fails."""
        lines: deque[Told] = deque()
        size = 0

        async def keep(told: Told) -> None:
            nonlocal size
            lines.append(told)
            size += len(told.stream)
            while size > _QUIET_BYTES:
                size -= len(lines.popleft().stream)

        try:
            return await self._build(context, options, keep)
        except ToolkitError:
            for told in lines:
                await tell(told)
            raise

    async def prune(self) -> PrunedBuilds:
        """Remove the images without a name that builds made and nothing stands on."""
        removed: list[str] = []
        freed = 0
        for image in await self._images.list():
            if image.references or image.digests or image.parent is None:
                continue
            try:
                gone = await self._images.remove(image.id, force=False, noprune=False)
            except (ImageInUseError, ImageNotFoundError):
                continue
            removed += [one.deleted for one in gone if one.deleted]
            freed += image.layer_bytes[-1] if image.layer_bytes else 0
        return PrunedBuilds(tuple(removed), freed)


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]
