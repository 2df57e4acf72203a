# SPDX-License-Identifier: Apache-2.0
"""Execs over the API."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.engine.model import State
from toolkit.errors import CommandNotFoundError

BODY = {"Cmd": ["sh", "-c", "x"], "AttachStdout": True, "AttachStderr": True, "User": "1"}
ID = "e" * 64


@pytest.fixture
def session(api: Any, engine: Any, add_container: Any) -> Any:
    add_container()
    answer = api("POST", "/containers/name1/exec", BODY)
    assert (answer.status, answer.json) == (201, {"Id": ID})
    return engine.execs[ID]


def test_an_exec_without_a_command_is_refused(api: Any, add_container: Any) -> None:
    add_container()
    answer = api("POST", "/containers/name1/exec", {"AttachStdout": True})
    assert (answer.status, answer.json) == (400, {"message": "No exec command specified"})
    assert api("POST", "/containers/name1/exec", BODY | {"DetachKeys": "ctrl-1"}).status == 400


def test_start_gives_the_socket_away(api: Any, session: Any) -> None:
    answer = api(
        "POST",
        f"/exec/{ID}/start",
        {"Detach": False, "Tty": False},
        connection="Upgrade",
        upgrade="tcp",
    )
    assert answer.stream() == b"exec output"
    (client,) = session.clients
    assert (client.stdin, client.stdout, client.stderr) == (False, True, True)
    assert client.framed
    assert bytes(answer.wire.sent).startswith(b"HTTP/1.1 101 UPGRADED\r\n")


def test_a_detached_start_answers_at_once(api: Any, session: Any) -> None:
    answer = api("POST", f"/exec/{ID}/start", {"Detach": True})
    assert (answer.status, answer.body) == (200, b"")
    assert session.clients == [None]


def test_start_without_a_body_is_taken(api: Any, session: Any) -> None:
    assert api("POST", f"/exec/{ID}/start").stream() == b"exec output"
    assert len(session.clients) == 1


def test_a_program_that_cannot_be_run_is_told_in_the_stream(api: Any, session: Any) -> None:
    session.fails = CommandNotFoundError("executable file not found in $PATH")
    seen = api("POST", f"/exec/{ID}/start", {}).stream()
    assert seen[:1] == b"\x02"
    assert b"executable file not found" in seen


def test_a_second_start_and_one_in_a_stopped_container_conflict(
    api: Any, engine: Any, session: Any
) -> None:
    session.exit_code = 0
    assert api("POST", f"/exec/{ID}/start", {}).status == 409
    session.exit_code = None
    engine.all[0].set_state(State.EXITED)
    answer = api("POST", f"/exec/{ID}/start", {})
    assert answer.status == 409
    assert "is not running" in answer.json["message"]


def test_inspect_has_the_exit_code(api: Any, session: Any) -> None:
    session.exit_code = 9
    document = api("GET", f"/exec/{ID}/json").json
    assert (document["ExitCode"], document["Running"], document["ID"]) == (9, False, ID)
    assert document["ProcessConfig"] == {
        "tty": False,
        "entrypoint": "sh",
        "arguments": ["-c", "x"],
        "privileged": False,
        "user": "1",
    }
    assert document["OpenStdout"] is True


def test_resize_reaches_the_terminal(api: Any, session: Any) -> None:
    assert api("POST", f"/exec/{ID}/resize?h=1&w=2").status == 200
    assert session.sizes == [(1, 2)]


def test_an_unknown_exec_is_404(api: Any) -> None:
    answer = api("GET", "/exec/x/json")
    assert (answer.status, answer.json) == (404, {"message": "No such exec instance: x"})
