# SPDX-License-Identifier: Apache-2.0
"""One build: its stages and steps in order, each an image on the one before.

A step whose twin was done before on the same image is not done again. What is
told and in which words is docker's (api-and-cli 3.10): clients read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from toolkit.build.beside import beside
from toolkit.build.copying import change_tree, make_working_dir
from toolkit.build.dockerfile import parse_trigger
from toolkit.build.gathering import gathered_order
from toolkit.build.instructions import Instruction
from toolkit.build.ports import RunStep, StepImage, Told
from toolkit.build.sources import LayerTree
from toolkit.build.stage import (
    PREDEFINED_ARGS,
    SAYINGS,
    StageState,
    declare_args,
    program_of,
    set_working_dir,
)
from toolkit.errors import InvalidRequestError, ToolkitError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from toolkit.build.context import BuildContext
    from toolkit.build.dockerfile import Dockerfile, Stage
    from toolkit.build.ports import BuildOptions, BuiltImage, Workshop
    from toolkit.storage.layer import ChainId, Layer
    from toolkit.storage.layers import LayerStore

_SHORT: Final = 12
_SCRATCH: Final = "scratch"


class StepFailedError(ToolkitError):
    """A program of a build ended with another code than 0.

    Attributes:
        code: That code.
    """

    def __init__(self, command: str, code: int) -> None:
        super().__init__(f"The command '{command}' returned a non-zero code: {code}")
        self.code = code


class NothingBuiltError(ToolkitError):
    """A build has ended without an image."""

    def __init__(self) -> None:
        super().__init__("No image was generated. Is your Dockerfile empty?")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a build works with.

    Attributes:
        layers: Where layers are made; settled by the build.
        platform: Of this machine, as ``linux/amd64``.
        tell: Is told each message.
    """

    workshop: Workshop
    layers: LayerStore
    context: BuildContext
    platform: str
    tell: Callable[[Told], Awaitable[None]]


