# SPDX-License-Identifier: Apache-2.0
"""The part of Go's templates that people use with ``--format``. Pure.

Fields (``.A.B``), ``json``, ``index``, ``len``, ``upper``, ``lower``, ``join`` and
parentheses. Anything else is refused by name, never guessed at.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TOKEN = re.compile(
    r'\s*(?:(?P<field>(?:\.[\w-]+)+|\.)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>-?\d+)'
    r"|(?P<name>[A-Za-z]\w*(?=[\s()]|$))|(?P<sign>[()]))"
)


class TemplateError(InvalidRequestError):
    """A template cannot be understood."""


class MissingFieldError(InvalidRequestError):
    """A template names something that the document does not have."""


class Template:
    """A text with ``{{ }}`` in it, ready to be filled."""

    def __init__(self, text: str) -> None:
        self._parts: list[str | Callable[[Any], Any]] = []
        rest = text
        while rest:
            literal, opening, rest = rest.partition("{{")
            self._parts.append(literal)
            if opening:
                action, closing, rest = rest.partition("}}")
                if not closing:
                    raise TemplateError(f"template parsing error: unclosed action in {text!r}")
                self._parts.append(_Parser(action.strip("- ")).parse())

    def render(self, document: Any) -> str:
        """Return the text for a document.

        Raises:
            MissingFieldError: A field does not exist.
        """
        return "".join(
            part if isinstance(part, str) else as_go_text(part(document)) for part in self._parts
        )


class _Parser:
    """Recursive descent over one action."""

    def __init__(self, action: str) -> None:
        self._action = action
        self._tokens = list(self._split(action))
        self._at = 0

    def _split(self, action: str) -> list[tuple[str, str]]:
        tokens = []
        position = 0
        while position < len(action):
            match = _TOKEN.match(action, position)
            if not match or match.lastgroup is None:
                raise self._error(action[position:].strip())
            tokens.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()
        return tokens

    def _error(self, at: str) -> TemplateError:
        return TemplateError(
            f"template parsing error: {at!r} in {{{{{self._action}}}}} is not known"
        )

    def parse(self) -> Callable[[Any], Any]:
        """Return the whole action as a function of the document."""
        expression = self._pipeline()
        if self._at < len(self._tokens):
            raise self._error(self._tokens[self._at][1])
        return expression

    def _pipeline(self) -> Callable[[Any], Any]:
        if self._at >= len(self._tokens):
            raise self._error("")
        kind, text = self._tokens[self._at]
        if kind != "name":
            return self._term()
        function = _FUNCTIONS.get(text)
        if function is None:
            raise self._error(text)
        self._at += 1
        arguments = []
        while self._at < len(self._tokens) and self._tokens[self._at][1] != ")":
            arguments.append(self._term())
        return lambda document: _call(function, text, [term(document) for term in arguments])

    def _term(self) -> Callable[[Any], Any]:
        if self._at >= len(self._tokens):
            raise self._error("")
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind == "field":
            names = [name for name in text.split(".") if name]
            return lambda document: follow(document, names)
        if kind == "text":
            constant = json.loads(text)
            return lambda _document: constant
        if kind == "number":
            number = int(text)
            return lambda _document: number
        if text == "(":
            return self._group()
        raise self._error(text)

    def _group(self) -> Callable[[Any], Any]:
        inner = self._pipeline()
        if self._at >= len(self._tokens) or self._tokens[self._at][1] != ")":
            raise self._error("(")
        self._at += 1
        if self._at < len(self._tokens) and self._tokens[self._at][0] == "field":
            names = [name for name in self._tokens[self._at][1].split(".") if name]
            self._at += 1
            return lambda document: follow(inner(document), names)
        return inner


def follow(value: Any, names: Sequence[str]) -> Any:
    """Return a field of a field of a value.

    Raises:
        MissingFieldError: One is not there.
    """
    for name in names:
        if not isinstance(value, dict) or name not in value:
            raise MissingFieldError(f"template: there is no field {name!r}")
        value = value[name]
    return value


def _call(function: Callable[..., Any], name: str, arguments: list[Any]) -> Any:
    try:
        return function(*arguments)
    except (TypeError, ValueError) as error:
        raise MissingFieldError(f"template: {name}: {error}") from error


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "")
        elif isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            raise MissingFieldError(f"template: index {key!r} is not there")
    return value


def _join(values: Sequence[Any], separator: str) -> str:
    return separator.join(str(value) for value in values)


_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "index": _index,
    "join": _join,
    "json": lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
    "len": len,
    "lower": lambda text: str(text).lower(),
    "upper": lambda text: str(text).upper(),
}


def as_go_text(value: Any) -> str:
    """Return a value as Go prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        pairs = (f"{key}:{as_go_text(value[key])}" for key in sorted(value))
        return f"map[{' '.join(pairs)}]"
    if isinstance(value, list):
        return f"[{' '.join(as_go_text(one) for one in value)}]"
    return str(value)
