# SPDX-License-Identifier: Apache-2.0
"""How many rows of the conformance lists the tests cover.

The rows stand in ``docs/compatibility.md``, each with a short title and, if it
is left out, the reason. A test covers a row by naming it in its docstring;
``RT-001 to RT-004`` names four.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_ROW: Final = re.compile(r"\| ((?:RT|API)-\d{3}) \| ([^|]*) \| ([^|]*) ?\|")
_NAMED: Final = re.compile(r"\b(RT|API)-(\d{3})(?: to (?:RT-|API-)?(\d{3}))?")
_TREES: Final = ("tests", "integration")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the lists; *reason* says why it is left out."""

    id: str
    title: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The rows, by what became of them."""

    covered: tuple[Row, ...]
    left_out: tuple[Row, ...]
    open: tuple[Row, ...]
    unknown: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether each row has a test or a reason, and each one named exists."""
        return not self.open and not self.unknown

    def lines(self) -> Iterator[str]:
        """Give the report."""
        rows = len(self.covered) + len(self.left_out) + len(self.open)
        yield f"rows {rows}, covered {len(self.covered)}, left out {len(self.left_out)}"
        for row in self.left_out:
            yield f"  left out  {row.id}  {row.title}: {row.reason}"
        for row in self.open:
            yield f"  OPEN      {row.id}  {row.title}"
        for name in self.unknown:
            yield f"  UNKNOWN   {name} is named by a test, and is no row"


def read_rows(text: str) -> list[Row]:
    """Return the rows of a page."""
    return [
        Row(id=match[1], title=match[2].strip(), reason=match[3].strip())
        for match in _ROW.finditer(text)
    ]


def rows_named(text: str) -> set[str]:
    """Return the ids that a docstring names, spans included."""
    return {
        f"{kind}-{number:03}"
        for kind, first, last in _NAMED.findall(text)
        for number in range(int(first), int(last or first) + 1)
    }


def rows_of_tests(source: str) -> set[str]:
    """Return the rows that the docstrings of test functions name."""
    functions = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )
    return {row for node in functions for row in rows_named(ast.get_docstring(node) or "")}


def compare(rows: Iterable[Row], named: set[str]) -> Coverage:
    """Return what is covered, what is left out, and what is neither."""
    known = {row.id: row for row in rows}
    others = [row for row in known.values() if row.id not in named]
    return Coverage(
        covered=tuple(row for row in known.values() if row.id in named),
        left_out=tuple(row for row in others if row.reason),
        open=tuple(row for row in others if not row.reason),
        unknown=tuple(sorted(named - known.keys())),
    )


def measure(repository: Path) -> Coverage:
    """Return the coverage of a checkout."""
    rows = read_rows((repository / "docs" / "compatibility.md").read_text(encoding="utf-8"))
    named: set[str] = set()
    for tree in _TREES:
        for path in sorted((repository / tree).rglob("test_*.py")):
            named |= rows_of_tests(path.read_text(encoding="utf-8"))
        for path in sorted((repository / tree).rglob("contract*.py")):
            named |= rows_of_tests(path.read_text(encoding="utf-8"))
    return compare(rows, named)
