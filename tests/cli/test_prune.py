# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.stub_engine import StubEngine, says

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine


def test_prune_session_says_what_it_removed(toolkit: CommandLine, stub: StubEngine) -> None:
    removed = {"Containers": ["c1", "c2"], "Networks": [], "Volumes": ["v"], "Images": []}
    stub.on("POST /toolkit/sessions/prune", says(200, removed))
    result = toolkit("prune", "--session")
    assert result.out == "Deleted Containers:\nc1\nc2\nDeleted Volumes:\nv\n"
    assert result.exit_code == 0


def test_prune_alone_says_what_there_is_to_prune(toolkit: CommandLine, stub: StubEngine) -> None:
    result = toolkit("prune")
    assert result.exit_code == 1
    assert "prune --session" in result.err
    assert stub.lines == []
