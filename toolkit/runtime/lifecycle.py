# SPDX-License-Identifier: Apache-2.0
"""The states of a container and the moves between them, as one table.

No I/O and no rules about who may ask: those are the engine's. A move that is not
in the table is refused.

`STARTING` and `REMOVING` are intents: they are written before the world is
changed, so that recovery can finish or undo what a crash cut short. A start that
fails leads back with `undo` (it never ran before) or `fail` (it did).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from toolkit.errors import MoveRefusedError


class State(StrEnum):
    """The states of a container, in docker's words (`State.Status`)."""

    CREATED = "created"
    STARTING = "starting"  # intent only: never shown, recovery resolves it
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"


MOVES: Final[dict[State, dict[str, State]]] = {
    State.CREATED: {"start": State.STARTING, "remove": State.REMOVING},
    State.STARTING: {"run": State.RUNNING, "undo": State.CREATED, "fail": State.EXITED},
    State.RUNNING: {"pause": State.PAUSED, "exit": State.EXITED, "retry": State.RESTARTING},
    State.PAUSED: {"unpause": State.RUNNING, "exit": State.EXITED, "retry": State.RESTARTING},
    State.RESTARTING: {
        "start": State.STARTING,
        "stop": State.EXITED,
        "remove": State.REMOVING,
    },
    State.EXITED: {"start": State.STARTING, "remove": State.REMOVING},
    State.REMOVING: {"break": State.DEAD, "remove": State.REMOVING},
    State.DEAD: {"remove": State.REMOVING},
}

# A program of the container exists, or comes back by itself.
ACTIVE: Final = frozenset({State.STARTING, State.RUNNING, State.PAUSED, State.RESTARTING})
# A program of the container exists.
RUNNING: Final = frozenset({State.RUNNING, State.PAUSED})


def after(state: State, move: str) -> State:
    """Return the state that a move leads to, or refuse the move.

    Raises:
        MoveRefusedError: The table does not have the move.
    """
    try:
        return MOVES[state][move]
    except KeyError:
        raise MoveRefusedError(state, move) from None
