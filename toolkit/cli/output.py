# SPDX-License-Identifier: Apache-2.0
"""What people see: errors on one line, tables, and nothing that steers their terminal.

Text that comes from containers, images or the engine passes through `escape` before it
is shown; only attach and logs write raw, to where the person asked (S-14).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MIN_COLUMN = 10
PADDING = 3


def escape(text: str) -> str:
    r"""Return a text on one line with its control characters spelt out, as ``\x1b``."""
    if text.isprintable():
        return text
    return "".join(_spelt(character) for character in text)


def escape_lines(text: str) -> str:
    """Return a text of several lines with every other control character spelt out."""
    return "\n".join(escape(line) for line in text.split("\n"))


def _spelt(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, min_width: int = MIN_COLUMN
) -> str:
    """Return aligned columns as docker's: at least so wide, three blanks between."""
    lines = [list(header), *([escape(cell) for cell in row] for row in rows)]
    last = len(header) - 1
    widths = [
        max(min_width, max(len(line[column]) for line in lines) + PADDING) for column in range(last)
    ]
    return "\n".join(
        "".join(line[column].ljust(widths[column]) for column in range(last)) + line[last]
        for line in lines
    )


def say(text: str) -> None:
    """Print a line on standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def warn(text: str) -> None:
    """Print a line on standard error."""
    sys.stdout.flush()
    sys.stderr.write(escape(text) + "\n")
    sys.stderr.flush()


def report(error: Exception) -> None:
    """Print an error as one line, and below it what to do next if that is known."""
    warn(f"toolkit: {error}")
    if hint := getattr(error, "hint", ""):
        warn(str(hint))
