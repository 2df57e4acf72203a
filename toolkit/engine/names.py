# SPDX-License-Identifier: Apache-2.0
"""Names of containers: what is one, and how one is made up (rules 7.26 to 7.29)."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Final

from toolkit.errors import InvalidNameError

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_LONGEST: Final = 128
_EXTENSIONS: Final = 5

_LEFT_WORDS: Final = """
    happy jolly dreamy sad angry pensive focused sleepy grave distracted determined stoic stupefied
    sharp agitated cocky tender goofy furious desperate hopeful compassionate silly lonely
    condescending naughty kickass drunk boring nostalgic ecstatic insane cranky mad jovial sick
    hungry thirsty elegant backstabbing clever trusting loving suspicious berserk high romantic
    prickly evil
"""
_RIGHT_WORDS: Final = """
    lovelace franklin tesla einstein bohr davinci pasteur nobel curie darwin turing ritchie torvalds
    pike thompson wozniak galileo euclide newton fermat archimede poincare heisenberg feynmann
    hawkings fermi pare mccarthy engelbart babbage albattani ptolemy bell wright lumiere morse
    mclean brown bardeen brattain shockley
"""
LEFT: Final = tuple(_LEFT_WORDS.split())
RIGHT: Final = tuple(_RIGHT_WORDS.split())


def checked_name(text: str) -> str:
    """Return a name as it is kept, without the leading slash.

    Raises:
        InvalidNameError: It is not a name.
    """
    name = text.removeprefix("/")
    if not name:
        raise InvalidNameError("Container name cannot be empty")
    if len(name) > _LONGEST or not _NAME.fullmatch(name):
        raise InvalidNameError(
            f"Invalid container name ({text[: _LONGEST + 1]}), only [a-zA-Z0-9][a-zA-Z0-9_.-] "
            f"are allowed, two to {_LONGEST} characters"
        )
    return name


def made_up_name(is_taken: Callable[[str], bool]) -> str:
    """Return a free name such as ``happy_tesla``, or nothing if there is none to be had.

    A taken name is extended by a digit, five times at most (rule 7.29).
    """
    name = f"{secrets.choice(LEFT)}_{secrets.choice(RIGHT)}"
    extensions = 0
    while is_taken(name):
        if extensions == _EXTENSIONS:
            return ""
        name += str(secrets.randbelow(10))
        extensions += 1
    return name
