# SPDX-License-Identifier: Apache-2.0
"""What a registry asks for: the header ``WWW-Authenticate`` (RFC 9110, 11.6.1). No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LONGEST: Final = 8192
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME: Final = re.compile(rf"[\s,]*({_WORD})(?=\s|,|$)(?!\s*=)")
_PARAMETER: Final = re.compile(
    rf"[\s,]*({_WORD})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]*))", re.DOTALL
)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True)
class Challenge:
    """One way to prove who we are.

    Attributes:
        scheme: In lower case.
        parameters: Names in lower case.
    """

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Return the challenges in order; what cannot be read ends its header."""
    found = []
    for header in headers:
        text, at = header[:_LONGEST], 0
        while scheme := _SCHEME.match(text, at):
            at = scheme.end()
            parameters: dict[str, str] = {}
            while parameter := _PARAMETER.match(text, at):
                at = parameter.end()
                name, quoted, plain = parameter.groups()
                value = plain if quoted is None else _ESCAPED.sub(r"\1", quoted)
                parameters.setdefault(name.lower(), value)
            found.append(Challenge(scheme[1].lower(), parameters))
    return found
