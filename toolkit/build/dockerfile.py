# SPDX-License-Identifier: Apache-2.0
"""A whole Dockerfile: what stands before the first FROM, and its stages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from toolkit.build.instructions import Instruction, parse_instruction
from toolkit.build.lines import Line, read_lines
from toolkit.errors import DockerfileError, InvalidRequestError

_STAGE_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]*", re.ASCII)
_WORDS_WITH_NAME: Final = 3


@dataclass(frozen=True)
class Stage:
    """One FROM and what follows it.

    Attributes:
        base: As it stands there, variables included.
        name: In small letters; empty without ``AS``.
    """

    start: Instruction
    base: str
    name: str
    steps: tuple[Instruction, ...]


@dataclass(frozen=True)
class Dockerfile:
    """A Dockerfile whose form is right.

    Attributes:
        escape: The character that escapes.
        args: The ARG instructions before the first FROM.
    """

    escape: str
    args: tuple[Instruction, ...]
    stages: tuple[Stage, ...]

    def up_to(self, target: str) -> tuple[Stage, ...]:
        """Return the stages that building a target takes; all for none.

        Raises:
            InvalidRequestError: There is no such stage.
        """
        if not target:
            return self.stages
        for number, stage in enumerate(self.stages):
            if target.lower() == stage.name or target == str(number):
                return self.stages[: number + 1]
        raise InvalidRequestError(f"failed to reach build target {target[:80]} in Dockerfile")


def parse_dockerfile(text: str) -> Dockerfile:
    """Return what a Dockerfile says.

    Raises:
        DockerfileError: Something in it is wrong; the line is named.
    """
    source = read_lines(text)
    instructions = [parse_instruction(line, escape=source.escape) for line in source.lines]
    if not instructions:
        raise DockerfileError("the Dockerfile cannot be empty", 0)
    starts = [at for at, one in enumerate(instructions) if one.word == "FROM"]
    head = instructions[: starts[0]] if starts else instructions
    for one in head:
        if one.word != "ARG":
            raise DockerfileError("no build stage in current context: FROM has to come first",
                                  one.number)  # fmt: skip
    if not starts:
        raise DockerfileError("no build stage in current context: there is no FROM", head[0].number)
    ends = [*starts[1:], len(instructions)]
    stages = tuple(
        _stage(instructions[begin], tuple(instructions[begin + 1 : end]))
        for begin, end in zip(starts, ends, strict=True)
    )
    return Dockerfile(source.escape, tuple(head), stages)


def parse_trigger(text: str) -> Instruction:
    """Return the instruction of an image's ONBUILD trigger.

    Raises:
        DockerfileError: It is none, or none that may be a trigger.
    """
    line = Line(0, text.strip())
    if not line.text:
        raise DockerfileError("an ONBUILD trigger of the image is empty", 0)
    parse_instruction(Line(0, f"ONBUILD {line.text}"))
    return parse_instruction(line)


def _stage(start: Instruction, steps: tuple[Instruction, ...]) -> Stage:
    words = start.words
    name = ""
    if len(words) == _WORDS_WITH_NAME and words[1].upper() == "AS":
        name = words[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            raise DockerfileError(f"invalid name for build stage: {name[:80]!r}, name can't start "
                                  "with a number or contain symbols", start.number)  # fmt: skip
    elif len(words) != 1:
        raise DockerfileError("FROM requires either one or three arguments", start.number)
    return Stage(start, words[0], name, steps)
