# SPDX-License-Identifier: Apache-2.0
"""Building images: what `toolkit.build` needs of an engine, and the use case around it.

A step's container is one of this engine's own, marked as a build's: whatever ends
the build removes it, an engine that comes after a crash too.
"""

from __future__ import annotations

import asyncio
import codecs
import json
from collections import deque
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from toolkit.build.beside import beside
from toolkit.build.builder import Bench, Build
from toolkit.build.context import BuildContext, new_context
from toolkit.build.dockerfile import parse_dockerfile
from toolkit.build.ports import Told
from toolkit.engine.commit import derived_document
from toolkit.engine.model import ContainerSpec, HealthCheck
from toolkit.errors import ImageInUseError, ImageNotFoundError, ToolkitError
from toolkit.images.image import ImageId, is_image_id
from toolkit.images.references import Reference
from toolkit.images.registry.credentials import NOBODY
from toolkit.images.store import machine_architecture, taggable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from toolkit.build.ports import BuildOptions, RunStep, StepImage
    from toolkit.engine.container import Container
    from toolkit.engine.context import EngineContext
    from toolkit.engine.images import ImageUseCases
    from toolkit.engine.transfers import TransferUseCases
    from toolkit.images.image import Image
    from toolkit.images.registry.credentials import Credentials
    from toolkit.storage.layer import Layer
    from toolkit.storage.layers import LayerStore

    Create = Callable[[ContainerSpec], Awaitable[tuple[Container, list[str]]]]
    Tell = Callable[[Told], Awaitable[None]]

_HUB: Final = "docker.io"
_HUB_LOGIN: Final = "https://index.docker.io/v1/"
_QUIET_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class PrunedBuilds:
    """What a prune of the build cache took away."""

    image_ids: tuple[str, ...]
    freed_bytes: int


class BuildUseCases:
    """The builds of an instance.

    Args:
        context: Of the engine.
        images: Its images.
        transfers: How base images come.
        create: Makes a container.
    """

    def __init__(
        self,
        context: EngineContext,
        *,
        images: ImageUseCases,
        transfers: TransferUseCases,
        create: Create,
    ) -> None:
        self._context = context
        self._images = images
        self._workshop = _Workshop(context, images, transfers, create)

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


class _Workshop:
    """Images and containers of this engine, as a build uses them."""

    def __init__(
        self,
        context: EngineContext,
        images: ImageUseCases,
        transfers: TransferUseCases,
        create: Create,
    ) -> None:
        self._context = context
        self._images = images
        self._transfers = transfers
        self._create = create

    async def base(self, reference: str, options: BuildOptions, tell: Tell) -> Image:
        """Return a base image; fetch it where it is not here, or asked for."""
        if not options.pulls or is_image_id(reference):
            try:
                return await self._images.inspect(reference)
            except ImageNotFoundError:
                if is_image_id(reference):
                    raise
        name = Reference.parse(reference).with_default_tag()
        messages = await self._transfers.pull(
            name, credentials=_login(options, name), platform=options.platform
        )
        async with aclosing(messages):
            async for message in messages:
                await tell(Told(progress=message))
        return await self._images.inspect(reference)

    async def cached(self, step: StepImage, *, adds_layer: bool | None) -> Image | None:
        """Return the newest image that is the same step on the same image."""
        return await self._context.on_host(self._find_twin, step, adds_layer)

    def _find_twin(self, step: StepImage, adds_layer: bool | None) -> Image | None:  # noqa: FBT001
        for image in self._context.parts.images.list():
            last = image.history[-1] if image.history else {}
            if (
                image.parent == step.parent
                and last.get("created_by") == step.made_by
                and adds_layer in {None, not last.get("empty_layer")}
                and image.config == step.config
                and image.author == step.author
            ):
                return image
        return None

    async def keep(self, step: StepImage) -> Image:
        """Make the image of a step."""
        return await self._context.on_host(self._keep, step)

    def _keep(self, step: StepImage) -> Image:
        images = self._context.parts.images
        parent = ImageId(step.parent) if step.parent else None
        document = derived_document(
            json.loads(images.document(parent)) if parent else {},
            config=step.config,
            made_by=step.made_by,
            diff_id=step.layer.diff_id if step.layer else "",
            author=step.author,
            container_id=step.container_id,
        )
        return images.create(document, parent=parent)

    @asynccontextmanager
    async def container(self, step: RunStep) -> AsyncIterator[_StepContainer]:
        """Give a step's container; it is removed unless the build keeps those."""
        keeps = step.options.keeps_containers
        container = await self._created(_spec(step, is_kept=keeps))
        try:
            yield _StepContainer(self._context, container)
        except BaseException as error:
            if not keeps or isinstance(error, asyncio.CancelledError):
                await container.remove(force=True, volumes=True)
            raise
        if not keeps:
            await container.remove(force=True, volumes=True)

    async def _created(self, spec: ContainerSpec) -> Container:
        """Create a container; one that comes when nobody waits any more is removed."""
        creation = asyncio.ensure_future(self._create(spec))
        try:
            container, _ = await asyncio.shield(creation)
        except asyncio.CancelledError:
            container, _ = await creation
            await container.remove(force=True, volumes=True)
            raise
        return container


def _login(options: BuildOptions, name: Reference) -> Credentials:
    """Return the login for a name's registry; docker's own is known by its old address."""
    domain = name.name.partition("/")[0]
    for address in (domain, _HUB_LOGIN if domain == _HUB else f"https://{domain}"):
        if address in options.logins:
            return cast("Credentials", options.logins[address])
    return NOBODY


def _spec(step: RunStep, *, is_kept: bool) -> ContainerSpec:
    template = step.options.template or ContainerSpec(image="")
    return replace(
        template,
        image=step.image,
        entrypoint=("",),
        command=step.command,
        env=step.env,
        health=HealthCheck(test=("NONE",)),
        host=replace(
            template.host,
            network_mode=step.options.network_mode or "default",
            is_build_step=not is_kept,
        ),
    )


class _StepContainer:
    """The container of a step."""

    def __init__(self, context: EngineContext, container: Container) -> None:
        self._context = context
        self._container = container
        self.id: str = container.record.id

    async def run(self) -> AsyncIterator[str]:
        """Start it, and give what it writes, of both streams, until it ends."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        await self._container.start()
        async for entry in self._container.logs(follow=True):
            if text := decoder.decode(entry.data):
                yield text

    async def exit_code(self) -> int:
        """Return how its program ended."""
        return (await self._container.wait()).exit_code

    async def commit(self) -> Layer:
        """Return what it changed as a layer that is held."""
        layers = cast("LayerStore", self._context.parts.layers)
        return await beside(
            lambda: layers.commit(self.id), undo=lambda layer: layers.settle(layer.chain_id)
        )
