# SPDX-License-Identifier: Apache-2.0
"""What a build is asked for, what it tells, and what it needs of the engine above it.

The engine's use case fulfils the protocols; this package starts no container and
keeps no image itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from toolkit.storage.layer import ChainId, Layer

Config = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How an image is to be built.

    Attributes:
        dockerfile: Path of the Dockerfile in the context.
        tags: Names that the image gets.
        build_args: None for one whose value is not given: it takes none.
        target: Name or number of the last stage; empty for all.
        network_mode: Of the steps' containers; empty is the engine's default.
        keeps_containers: Steps' containers stay when they have ended.
        logins: For registries, by their addresses, in the engine's own words.
        template: More of the steps' containers, in the engine's own words.
    """

    dockerfile: str = "Dockerfile"
    tags: tuple[str, ...] = ()
    build_args: dict[str, str | None] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    target: str = ""
    platform: str = ""
    network_mode: str = ""
    uses_cache: bool = True
    pulls: bool = False
    keeps_containers: bool = False
    quiet: bool = False
    logins: Mapping[str, Any] = field(default_factory=dict)
    template: Any = None


@dataclass(frozen=True, kw_only=True)
class Told:
    """One message of a build: a line for people, the id for programs, or a pull's own."""

    stream: str = ""
    image_id: str = ""
    progress: Any = None


class BuiltImage(Protocol):
    """An image as a build sees it."""

    @property
    def id(self) -> str:
        """``sha256:<hex>``."""

    @property
    def config(self) -> Config:
        """Docker's `Config` object."""

    @property
    def top(self) -> ChainId | None:
        """Its uppermost layer."""


@dataclass(frozen=True, kw_only=True)
class StepImage:
    """An image that a step makes.

    Attributes:
        parent: The image that the step began with; None from nothing.
        made_by: What the step did, for the history and the cache.
        layer: What it added; None for one that only says something.
    """

    parent: str | None
    config: Config
    made_by: str
    author: str = ""
    layer: Layer | None = None
    container_id: str = ""


@dataclass(frozen=True, kw_only=True)
class RunStep:
    """A program that a step runs.

    Attributes:
        image: Id of the image that it runs on.
        env: Beside what the image says.
    """

    image: str
    command: tuple[str, ...]
    env: tuple[str, ...] = ()
    options: BuildOptions


class StepContainer(Protocol):
    """The container of a step, created and not started."""

    @property
    def id(self) -> str:
        """Its id."""

    def run(self) -> AsyncIterator[str]:
        """Start it, and give what it writes until it ends."""

    async def exit_code(self) -> int:
        """Return how its program ended."""

    async def commit(self) -> Layer:
        """Return what it changed as a layer, held until the workshop's `settle`."""


class Workshop(Protocol):
    """What a build needs of the engine."""

    async def base(
        self, reference: str, options: BuildOptions, tell: Callable[[Told], Awaitable[None]]
    ) -> BuiltImage:
        """Return the image that a FROM names, fetched where it is not there.

        Raises:
            ImageNotFoundError: Nobody has it.
        """

    async def cached(self, step: StepImage, *, adds_layer: bool | None) -> BuiltImage | None:
        """Return an image that the same step made of the same image before.

        Args:
            step: Its layer is not known yet.
            adds_layer: None: it may or may not.
        """

    async def keep(self, step: StepImage) -> BuiltImage:
        """Make the image of a step; its layer may be settled afterwards."""

    def container(self, step: RunStep) -> AbstractAsyncContextManager[StepContainer]:
        """Give a step's container, which is gone after the block, whatever happened in it."""
