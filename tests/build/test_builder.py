# SPDX-License-Identifier: Apache-2.0
"""A build on fakes: what is told, what is cached, what a step is given."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.build.builder import Bench, Build, StepFailedError
from toolkit.build.context import BuildContext
from toolkit.build.dockerfile import parse_dockerfile
from toolkit.build.ports import BuildOptions, Told
from toolkit.errors import ImageNotFoundError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from toolkit.build.ports import RunStep, StepImage
    from toolkit.storage.layer import Layer


@dataclass
class FakeImage:
    id: str
    config: dict[str, Any]
    top: Any = None
    made_by: str = ""
    parent: str | None = None


@dataclass
class FakeContainer:
    step: RunStep
    code: int
    id: str = "c" * 64

    async def run(self) -> AsyncIterator[str]:
        yield "output\n"

    async def exit_code(self) -> int:
        return self.code

    async def commit(self) -> Layer:
        return None  # type: ignore[return-value]  # nothing to settle


@dataclass
class FakeWorkshop:
    """Keeps images in a dictionary; a program's exit code is what its last word says."""

    bases: dict[str, FakeImage] = field(default_factory=dict)
    kept: list[FakeImage] = field(default_factory=list)
    ran: list[RunStep] = field(default_factory=list)
    open_containers: int = 0

    async def base(self, reference: str, options: BuildOptions, tell: Any) -> FakeImage:
        del options, tell
        try:
            return self.bases[reference]
        except KeyError:
            raise ImageNotFoundError(reference) from None

    async def cached(self, step: StepImage, *, adds_layer: bool | None) -> FakeImage | None:
        del adds_layer
        for image in self.kept:
            if (image.parent, image.made_by) == (step.parent, step.made_by):
                return image
        return None

    async def keep(self, step: StepImage) -> FakeImage:
        text = f"{step.parent} {step.made_by} {len(self.kept)}"
        image = FakeImage(
            id="sha256:" + hashlib.sha256(text.encode()).hexdigest(),
            config=dict(step.config),
            made_by=step.made_by,
            parent=step.parent,
        )
        self.kept.append(image)
        return image

    @asynccontextmanager
    async def container(self, step: RunStep) -> AsyncIterator[FakeContainer]:
        self.ran.append(step)
        self.open_containers += 1
        try:
            last = step.command[-1].split()[-1]
            yield FakeContainer(step, int(last) if last.isdecimal() else 0)
        finally:
            self.open_containers -= 1


BASE = FakeImage("sha256:" + "b" * 64, {"Env": ["PATH=/bin"], "Cmd": ["sh"]})


class World:
    """Builds texts, and keeps what was told."""

    def __init__(self, place: Path) -> None:
        self.shop = FakeWorkshop({"base": BASE})
        self.place = place
        self.told: list[str] = []

    def build(self, text: str, **options: Any) -> FakeImage:
        self.told.clear()

        async def tell(told: Told) -> None:
            self.told.append(told.stream)

        bench = Bench(
            workshop=self.shop,
            layers=None,  # type: ignore[arg-type]  # no step here makes a layer
            context=BuildContext(self.place),
            platform="linux/amd64",
            tell=tell,
        )
        build = Build(bench, parse_dockerfile(text), BuildOptions(**options))
        return asyncio.run(build.run())  # type: ignore[return-value]  # the workshop's own

    @property
    def text(self) -> str:
        return "".join(self.told)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_is_told_is_docker_s(world: World) -> None:
    image = world.build("FROM base\nENV A=1\nRUN echo hi\n")
    env, run = (one.id[7:19] for one in world.shop.kept)
    assert world.told == [
        "Step 1/3 : FROM base", "\n", f" ---> {'b' * 12}\n",
        "Step 2/3 : ENV A=1", "\n", f" ---> {env}\n",
        "Step 3/3 : RUN echo hi", "\n", f" ---> Running in {'c' * 12}\n", "output\n",
        f" ---> Removed intermediate container {'c' * 12}\n", f" ---> {run}\n",
    ]  # fmt: skip
    assert image.made_by == "/bin/sh -c echo hi"


