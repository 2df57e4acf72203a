# SPDX-License-Identifier: Apache-2.0
"""The table of moves: closed, and refusing what it does not have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import MoveRefusedError
from toolkit.runtime.lifecycle import ACTIVE, MOVES, RUNNING, State, after

ALL_MOVES = sorted({move for moves in MOVES.values() for move in moves})


def test_each_state_has_a_row() -> None:
    assert set(MOVES) == set(State)


@given(st.lists(st.sampled_from(ALL_MOVES), max_size=30))
def test_no_sequence_of_moves_leaves_the_table(moves: list[str]) -> None:
    state = State.CREATED
    for move in moves:
        if move in MOVES[state]:
            state = after(state, move)
        else:
            with pytest.raises(MoveRefusedError):
                after(state, move)
        assert state in MOVES


@given(st.sampled_from(list(State)), st.text(max_size=8))
def test_a_move_is_refused_unless_the_table_has_it(state: State, move: str) -> None:
    if move in MOVES[state]:
        assert after(state, move) is MOVES[state][move]
    else:
        with pytest.raises(MoveRefusedError) as caught:
            after(state, move)
        assert caught.value.status == 409


def test_a_program_exists_only_after_a_start() -> None:
    entered_by = {move for moves in MOVES.values() for move, to in moves.items() if to in RUNNING}
    assert entered_by == {"run", "pause", "unpause"}
    assert RUNNING < ACTIVE


def test_nothing_comes_back_from_being_removed() -> None:
    assert set(MOVES[State.REMOVING].values()) == {State.DEAD, State.REMOVING}
    assert set(MOVES[State.DEAD].values()) == {State.REMOVING}


def test_every_state_can_be_left_towards_removal() -> None:
    reachable = {State.REMOVING}
    for _ in State:
        reachable |= {s for s, moves in MOVES.items() if reachable & set(moves.values())}
    assert reachable == set(State)
