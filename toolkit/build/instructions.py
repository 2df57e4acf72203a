# SPDX-License-Identifier: Apache-2.0
"""One instruction of a Dockerfile: its word, flags and arguments, checked for form.

Instructions are looked up in a table, never by reflection (row S-66). Variables
are still in the arguments: what they stand for is known only during the build.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from toolkit.build.lines import Line
from toolkit.build.words import split_words
from toolkit.errors import DockerfileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolkit.build.lines import Heredoc

Pair = tuple[str, str]

_FLAG: Final = re.compile(r"--([a-z][a-z-]*)(?:=(.*))?", re.DOTALL)


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        word: In capitals.
        text: The whole line as it stands in the file, continuations joined.
        number: Of its line.
        flags: ``--name=value``, each once.
        words: Arguments; in the shell form one text.
        pairs: Of ENV and LABEL.
        is_json: The arguments were a JSON list (the exec form).
    """

    word: str
    text: str
    number: int
    flags: dict[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()
    is_json: bool = False
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def rest(self) -> str:
        """What stands behind the word."""
        return self.text[len(self.word) :].strip()


@dataclass(frozen=True)
class _Arguments:
    words: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()
    is_json: bool = False


@dataclass(frozen=True)
class _Form:
    """How an instruction's arguments are read, and how many there have to be."""

    read: Callable[[str, str], _Arguments]
    flags: frozenset[str] = frozenset()
    least: int = 1
    most: int | None = None


def parse_instruction(line: Line, *, escape: str = "\\") -> Instruction:
    """Return the instruction of a line.

    Raises:
        DockerfileError: There is no such instruction, or its form is wrong.
    """
    try:
        return _parsed(line, escape)
    except _FormError as error:
        raise DockerfileError(str(error), line.number) from None


class _FormError(Exception):
    """An instruction's form is wrong; its line is added where it is known."""


def _parsed(line: Line, escape: str) -> Instruction:
    first = line.text.split(maxsplit=1)[0]
    rest = line.text[len(first) :].strip()
    word = first.upper() if first.isascii() else first
    form = FORMS.get(word)
    if form is None:
        raise _FormError(f"unknown instruction: {first[:80]}")
    flags, rest = _read_flags(word, rest, form.flags)
    if not rest:
        raise _FormError(f"{word} requires at least one argument")
    if "\0" in rest:
        raise _FormError(f"{word} holds a NUL character")
    arguments = form.read(rest, escape)
    count = len(arguments.words) or len(arguments.pairs)
    if count < form.least:
        few = "at least two arguments" if form.least > 1 else "at least one argument"
        raise _FormError(f"{word} requires {few}")
    if form.most is not None and count > form.most:
        raise _FormError(f"{word} requires exactly one argument")
    return Instruction(
        word=word,
        text=line.text,
        number=line.number,
        flags=flags,
        words=arguments.words,
        pairs=arguments.pairs,
        is_json=arguments.is_json,
        heredocs=line.heredocs,
    )


def _read_flags(word: str, rest: str, known: frozenset[str]) -> tuple[dict[str, str], str]:
    """Return the flags, and what stands behind them."""
    flags: dict[str, str] = {}
    while rest.startswith("--"):
        text = rest.split(maxsplit=1)[0]
        rest = rest[len(text) :].strip()
        if text == "--":
            break
        match = _FLAG.fullmatch(text)
        name = match.group(1) if match else text
        if match is None or name not in known:
            if name in _BUILDKIT_ONLY:
                raise _FormError(
                    f"the --{name} option requires BuildKit, which this engine does not have"
                )
            raise _FormError(f"unknown flag: {text[:80]} of {word}")
        if name in flags:
            raise _FormError(f"duplicate flag specified: --{name}")
        flags[name] = match.group(2) or ""
    return flags, rest


def json_words(text: str) -> tuple[str, ...] | None:
    """Return a JSON list of texts, or None if it is none."""
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return None
    if any("\0" in word for word in words):
        raise _FormError("the exec form holds a NUL character")
    return tuple(words)


def _line(rest: str, escape: str) -> _Arguments:
    """Read one text."""
    del escape
    return _Arguments((rest,))


def _program(rest: str, escape: str) -> _Arguments:
    """Read a JSON list, or a line for the shell."""
    del escape
    words = json_words(rest)
    return _Arguments((rest,)) if words is None else _Arguments(words, is_json=True)


def _list(rest: str, escape: str) -> _Arguments:
    """Read a JSON list, or words between spaces."""
    del escape
    words = json_words(rest)
    return _Arguments(tuple(rest.split())) if words is None else _Arguments(words, is_json=True)


def _words(rest: str, escape: str) -> _Arguments:
    return _Arguments(tuple(split_words(rest, escape=escape)))


def _shell(rest: str, escape: str) -> _Arguments:
    del escape
    words = json_words(rest)
    if words is None:
        raise _FormError("SHELL requires the arguments to be in JSON form")
    return _Arguments(words, is_json=True)


def _pairs(rest: str, escape: str) -> _Arguments:
    """Read ``K=V K2="a b"``; the old form ``K V`` is one pair."""
    words = split_words(rest, escape=escape)
    if "=" not in words[0]:
        key, _, value = rest.partition(" ")
        key = rest.split(maxsplit=1)[0]
        value = rest[len(key) :].strip()
        if not value:
            raise _FormError("it must have two arguments")
        return _Arguments(pairs=((key, value),))
    pairs = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise _FormError(
                f"Syntax error - can't find = in {word[:80]!r}. Must be of the form: name=value"
            )
        if not key:
            raise _FormError("names can not be blank")
        pairs.append((key, value))
    return _Arguments(pairs=tuple(pairs))


def _trigger(rest: str, escape: str) -> _Arguments:
    """Read an instruction for later; it has to be one."""
    trigger = _parsed(Line(0, rest), escape)
    if trigger.word == "ONBUILD":
        raise _FormError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger.word in {"FROM", "MAINTAINER"}:
        raise _FormError(f"{trigger.word} isn't allowed as an ONBUILD trigger")
    return _Arguments((rest,))


def _health(rest: str, escape: str) -> _Arguments:
    """Read ``NONE``, or ``CMD`` and a program."""
    kind = rest.split(maxsplit=1)[0]
    command = rest[len(kind) :].strip()
    if kind.upper() == "NONE":
        if command:
            raise _FormError("HEALTHCHECK NONE takes no arguments")
        return _Arguments(("NONE",))
    if kind.upper() != "CMD":
        raise _FormError(f'Unknown type "{kind[:80]}" in HEALTHCHECK (try CMD)')
    if not command:
        raise _FormError("Missing command after HEALTHCHECK CMD")
    program = _program(command, escape)
    return _Arguments((("CMD" if program.is_json else "CMD-SHELL"), *program.words))


_BUILDKIT_ONLY: Final = frozenset({"mount", "network", "security", "device", "link", "parents",
                                   "exclude", "checksum", "keep-git-dir", "unpack"})  # fmt: skip
_HEALTH_FLAGS: Final = frozenset(
    {"interval", "timeout", "start-period", "start-interval", "retries"}
)
_COPY_FLAGS: Final = frozenset({"chown", "chmod", "from"})

FORMS: Final[dict[str, _Form]] = {
    "ADD": _Form(_list, _COPY_FLAGS - {"from"}, least=2),
    "ARG": _Form(_words),
    "CMD": _Form(_program, least=0),
    "COPY": _Form(_list, _COPY_FLAGS, least=2),
    "ENTRYPOINT": _Form(_program, least=0),
    "ENV": _Form(_pairs),
    "EXPOSE": _Form(_words),
    "FROM": _Form(_words, frozenset({"platform"})),
    "HEALTHCHECK": _Form(_health, _HEALTH_FLAGS),
    "LABEL": _Form(_pairs),
    "MAINTAINER": _Form(_line),
    "ONBUILD": _Form(_trigger),
    "RUN": _Form(_program),
    "SHELL": _Form(_shell),
    "STOPSIGNAL": _Form(_line),
    "USER": _Form(_line),
    "VOLUME": _Form(_list),
    "WORKDIR": _Form(_line),
}
