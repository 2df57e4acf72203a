# SPDX-License-Identifier: Apache-2.0
"""Words of a Dockerfile: quotes, escapes and variables, as docker's shell lexer reads them.

Pure and linear in what it reads and writes. A result has a limit: ``ENV A=$A$A``
forty times over would otherwise be a terabyte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from toolkit.dockerignore import BadPatternError, compile_glob
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_RESULT: Final = 128 * 1024  # what execve(2) takes as one argument or variable
_DEEPEST: Final = 50
_LONGEST_TRIMMED: Final = 4096
_SPECIAL: Final = frozenset("@*#?-$!")
_SPACE: Final = frozenset(" \t\r\n\v\f")


class WordError(InvalidRequestError):
    """A word's quotes or variables are wrong."""


def expand_word(text: str, variables: Mapping[str, str], *, escape: str = "\\") -> str:
    """Return a text with variables replaced and quotes taken away, as one word.

    Raises:
        WordError: A quote or brace is not closed, or a variable is asked for that is not set.
    """
    lexer = _Lexer(text, variables, escape)
    return lexer.read("")


def expand_words(text: str, variables: Mapping[str, str], *, escape: str = "\\") -> list[str]:
    """Return a text's words, split also at the spaces that a variable brings along.

    Raises:
        WordError: As for `expand_word`.
    """
    lexer = _Lexer(text, variables, escape)
    lexer.read("")
    return lexer.finished_words()


def split_words(text: str, *, escape: str = "\\") -> list[str]:
    """Return a text's words as they stand there, quotes and escapes included.

    A quote that is not closed reaches to the end.
    """
    words: list[str] = []
    start, at, quote = -1, 0, ""
    while at < len(text):
        character = text[at]
        if start < 0 and character not in _SPACE:
            start = at
        if character == escape and quote != "'":
            at += 1
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _SPACE and start >= 0:
            words.append(text[start:at])
            start = -1
        at += 1
    if start >= 0:
        words.append(text[start:])
    return words


class _Lexer:
    """Reads one text once."""

    def __init__(self, text: str, variables: Mapping[str, str], escape: str) -> None:
        self._text = text
        self._variables = variables
        self._escape = escape
        self._at = 0
        self._depth = 0
        self._size = 0
        self._words: list[str] = []
        self._word: list[str] = []
        self._in_word = False

    def finished_words(self) -> list[str]:
        """Return the words, once all is read."""
        self._end_word()
        return self._words

    def read(self, stop: str) -> str:
        """Return what stands up to a character, or to the end for none."""
        result: list[str] = []
        is_outer = not stop
        while (character := self._peek()) != stop:
            if not character:
                raise WordError(f"unexpected end of statement while looking for matching {stop}")
            if character in "'\"":
                piece = self._single_quoted() if character == "'" else self._double_quoted()
                self._add_quoted(piece, is_outer=is_outer)
            elif character == "$":
                piece = self._dollar()
                self._add_split(piece, is_outer=is_outer)
            else:
                piece = self._plain(is_outer=is_outer)
            result.append(piece)
        self._at += len(stop)
        return "".join(result)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._peek()
        self._at += 1
        return character

    def _plain(self, *, is_outer: bool) -> str:
        """Return one character, or the run of them that means nothing special."""
        if self._peek() == self._escape:
            self._at += 1
            piece = self._next()
            self._add_quoted(piece, is_outer=is_outer)
            return piece
        piece = self._next()
        self._add_split(piece, is_outer=is_outer)
        return piece

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise WordError("unexpected end of statement while looking for matching single-quote")
        piece = self._text[self._at + 1 : end]
        self._at = end + 1
        return piece

    def _double_quoted(self) -> str:
        self._at += 1
        result: list[str] = []
        while (character := self._peek()) != '"':
            if not character:
                raise WordError(
                    "unexpected end of statement while looking for matching double-quote"
                )
            if character == "$":
                result.append(self._dollar())
                continue
            self._at += 1
            if character == self._escape and self._peek() in {'"', "$", self._escape}:
                character = self._next()
            result.append(character)
        self._at += 1
        return "".join(result)

    def _dollar(self) -> str:
        self._at += 1
        if self._peek() != "{":
            name = self._name()
            return self._counted(self._variables.get(name, "")) if name else "$"
        self._at += 1
        self._depth += 1
        if self._depth > _DEEPEST:
            raise WordError(f"variables are nested more than {_DEEPEST} deep")
        name = self._name()
        if not name:
            raise WordError("syntax error: bad substitution")
        value = self._braced(name)
        self._depth -= 1
        return self._counted(value)

    def _braced(self, name: str) -> str:
        value = self._variables.get(name)
        modifier = self._next()
        if modifier == "}":
            return value or ""
        if modifier in {"#", "%"}:
            return self._trimmed(modifier, value or "")
        is_missing = value is None
        if modifier == ":":
            modifier = self._next()
            is_missing = not value
        if modifier not in {"-", "+", "?"}:
            if not modifier:
                raise WordError("syntax error: missing '}'")
            raise WordError(f"unsupported modifier ({modifier}) in substitution")
        word = self.read("}")
        if modifier == "-":
            return word if is_missing else value or ""
        if modifier == "+":
            return "" if is_missing else word
        if is_missing:
            raise WordError(f"{name}: {word or 'not allowed to be unset'}")
        return value or ""

    def _trimmed(self, modifier: str, value: str) -> str:
        """Return a value without what a pattern fits at its beginning or end."""
        is_greedy = self._peek() == modifier
        self._at += is_greedy
        try:
            pattern = compile_glob(self.read("}"))
        except BadPatternError as error:
            raise WordError(str(error)) from None
        if len(value) > _LONGEST_TRIMMED:
            raise WordError(f"a value of more than {_LONGEST_TRIMMED} characters is not trimmed")
        edges = range(len(value) + 1)
        # The shortest cut first: of a beginning from the left, of an end from the right.
        for edge in edges if (modifier == "#") is not is_greedy else reversed(edges):
            cut, kept = value[:edge], value[edge:]
            if modifier == "%":
                cut, kept = kept, cut
            if pattern.fullmatch(cut):
                return kept
        return value

    def _name(self) -> str:
        start = self._at
        first = self._peek()
        if first in _SPECIAL and first:
            self._at += 1
        elif first.isdecimal():
            while self._peek().isdecimal():
                self._at += 1
        else:
            while (character := self._peek()) and (character.isalnum() or character == "_"):
                self._at += 1
        return self._text[start : self._at]

    def _counted(self, value: str) -> str:
        self._size += len(value)
        if self._size > LONGEST_RESULT:
            raise WordError(f"what variables stand for is longer than {LONGEST_RESULT} characters")
        return value

    def _add_quoted(self, piece: str, *, is_outer: bool) -> None:
        if is_outer:
            self._word.append(piece)
            self._in_word = True

    def _add_split(self, piece: str, *, is_outer: bool) -> None:
        if not is_outer:
            return
        for character in piece:
            if character in _SPACE:
                self._end_word()
            else:
                self._word.append(character)
                self._in_word = True

    def _end_word(self) -> None:
        if self._in_word:
            self._words.append("".join(self._word))
        self._word, self._in_word = [], False
