# SPDX-License-Identifier: Apache-2.0
"""Which tests of a suite are one machine's, when several machines share it.

Owns the split. Tests that belong together (pytest-xdist's ``xdist_group``, else one file)
stay together; the split is the same on every machine, since each makes it for itself.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE: Final = "TOOLKIT_SHARD"
_FORM: Final = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One machine's part: *number* (from 1) of *count*."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``2/3``.

        Raises:
            InvalidRequestError: It is not of that form, or there is no such part.
        """
        match = _FORM.fullmatch(text)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise InvalidRequestError(f"{VARIABLE} {text!r}: use a part and a number, as in 2/3")
        return cls(number=int(match[1]), count=int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def groups(self, groups_of_tests: Sequence[str]) -> frozenset[str]:
        """Return the groups that are this part's.

        The largest group goes first, each to the part that has least so far.

        Args:
            groups_of_tests: The group of each test, in any order.
        """
        loads = [0] * self.count
        mine = set()
        sizes = Counter(groups_of_tests)
        for group, size in sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0])):
            part = loads.index(min(loads))
            loads[part] += size
            if part == self.number - 1:
                mine.add(group)
        return frozenset(mine)
