# SPDX-License-Identifier: Apache-2.0
"""What a ``.dockerignore`` leaves out of a build context, by docker's rules.

Pure, standard library only: the command line packs a context with it, and the
engine asks it about the Dockerfile itself. The patterns are those of Go's
``filepath.Match`` with ``**`` for any number of directories; the last pattern
that fits decides, ``!`` takes back. No pattern takes longer than its length
times the path's, whoever wrote it.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FILE_NAME: Final = ".dockerignore"
LONGEST_PATTERN: Final = 4096
_WILD: Final = frozenset("*?[\\")
_ANY_DEPTH: Final = "**"


class BadPatternError(ValueError):
    """A text is not a pattern."""


def has_wildcard(text: str) -> bool:
    """Tell whether a path is a pattern rather than a name."""
    return not _WILD.isdisjoint(text)


def compile_glob(pattern: str) -> re.Pattern[str]:
    """Return the expression for one name: ``*``, ``?``, ``[a-z]``, ``[^a]``, a backslash.

    Raises:
        BadPatternError: A class is not closed, or nothing follows a backslash.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise BadPatternError(f"syntax error in pattern: longer than {LONGEST_PATTERN} characters")
    pieces = [""]  # between stars
    at = 0
    while at < len(pattern):
        if pattern[at] == "*":
            pieces.append("")
            at += 1
            continue
        text, at = _next_part(pattern, at)
        pieces[-1] += text
    head, *rest = pieces
    if not rest:
        return re.compile(head, re.DOTALL)
    # The first place where a piece fits is as good as any: nothing has to be tried again.
    middle = "".join(f"(?>.*?{piece})" for piece in rest[:-1] if piece)
    return re.compile(f"{head}{middle}.*{rest[-1]}", re.DOTALL)


def _next_part(pattern: str, at: int) -> tuple[str, int]:
    """Return the expression for what stands at a place, and the place behind it."""
    character = pattern[at]
    if character == "?":
        return ".", at + 1
    if character == "[":
        return _class(pattern, at)
    if character == "\\":
        at += 1
        if at == len(pattern):
            raise BadPatternError(f"syntax error in pattern {pattern[:80]!r}")
    return re.escape(pattern[at]), at + 1


def _class(pattern: str, at: int) -> tuple[str, int]:
    start = at + 1
    negated = pattern[start : start + 1] == "^"
    start += negated
    found: list[str] = []
    while pattern[start : start + 1] not in {"", "]"} or not found:
        low, start = _class_member(pattern, start)
        high = low
        if pattern[start : start + 1] == "-":
            high, start = _class_member(pattern, start + 1)
        if low > high:
            raise BadPatternError(f"syntax error in pattern {pattern[:80]!r}")
        found.append(f"{re.escape(low)}-{re.escape(high)}")
    if pattern[start : start + 1] != "]":
        raise BadPatternError(f"syntax error in pattern {pattern[:80]!r}")
    return f"[{'^' if negated else ''}{''.join(found)}]", start + 1


def _class_member(pattern: str, at: int) -> tuple[str, int]:
    at += pattern[at : at + 1] == "\\"
    if at >= len(pattern) or (pattern[at] in "-]" and pattern[at - 1 : at] != "\\"):
        raise BadPatternError(f"syntax error in pattern {pattern[:80]!r}")
    return pattern[at], at + 1


@dataclass(frozen=True)
class _Rule:
    """One pattern, name by name; None is ``**``."""

    hides: bool
    names: tuple[re.Pattern[str] | str | None, ...]

    def fits(self, parts: Sequence[str]) -> bool:
        """Tell whether the pattern fits a path or a directory that it is in."""
        last = len(self.names)
        states = self._closed({0})
        for part in parts:
            reached: set[int] = set()
            for state in states:
                name = self.names[state]
                if name is None:
                    reached |= {state, state + 1} if state + 1 == last else {state}
                elif name == part if isinstance(name, str) else name.fullmatch(part):
                    reached.add(state + 1)
            states = self._closed(reached)
            if last in states:
                return True
            if not states:
                return False
        return False

    def _closed(self, states: set[int]) -> set[int]:
        """Add what is reached because ``**/`` may stand for nothing."""
        for state in sorted(states):
            at = state
            while at + 1 < len(self.names) and self.names[at] is None:
                at += 1
                states.add(at)
        return states


class IgnoreRules:
    """The rules of one file.

    Args:
        lines: As they stand in the file, comments taken away.

    Raises:
        BadPatternError: One is not a pattern.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules: list[_Rule] = []
        for line in lines:
            self._add(line)
        self.has_exceptions = any(not rule.hides for rule in self._rules)

    @classmethod
    def parse(cls, text: str) -> IgnoreRules:
        """Return the rules of a file's text."""
        lines = text.removeprefix("\ufeff").splitlines()
        return cls(line for line in lines if not line.startswith("#"))

    def _add(self, line: str) -> None:
        pattern = line.strip()
        hides = not pattern.startswith("!")
        if not hides:
            pattern = pattern[1:].strip()
            if not pattern:
                raise BadPatternError('illegal exclusion pattern: "!"')
        if not pattern:
            return
        pattern = posixpath.normpath(pattern).lstrip("/")
        if pattern not in {"", "."}:
            self._rules.append(_Rule(hides, tuple(_names(pattern))))

    def hides(self, path: str) -> bool:
        """Tell whether a path, or a directory that it is in, is left out.

        Args:
            path: Below the context's root, without a leading slash.
        """
        parts = path.split("/")
        hidden = False
        for rule in self._rules:
            if rule.hides != hidden and rule.fits(parts):
                hidden = rule.hides
        return hidden


def _names(pattern: str) -> Iterator[re.Pattern[str] | str | None]:
    if len(pattern) > LONGEST_PATTERN:
        raise BadPatternError(f"syntax error in pattern: longer than {LONGEST_PATTERN} characters")
    for name in pattern.split("/"):
        if name.startswith(_ANY_DEPTH):  # **.c is **/*.c
            yield None
            name = name.lstrip("*")  # noqa: PLW2901 - the rest of it
            if not name:
                continue
            name = f"*{name}"  # noqa: PLW2901
        yield compile_glob(name) if has_wildcard(name) else name
