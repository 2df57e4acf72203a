# SPDX-License-Identifier: Apache-2.0
"""The ``changes`` of import and commit: Dockerfile lines that only set a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from toolkit.build.instructions import parse_instruction
from toolkit.build.lines import Line
from toolkit.build.stage import SAYINGS, StageState, set_working_dir
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHANGES: Final = {**SAYINGS, "WORKDIR": set_working_dir}
_NOT_OF_A_CONFIG: Final = frozenset({"ARG", "MAINTAINER"})


def config_of_changes(lines: Sequence[str]) -> dict[str, Any]:
    """Return the configuration that lines such as ``CMD ["sh"]`` make.

    Raises:
        InvalidRequestError: A line is not one of the instructions that only set something.
    """
    state = StageState()
    for line in lines:
        text = line.strip()
        word = text.split(maxsplit=1)[0].upper() if text else ""
        if word not in _CHANGES or word in _NOT_OF_A_CONFIG:
            raise InvalidRequestError(f"{word[:80]} is not a valid change command")
        _CHANGES[word](state, parse_instruction(Line(0, text)))
    return {key: value for key, value in state.config.items() if value is not None}