@dataclass
class Build:
    """One build.

    Attributes:
        stages: The images of the stages that are done, by number and by name.
    """

    bench: Bench
    dockerfile: Dockerfile
    options: BuildOptions
    stages: dict[str, BuiltImage] = field(default_factory=dict)
    _trees: dict[str, LayerTree] = field(default_factory=dict)
    _step: int = 0
    _steps: int = 0

    async def run(self) -> BuiltImage:
        """Build; return the last stage's image.

        Raises:
            StepFailedError: A program failed.
            ToolkitError: Something else did.
        """
        try:
            return await self._run_stages()
        finally:
            for tree in self._trees.values():
                tree.close()

    async def _run_stages(self) -> BuiltImage:
        stages = self.dockerfile.up_to(self.options.target)
        labels = self._labels()
        self._steps = len(self.dockerfile.args) + len(labels)
        self._steps += sum(1 + len(stage.steps) for stage in stages)
        heads = StageState(
            given=self.options.build_args,
            args=_platform_args(self.bench.platform),
            escape=self.dockerfile.escape,
        )
        for one in self.dockerfile.args:
            await self._announce(one)
            declare_args(heads, one)
        image: BuiltImage | None = None
        for number, stage in enumerate(stages):
            last = labels if number == len(stages) - 1 else ()
            image = await self._run_stage(number, stage, heads, last)
        await self._warn_unused(heads)
        if image is None:
            raise NothingBuiltError
        return image

    def _labels(self) -> tuple[Instruction, ...]:
        """Return the labels that the build was asked with, as its last step."""
        if not self.options.labels:
            return ()
        pairs = tuple((_quoted(key), _quoted(value)) for key, value in self.options.labels.items())
        text = "LABEL " + " ".join(f"{key}={value}" for key, value in pairs)
        return (Instruction("LABEL", text, 0, pairs=pairs),)

    async def _run_stage(
        self, number: int, stage: Stage, heads: StageState, last: tuple[Instruction, ...]
    ) -> BuiltImage | None:
        state = StageState(
            given=self.options.build_args,
            global_args=heads.args,
            consumed=heads.consumed,
            escape=self.dockerfile.escape,
        )
        await self._announce(stage.start)
        name = heads.expand(stage.base)
        platform = heads.expand(stage.start.flags.get("platform", ""))
        image = await self._begin(state, name, platform)
        for one in (*stage.steps, *last):
            await self._announce(one)
            image = await self._do(state, one, image)
        if image is not None:
            self.stages[str(number)] = image
            if stage.name:
                self.stages[stage.name] = image
        return image

    async def _begin(self, state: StageState, name: str, platform: str) -> BuiltImage | None:
        """Begin a stage on its base; do what the base wants of its heirs."""
        if not name:
            raise InvalidRequestError("base name should not be blank: FROM leads to nothing")
        image: BuiltImage | None = None
        if name.lower() in self.stages:
            image = self.stages[name.lower()]
        elif name != _SCRATCH:
            options = replace(self.options, platform=platform or self.options.platform)
            image = await self.bench.workshop.base(name, options, self.bench.tell)
        triggers = state.begin(image.config if image else {}, image.id if image else None)
        await self._say(f" ---> {_short(image.id) if image else ''}\n")
        if triggers:
            plural = "s" if len(triggers) > 1 else ""
            await self._say(f"# Executing {len(triggers)} build trigger{plural}\n")
        for text in triggers:
            one = parse_trigger(text)
            image = await self._do(state, one, image)
        return image

    async def _do(
        self, state: StageState, one: Instruction, image: BuiltImage | None
    ) -> BuiltImage:
        """Do one instruction; return the image that it makes."""
        top = image.top if image else None
        if one.word == "RUN":
            return await self._do_run(state, one)
        if one.word in {"ADD", "COPY"}:
            order = await gathered_order(self.bench, state, one, self._tree_of)
            made_by = _nop(order.made_by, gap=" ")
            return await self._make(
                state, made_by, adds_layer=True, act=self._changing(top, order.write)
            )
        if one.word == "WORKDIR":
            made_by = _nop(set_working_dir(state, one))
            path = state.working_dir
            act = self._changing(top, lambda root_fd: make_working_dir(root_fd, path), may_be=False)
            return await self._make(state, made_by, adds_layer=None, act=act)
        return await self._make(state, _nop(SAYINGS[one.word](state, one)), adds_layer=False)

    async def _tree_of(self, name: str) -> LayerTree:
        """Return the tree of an earlier stage, or of an image; it stays open as long as the build.

        Raises:
            InvalidRequestError: There is no such stage so far.
            ImageNotFoundError: There is no such image.
        """
        image = self.stages.get(name.lower())
        if image is None and name.isdecimal():
            raise InvalidRequestError(f"invalid from flag value {name[:80]}: no such stage so far")
        if image is None:
            image = await self.bench.workshop.base(name, self.options, self.bench.tell)
        if image.top is None:
            raise InvalidRequestError(f"there is no file in {name[:80]}")
        if image.id not in self._trees:
            self._trees[image.id] = LayerTree.open(self.bench.layers, image.top)
        return self._trees[image.id]

    def _changing(
        self, top: ChainId | None, act: Callable[[int], None], *, may_be: bool = True
    ) -> Callable[[], Awaitable[Layer | None]]:
        async def change() -> Layer | None:
            layers = self.bench.layers
            return await beside(
                lambda: change_tree(layers, top, act, may_be_empty=may_be), undo=self._settle
            )

        return change

    async def _make(
        self,
        state: StageState,
        made_by: str,
        *,
        adds_layer: bool | None,
        act: Callable[[], Awaitable[Layer | None]] | None = None,
    ) -> BuiltImage:
        """Return the image of a step that was done before, or do it."""
        step = StepImage(
            parent=state.image_id, config=state.config, made_by=made_by, author=state.author
        )
        image = await self._cached(step, adds_layer=adds_layer)
        if image is None:
            layer = await act() if act else None
            image = await self._keep(replace(step, layer=layer))
        return await self._done(state, image)

    async def _do_run(self, state: StageState, one: Instruction) -> BuiltImage:
        command = _run_command(state, one)
        args = state.run_args()
        head = f"|{len(args)} {' '.join(args)} " if args else ""
        step = StepImage(
            parent=state.image_id,
            config=state.config,
            made_by=head + " ".join(command),
            author=state.author,
        )
        image = await self._cached(step, adds_layer=True)
        if image is not None:
            return await self._done(state, image)
        if state.image_id is None:
            raise InvalidRequestError("there is no program to RUN in an empty image")
        run = RunStep(
            image=state.image_id,
            command=tuple(command),
            env=(*args, *state.proxy_args()),
            options=self.options,
        )
        async with self.bench.workshop.container(run) as container:
            await self._say(f" ---> Running in {_short(container.id)}\n")
            async for text in container.run():
                await self._say(text)
            code = await container.exit_code()
            if code:
                raise StepFailedError(" ".join(command), code)
            layer = await container.commit()
            image = await self._keep(replace(step, layer=layer, container_id=container.id))
        if not self.options.keeps_containers:
            await self._say(f" ---> Removed intermediate container {_short(container.id)}\n")
        return await self._done(state, image)

    async def _cached(self, step: StepImage, *, adds_layer: bool | None) -> BuiltImage | None:
        if not self.options.uses_cache:
            return None
        image = await self.bench.workshop.cached(step, adds_layer=adds_layer)
        if image is not None:
            await self._say(" ---> Using cache\n")
        return image

    async def _keep(self, step: StepImage) -> BuiltImage:
        try:
            return await self.bench.workshop.keep(step)
        finally:
            self._settle(step.layer)

    def _settle(self, layer: Layer | None) -> None:
        """Say that a layer is referred to by now, or is not wanted."""
        if layer is not None:
            self.bench.layers.settle(layer.chain_id)

    async def _done(self, state: StageState, image: BuiltImage) -> BuiltImage:
        state.image_id = image.id
        await self._say(f" ---> {_short(image.id)}\n")
        return image

    async def _announce(self, one: Instruction) -> None:
        self._step += 1
        await self._say(f"Step {self._step}/{self._steps} : {one.text}")
        await self._say("\n")

    async def _warn_unused(self, heads: StageState) -> None:
        unused = sorted(set(self.options.build_args) - heads.consumed - PREDEFINED_ARGS)
        if unused:
            names = " ".join(unused)
            await self._say(f"[Warning] One or more build-args [{names}] were not consumed\n")

    async def _say(self, text: str) -> None:
        await self.bench.tell(Told(stream=text))


def _platform_args(platform: str) -> dict[str, str]:
    """Return the ARGs that say for which machine a build is: always this one."""
    system, _, architecture = platform.partition("/")
    return {
        f"{of}{name}": value
        for of in ("BUILD", "TARGET")
        for name, value in (("PLATFORM", platform), ("OS", system), ("ARCH", architecture))
    }


def _run_command(state: StageState, one: Instruction) -> list[str]:
    """Return what a RUN runs; a heredoc is the shell's own, or the whole script."""
    if not one.heredocs:
        return program_of(state, one)
    first, *others = one.heredocs
    if one.rest == first.mark and not others:
        return [*state.shell, first.content]
    text = one.words[0] + "\n"
    text += "".join(f"{here.content}{here.name}\n" for here in one.heredocs)
    return [*state.shell, text]


def _nop(text: str, gap: str = "  ") -> str:
    """Return what the history says of a step that runs nothing."""
    return f"/bin/sh -c #(nop){gap}{text}"


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:_SHORT]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"
