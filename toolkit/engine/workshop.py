# SPDX-License-Identifier: Apache-2.0
"""What `toolkit.build` needs of an engine: base images, steps' images, and their containers.

A step's container is one of this engine's own, marked as a build's: whatever ends
the build removes it, an engine that comes after a crash too.
"""

from __future__ import annotations

import asyncio
import codecs
import json
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, cast

from toolkit.build.beside import beside
from toolkit.build.ports import Told
from toolkit.engine.commit import derived_document
from toolkit.engine.model import ContainerSpec, HealthCheck
from toolkit.errors import ImageNotFoundError
from toolkit.images.image import ImageId, is_image_id
from toolkit.images.references import Reference
from toolkit.images.registry.credentials import NOBODY

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


@dataclass(frozen=True)
class Workshop:
    """Images and containers of this engine, as a build uses them.

    Attributes:
        context: Of the engine.
        images: Its images.
        transfers: How base images come.
        create: Makes a container.
    """

    context: EngineContext
    images: ImageUseCases
    transfers: TransferUseCases
    create: Create

    async def base(self, reference: str, options: BuildOptions, tell: Tell) -> Image:
        """Return a base image; fetch it where it is not here, or asked for."""
        if not options.pulls or is_image_id(reference):
            try:
                return await self.images.inspect(reference)
            except ImageNotFoundError:
                if is_image_id(reference):
                    raise
        name = Reference.parse(reference).with_default_tag()
        messages = await self.transfers.pull(
            name, credentials=_login(options, name), platform=options.platform
        )
        async with aclosing(messages):
            async for message in messages:
                await tell(Told(progress=message))
        return await self.images.inspect(reference)

    async def cached(self, step: StepImage, *, adds_layer: bool | None) -> Image | None:
        """Return the newest image that is the same step on the same image."""
        return await self.context.on_host(self._find_twin, step, adds_layer)

    def _find_twin(self, step: StepImage, adds_layer: bool | None) -> Image | None:  # noqa: FBT001
        for image in self.context.parts.images.list():
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
        return await self.context.on_host(self._keep, step)

    def _keep(self, step: StepImage) -> Image:
        images = self.context.parts.images
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
            yield _StepContainer(self.context, container)
        except BaseException as error:
            if not keeps or isinstance(error, asyncio.CancelledError):
                await container.remove(force=True, volumes=True)
            raise
        if not keeps:
            await container.remove(force=True, volumes=True)

    async def _created(self, spec: ContainerSpec) -> Container:
        """Create a container; one that comes when nobody waits any more is removed."""
        creation = asyncio.ensure_future(self.create(spec))
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
