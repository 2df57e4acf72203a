# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.stub_engine import Exchange, StubEngine, frame, says

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine

ID = "ab" * 32
RUNNING = {"Running": True}


def inspected(state: dict[str, bool], **config: bool) -> dict[str, Any]:
    return {
        "Id": ID,
        "State": state,
        "Config": {"Tty": False, "OpenStdin": False, **config},
        "HostConfig": {"AutoRemove": False},
    }


def streams_out(data: bytes) -> Any:
    def act(exchange: Exchange) -> None:
        exchange.upgrade(data)

    return act


def test_attach_inspects_attaches_and_ends_with_the_exit_code(
    toolkit: CommandLine, stub: StubEngine
) -> None:
    stub.on("GET /containers/x/json", says(200, inspected(RUNNING)))
    stub.on(f"POST /containers/{ID}/attach", streams_out(frame(1, b"out") + frame(2, b"err")))
    stub.on(f"POST /containers/{ID}/wait", says(200, {"StatusCode": 4}))
    assert toolkit("attach", "x") == (4, "out", "err")
    assert stub.lines == [
        "GET /containers/x/json",
        f"POST /containers/{ID}/attach?stream=1&stdout=1&stderr=1",
        f"POST /containers/{ID}/wait",
    ]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"Running": False}, "stopped"),
        ({"Running": True, "Paused": True}, "paused"),
        ({"Running": True, "Restarting": True}, "restarting"),
    ],
)
def test_attach_to_what_does_not_run_is_refused(
    toolkit: CommandLine, stub: StubEngine, state: dict[str, bool], words: str
) -> None:
    stub.on("GET /containers/x/json", says(200, inspected(state)))
    result = toolkit("attach", "x")
    assert result.exit_code == 1
    assert f"You cannot attach to a {words} container" in result.err


def test_start_attached_attaches_before_it_starts(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("GET /containers/x/json", says(200, inspected({"Running": False})))
    stub.on(f"POST /containers/{ID}/attach", streams_out(frame(1, b"out")))
    stub.on(f"POST /containers/{ID}/wait", says(200, {"StatusCode": 4}))
    stub.on(f"POST /containers/{ID}/start", says(304))
    assert toolkit("start", "-a", "x") == (4, "out", "")
    assert [line.partition("?")[0].rpartition("/")[2] for line in stub.lines] == [
        "json",
        "attach",
        "wait",
        "start",
    ]


def test_start_of_several_cannot_attach(toolkit: CommandLine, stub: StubEngine) -> None:
    assert toolkit("start", "-a", "x", "y").exit_code == 1
    assert stub.requests == []


def prepared_exec(stub: StubEngine, exit_code: int = 0) -> None:
    stub.on("POST /containers/x/exec", says(201, {"Id": "e1"}))
    stub.on("POST /exec/e1/start", streams_out(frame(1, b"in\n")))
    stub.on("GET /exec/e1/json", says(200, {"ExitCode": exit_code, "Running": False}))


def test_exec_sends_the_words_and_ends_with_the_exit_code(
    toolkit: CommandLine, stub: StubEngine
) -> None:
    prepared_exec(stub, exit_code=3)
    result = toolkit("exec", "-e", "A=b", "-u", "daemon", "-w", "/x", "x", "ls", "-l", "-e")
    assert result == (3, "in\n", "")
    body = stub.request("POST /containers/x/exec").document
    assert body["Cmd"] == ["ls", "-l", "-e"]
    assert (body["Env"], body["User"], body["WorkingDir"]) == (["A=b"], "daemon", "/x")
    assert (body["AttachStdin"], body["AttachStdout"]) == (False, True)
    assert stub.request("POST /exec/e1/start").document == {"Detach": False, "Tty": False}


def test_exec_detached_switches_nothing(toolkit: CommandLine, stub: StubEngine) -> None:
    prepared_exec(stub)
    stub.on("POST /exec/e1/start", says(200))
    assert toolkit("exec", "-d", "x", "ls") == (0, "", "")
    start = stub.request("POST /exec/e1/start")
    assert start.document["Detach"] is True
    assert "upgrade" not in start.headers


def test_exec_of_a_missing_program_is_127(toolkit: CommandLine, stub: StubEngine) -> None:
    prepared_exec(stub)
    stub.on("POST /exec/e1/start", says(400, {"message": "x: executable file not found in $PATH"}))
    assert toolkit("exec", "x", "nope").exit_code == 127


def test_an_error_inside_the_stream_is_shown_as_ours(
    toolkit: CommandLine, stub: StubEngine
) -> None:
    prepared_exec(stub)
    stub.on("POST /exec/e1/start", streams_out(frame(3, b"engine trouble\n")))
    assert toolkit("exec", "x", "ls").err == "toolkit: engine trouble\n"


def test_a_stream_that_is_not_framed_is_an_error(toolkit: CommandLine, stub: StubEngine) -> None:
    prepared_exec(stub)
    stub.on("POST /exec/e1/start", streams_out(b"plain text that has no frames"))
    result = toolkit("exec", "x", "ls")
    assert result.exit_code == 1
    assert "no frames" in result.err


@pytest.mark.parametrize("words", [["run", "-it", "busybox"], ["exec", "-it", "x", "ls"]])
def test_a_terminal_needs_keys_from_a_terminal(
    toolkit: CommandLine, stub: StubEngine, words: list[str]
) -> None:
    result = toolkit(*words)
    assert result.exit_code == 1
    assert result.err.startswith("toolkit: the input device is not a TTY\n")
    assert stub.requests == []
