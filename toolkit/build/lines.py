# SPDX-License-Identifier: Apache-2.0
"""From a Dockerfile's text to its logical lines: directives, comments, continuations, heredocs.

Pure, and linear in the text's length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from toolkit.build.words import WordError, expand_word, split_words
from toolkit.errors import DockerfileError

_DIRECTIVE: Final = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*", re.ASCII)
_DIRECTIVES: Final = frozenset({"escape", "syntax", "check"})
_HEREDOC: Final = re.compile(r"(\d*)<<(-?)([^<]+)", re.ASCII)
_WITH_HEREDOCS: Final = frozenset({"ADD", "COPY", "RUN"})
_MOST_HEREDOCS: Final = 100


@dataclass(frozen=True)
class Heredoc:
    """A file whose content stands in the Dockerfile.

    Attributes:
        mark: As it stands in the line: ``<<EOF``.
        expands: Variables in it are replaced: its name was not quoted.
    """

    mark: str
    name: str
    content: str
    expands: bool


@dataclass(frozen=True)
class Line:
    """One instruction's text, continuations joined.

    Attributes:
        number: Of its first line in the file, from 1.
    """

    number: int
    text: str
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True)
class Source:
    """A Dockerfile as lines.

    Attributes:
        escape: The character that escapes and continues: a backslash or a back-tick.
    """

    escape: str
    lines: tuple[Line, ...]


def read_lines(text: str) -> Source:
    """Return a Dockerfile's logical lines.

    Raises:
        DockerfileError: A directive is wrong, or a heredoc is not closed.
    """
    raw = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    escape, begin = _read_directives(raw)
    reader = _Reader(raw, begin, escape)
    return Source(escape, tuple(reader.lines()))


def _read_directives(raw: list[str]) -> tuple[str, int]:
    """Return the escape character, and how many lines were directives."""
    seen: dict[str, str] = {}
    for number, line in enumerate(raw):
        found = _DIRECTIVE.fullmatch(line.strip())
        name = found.group(1).lower() if found else ""
        if found is None or name not in _DIRECTIVES:
            break
        if name in seen:
            raise DockerfileError(f"only one {name} parser directive can be used", number + 1)
        seen[name] = found.group(2)
    escape = seen.get("escape", "\\")
    if escape not in {"\\", "`"}:
        raise DockerfileError(f"invalid escape token {escape[:20]!r} does not match ` or \\", 1)
    return escape, len(seen)


class _Reader:
    """Goes through the raw lines once."""

    def __init__(self, raw: list[str], begin: int, escape: str) -> None:
        self._raw = raw
        self._at = begin
        self._escape = escape

    def lines(self) -> list[Line]:
        """Return every instruction's line."""
        found = []
        while self._at < len(self._raw):
            number = self._at + 1
            text = self._joined()
            if text:
                found.append(Line(number, text, self._heredocs(text, number)))
        return found

    def _joined(self) -> str:
        """Return the next line with those that continue it; empty for a comment or nothing."""
        parts: list[str] = []
        while self._at < len(self._raw):
            line = self._raw[self._at]
            self._at += 1
            stripped = line.strip()
            if not stripped or stripped.startswith("#"):
                if parts:
                    continue  # within a continued line they are left out
                return ""
            text, continues = self._without_continuation(line if parts else line.lstrip())
            parts.append(text)
            if not continues:
                break
        return "".join(parts).strip()

    def _without_continuation(self, line: str) -> tuple[str, bool]:
        text = line.rstrip(" \t\r")
        if text.endswith(self._escape) and not text.endswith(self._escape * 2):
            return text[:-1], True
        return line, False

    def _heredocs(self, text: str, number: int) -> tuple[Heredoc, ...]:
        word, _, rest = text.partition(" ")
        if "<<" not in rest or word.upper() not in _WITH_HEREDOCS or rest.lstrip().startswith("["):
            return ()
        found: list[Heredoc] = []
        for mark in split_words(rest, escape=self._escape):
            match = _HEREDOC.fullmatch(mark)
            if match is None:
                continue
            if len(found) == _MOST_HEREDOCS:
                raise DockerfileError(f"more than {_MOST_HEREDOCS} heredocs", number)
            found.append(self._read_heredoc(mark, match, number))
        return tuple(found)

    def _read_heredoc(self, mark: str, match: re.Match[str], number: int) -> Heredoc:
        _, dash, quoted = match.groups()
        try:
            name = expand_word(quoted, {}, escape=self._escape)
        except WordError as error:
            raise DockerfileError(str(error), number) from None
        content: list[str] = []
        while self._at < len(self._raw):
            line = self._raw[self._at]
            self._at += 1
            if dash:
                line = line.lstrip("\t")
            if line.rstrip("\r") == name:
                text = "".join(f"{one}\n" for one in content)
                return Heredoc(mark, name, text, expands=name == quoted)
            content.append(line)
        raise DockerfileError(f"unterminated heredoc {name[:80]!r}", number)