def test_the_same_again_comes_from_the_cache_unless_asked_otherwise(world: World) -> None:
    """API-063 and API-064 on fakes."""
    text = "FROM base\nMAINTAINER me\nRUN x\nLABEL a=b"
    first = world.build(text)
    assert world.build(text).id == first.id
    assert world.text.count("---> Using cache") == 3
    assert world.build(text, uses_cache=False).id != first.id
    assert len(world.shop.ran) == 2


def test_a_build_arg_is_part_of_a_step_and_a_proxy_is_not(world: World) -> None:
    text = "FROM base\nARG A=1\nRUN x"
    world.build(text, build_args={"HTTP_PROXY": "p"})
    assert world.shop.ran[0].env == ("A=1", "HTTP_PROXY=p")
    assert world.shop.kept[-1].made_by == "|1 A=1 /bin/sh -c x"
    world.build(text)
    assert len(world.shop.ran) == 1
    world.build(text, build_args={"A": "2", "Z": "3"})
    assert len(world.shop.ran) == 2
    assert "[Warning] One or more build-args [Z] were not consumed\n" in world.told


def test_a_failing_program_ends_the_build_with_its_code(world: World) -> None:
    """API-068 on fakes."""
    with pytest.raises(StepFailedError) as failed:
        world.build("FROM base\nRUN exit 23\nRUN x")
    assert failed.value.code == 23
    assert str(failed.value) == "The command '/bin/sh -c exit 23' returned a non-zero code: 23"
    assert (len(world.shop.ran), world.shop.open_containers) == (1, 0)


def test_stages_begin_on_stages_and_a_target_ends_early(world: World) -> None:
    text = "ARG V=base\nFROM $V AS One\nENV A=1\nFROM one\nENV B=$A\nFROM base\nENV C=1"
    assert world.build(text, target="1").config["Env"] == ["PATH=/bin", "A=1", "B=1"]
    assert "Step 5/5" in world.text
    assert world.build(text).config["Env"] == ["PATH=/bin", "C=1"]


def test_labels_asked_for_are_the_last_step(world: World) -> None:
    image = world.build("FROM base", labels={"a b": "it's $HOME", "c": '"'})
    assert image.config["Labels"] == {"a b": "it's $HOME", "c": '"'}
    assert "Step 2/2 : LABEL" in world.text


def test_triggers_of_the_base_come_first_and_only_once(world: World) -> None:
    base = world.build("FROM base\nONBUILD ENV A=1\nONBUILD RUN y")
    world.shop.bases["heir"] = base
    image = world.build("FROM heir\nENV B=$A")
    assert "# Executing 2 build triggers\n" in world.told
    assert image.config["Env"][1:] == ["A=1", "B=1"]
    assert "OnBuild" not in image.config
    assert [run.command[-1] for run in world.shop.ran] == ["y"]


def test_heredocs_are_the_script_or_what_the_shell_makes_of_them(world: World) -> None:
    world.build("FROM base\nRUN <<EOF\na\nb\nEOF\nRUN cat <<X | sh\n$a\nX\n")
    assert [run.command for run in world.shop.ran] == [
        ("/bin/sh", "-c", "a\nb\n"),
        ("/bin/sh", "-c", "cat <<X | sh\n$a\nX\n"),
    ]


def test_the_machine_s_platform_is_known(world: World) -> None:
    text = "FROM --platform=$BUILDPLATFORM base\nARG TARGETARCH\nENV A=$TARGETARCH"
    assert world.build(text).config["Env"][-1] == "A=amd64"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM none", "No such image: none"),
        ("FROM $NONE", "should not be blank"),
        ("FROM scratch\nRUN x", "no program"),
        ("FROM base\nCOPY --from=3 a b", "no such stage"),
        ("FROM base\nEXPOSE x", "Invalid containerPort"),
    ],
)
def test_what_cannot_be_is_said(world: World, text: str, message: str) -> None:
    with pytest.raises((ImageNotFoundError, InvalidRequestError), match=message):
        world.build(text)
