# SPDX-License-Identifier: Apache-2.0
"""What stands between the braces of Go's templates: one value. Pure.

Fields (``.A.B``), variables (``$name``, ``$`` for the document), functions, pipes and
parentheses. Anything else is refused by name, never guessed at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOKEN = re.compile(
    r'\s*(?:(?P<field>(?:\.[\w-]+)+|\.)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>-?\d+)'
    r"|(?P<variable>\$\w*)|(?P<name>[A-Za-z]\w*(?=[\s()|]|$))|(?P<sign>[()|]))",
    re.ASCII,
)


class TemplateError(InvalidRequestError):
    """A template cannot be understood."""


class MissingFieldError(InvalidRequestError):
    """A template names something that the document does not have."""


@dataclass(frozen=True)
class Scope:
    """What a template sees at one place: the dot, the whole document, and its variables."""

    dot: Any
    root: Any
    variables: Mapping[str, Any] = field(default_factory=dict)

    def at(self, dot: Any, **variables: Any) -> Scope:
        """Return the scope of a block."""
        return Scope(dot, self.root, {**self.variables, **variables})


Expression = Callable[[Scope], Any]


def parse_expression(action: str) -> Expression:
    """Return what one action means.

    Raises:
        TemplateError: It is not understood.
    """
    return _Parser(action).parse()


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

    def _next_is(self, *signs: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at][1] in signs

    def parse(self) -> Expression:
        """Return the whole action as a function of the scope."""
        expression = self._pipeline()
        if self._at < len(self._tokens):
            raise self._error(self._tokens[self._at][1])
        return expression

    def _pipeline(self) -> Expression:
        expression = self._command(None)
        while self._next_is("|"):
            self._at += 1
            expression = self._command(expression)
        return expression

    def _command(self, piped: Expression | None) -> Expression:
        """Return a call or a value; what is piped into a call is its last argument."""
        if self._at >= len(self._tokens):
            raise self._error("")
        kind, text = self._tokens[self._at]
        function = FUNCTIONS.get(text) if kind == "name" else None
        if function is None:
            if piped is not None or (kind == "name" and text not in _CONSTANTS):
                raise self._error(text)
            return self._term()
        self._at += 1
        arguments = []
        while self._at < len(self._tokens) and not self._next_is(")", "|"):
            arguments.append(self._term())
        if piped is not None:
            arguments.append(piped)
        return lambda scope: _call(function, text, [term(scope) for term in arguments])

    def _term(self) -> Expression:
        if self._at >= len(self._tokens):
            raise self._error("")
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind == "field":
            names = _names(text)
            return lambda scope: follow(scope.dot, names)
        if kind == "variable":
            return self._with_fields(_variable(text))
        if text == "(":
            return self._group()
        return self._constant(kind, text)

    def _constant(self, kind: str, text: str) -> Expression:
        if kind == "text":
            try:
                constant = json.loads(text)
            except ValueError:
                raise self._error(text) from None
        elif kind == "number":
            constant = int(text)
        elif text in _CONSTANTS:
            constant = _CONSTANTS[text]
        else:
            raise self._error(text)
        return lambda _scope: constant

    def _group(self) -> Expression:
        inner = self._pipeline()
        if not self._next_is(")"):
            raise self._error("(")
        self._at += 1
        return self._with_fields(inner)

    def _with_fields(self, inner: Expression) -> Expression:
        """Return a value, or the fields of it that stand right behind it."""
        if self._at >= len(self._tokens) or self._tokens[self._at][0] != "field":
            return inner
        names = _names(self._tokens[self._at][1])
        if not names:
            return inner
        self._at += 1
        return lambda scope: follow(inner(scope), names)


def _names(text: str) -> list[str]:
    return [name for name in text.split(".") if name]


def _variable(text: str) -> Expression:
    name = text[1:]

    def value(scope: Scope) -> Any:
        if not name:
            return scope.root
        if name not in scope.variables:
            raise MissingFieldError(f"template: there is no variable {text}")
        return scope.variables[name]

    return value


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


def is_true(value: Any) -> bool:
    """Return what Go takes for true: not null, false, 0, or empty."""
    return bool(value)


def _and(first: Any, *rest: Any) -> Any:
    return next((value for value in (first, *rest) if not is_true(value)), (first, *rest)[-1])


def _or(first: Any, *rest: Any) -> Any:
    return next((value for value in (first, *rest) if is_true(value)), (first, *rest)[-1])


def _printf(form: str, *values: Any) -> str:
    """Return a text with ``%s``, ``%v``, ``%d`` and ``%q`` filled in."""
    rest = iter(values)

    def fill(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        value = next(rest, None)
        return json.dumps(str(value)) if match[1] == "q" else as_go_text(value)

    return _VERB.sub(fill, form)


def _println(*values: Any) -> str:
    return " ".join(as_go_text(value) for value in values) + "\n"


_VERB: Final = re.compile(r"%(?:%|([svdq]))")
_CONSTANTS: Final = {"true": True, "false": False, "nil": None}
FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "and": _and,
    "eq": lambda first, *others: first in others,
    "index": _index,
    "join": _join,
    "json": lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
    "len": len,
    "lower": lambda text: str(text).lower(),
    "ne": lambda first, second: first != second,
    "not": lambda value: not is_true(value),
    "or": _or,
    "print": lambda *values: "".join(as_go_text(value) for value in values),
    "printf": _printf,
    "println": _println,
    "split": lambda text, separator: str(text).split(separator),
    "title": lambda text: str(text)[:1].upper() + str(text)[1:],
    "truncate": lambda text, length: str(text)[:length],
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
