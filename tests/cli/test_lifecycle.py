# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.stub_engine import Exchange, StubEngine, says

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["stop", "x"], "POST /containers/x/stop"),
        (["stop", "-t", "3", "x"], "POST /containers/x/stop?t=3"),
        (["stop", "-s", "INT", "x"], "POST /containers/x/stop?signal=INT"),
        (["restart", "--time=0", "x"], "POST /containers/x/restart?t=0"),
        (["kill", "x"], "POST /containers/x/kill"),
        (["kill", "-s", "HUP", "x"], "POST /containers/x/kill?signal=HUP"),
        (["pause", "x"], "POST /containers/x/pause"),
        (["unpause", "x"], "POST /containers/x/unpause"),
        (["start", "x"], "POST /containers/x/start"),
        (["rm", "x"], "DELETE /containers/x"),
        (["rm", "-fv", "x"], "DELETE /containers/x?force=1&v=1"),
        (["container", "rm", "x"], "DELETE /containers/x"),
    ],
)
def test_a_command_asks_for_its_verb_and_says_the_name(
    toolkit: CommandLine, stub: StubEngine, words: list[str], line: str
) -> None:
    stub.on(line.partition("?")[0], says(204))
    assert toolkit(*words) == (0, "x\n", "")
    assert stub.lines == [line]


def test_an_error_does_not_keep_the_rest_from_happening(
    toolkit: CommandLine, stub: StubEngine
) -> None:
    stub.on("DELETE /containers/a", says(404, {"message": "No such container: a"}))
    stub.on("DELETE /containers/b", says(204))
    assert toolkit("rm", "a", "b") == (1, "b\n", "toolkit: No such container: a\n")


def test_an_engine_that_goes_away_ends_the_command(toolkit: CommandLine, stub: StubEngine) -> None:
    def vanish(exchange: Exchange) -> None:
        exchange.connection.shutdown(2)

    stub.on("POST /containers/a/stop", vanish)
    result = toolkit("stop", "a", "b")
    assert result.exit_code == 1
    assert len(stub.requests) == 1


def test_wait_prints_a_code_for_each(toolkit: CommandLine, stub: StubEngine) -> None:
    """API-037."""
    stub.on("POST /containers/a/wait", says(200, {"StatusCode": 3}))
    stub.on("POST /containers/b/wait", says(200, {"StatusCode": 0}))
    assert toolkit("wait", "a", "b") == (0, "3\n0\n", "")


def test_rename_is_silent(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("POST /containers/a/rename", says(204))
    assert toolkit("rename", "a", "b") == (0, "", "")
    assert stub.lines == ["POST /containers/a/rename?name=b"]
