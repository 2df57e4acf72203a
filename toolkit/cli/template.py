# SPDX-License-Identifier: Apache-2.0
"""The part of Go's templates that people use with ``--format``: texts, values and blocks. Pure.

Blocks are ``range`` (with ``$key, $value :=``), ``if``, ``else``, ``with`` and ``end``; what
stands between the braces is `toolkit.cli.template_expressions`'s.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from toolkit.cli.template_expressions import (
    Expression,
    MissingFieldError,
    Scope,
    TemplateError,
    as_go_text,
    is_true,
    parse_expression,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Node = Callable[[Scope], str]

__all__ = ["MissingFieldError", "Template", "TemplateError"]

_OPENING: Final = re.compile(r"\s*\{\{-(?=\s)|\{\{")
_CLOSING: Final = re.compile(r"(?<=\s)-\}\}\s*|\}\}")
_BLOCK: Final = re.compile(r"(range|if|with)(?:\s+|(?=[($.]))(.*)", re.DOTALL)
_VARIABLES: Final = re.compile(
    r"\$([A-Za-z]\w*)(?:\s*,\s*\$([A-Za-z]\w*))?\s*:=(.*)", re.DOTALL | re.ASCII
)
_ELSE_IF: Final = re.compile(r"else\s+if\s+(.*)", re.DOTALL)
_COMMENT: Final = re.compile(r"/\*.*\*/", re.DOTALL)
_DEEPEST: Final = 50

Piece = tuple[bool, str]  # whether it is an action, and its text


class Template:
    """A text with ``{{ }}`` in it, ready to be filled."""

    def __init__(self, text: str) -> None:
        self._body = _Blocks(_pieces(text)).parse()

    def render(self, document: Any) -> str:
        """Return the text for a document.

        Raises:
            MissingFieldError: A field does not exist.
        """
        return _filled(self._body, Scope(document, document))


def _pieces(text: str) -> Iterator[Piece]:
    at = 0
    while opening := _OPENING.search(text, at):
        yield False, text[at : opening.start()]
        closing = _CLOSING.search(text, opening.end())
        if closing is None:
            raise TemplateError(f"template parsing error: unclosed action in {text!r}")
        yield True, text[opening.end() : closing.start()].strip()
        at = closing.end()
    yield False, text[at:]


def _filled(nodes: Iterable[Node], scope: Scope) -> str:
    return "".join(node(scope) for node in nodes)


class _Blocks:
    """Puts the pieces of a text together to blocks."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces = iter(pieces)
        self._depth = 0

    def parse(self) -> list[Node]:
        """Return the whole text."""
        nodes, ended_by = self._until_end()
        if ended_by:
            raise TemplateError(f"template parsing error: unexpected {{{{{ended_by}}}}}")
        return nodes

    def _until_end(self) -> tuple[list[Node], str]:
        """Return the nodes up to an ``end`` or ``else``, and that action; empty at the end."""
        nodes: list[Node] = []
        for is_action, text in self._pieces:
            if not is_action:
                nodes.append(_literal(text))
            elif text == "end" or text.split(maxsplit=1)[:1] == ["else"]:
                return nodes, text
            elif block := _BLOCK.fullmatch(text):
                nodes.append(self._block(block[1], block[2].strip()))
            elif not _COMMENT.fullmatch(text):
                nodes.append(_value(parse_expression(text)))
        return nodes, ""

    def _block(self, kind: str, head: str) -> Node:
        if self._depth >= _DEEPEST:
            raise TemplateError("template parsing error: blocks are nested too deeply")
        self._depth += 1
        names: list[str] = []
        if named := _VARIABLES.fullmatch(head):
            names = [name for name in named.group(1, 2) if name]
            head = named[3].strip()
        expression = parse_expression(head)
        body, ended_by = self._until_end()
        otherwise: list[Node] = []
        if other := _ELSE_IF.fullmatch(ended_by):
            otherwise = [self._block("if", other[1])]
        elif ended_by == "else":
            otherwise, ended_by = self._until_end()
        if not other and ended_by != "end":
            raise TemplateError(f"template parsing error: {kind} has no end")
        self._depth -= 1
        if kind == "range":
            return _range(expression, names, body, otherwise)
        return _choice(kind, expression, names, (body, otherwise))


def _literal(text: str) -> Node:
    return lambda _scope: text


def _value(expression: Expression) -> Node:
    return lambda scope: as_go_text(expression(scope))


def _range(
    expression: Expression, names: list[str], body: list[Node], otherwise: list[Node]
) -> Node:
    def node(scope: Scope) -> str:
        pairs = _pairs(expression(scope))
        if not pairs:
            return _filled(otherwise, scope)
        return "".join(
            _filled(body, scope.at(each, **dict(zip(reversed(names), (each, key), strict=False))))
            for key, each in pairs
        )

    return node


def _pairs(value: Any) -> list[tuple[Any, Any]]:
    """Return what is ranged over, by key or position."""
    if isinstance(value, dict):
        return sorted(value.items())
    if value is None or isinstance(value, list):
        return list(enumerate(value or []))
    raise MissingFieldError(f"template: range cannot iterate over {as_go_text(value)}")


def _choice(
    kind: str, expression: Expression, names: list[str], bodies: tuple[list[Node], list[Node]]
) -> Node:
    def node(scope: Scope) -> str:
        value = expression(scope)
        if not is_true(value):
            return _filled(bodies[1], scope)
        dot = value if kind == "with" else scope.dot
        return _filled(bodies[0], scope.at(dot, **dict.fromkeys(names[:1], value)))

    return node
