# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.stub_engine import StubEngine, frame, says, streams

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine

ID = "0123456789ab" + "c" * 52


def listed(**changes: Any) -> dict[str, Any]:
    return {
        "Id": ID,
        "Names": ["/web", "/other/alias"],
        "Image": "busybox",
        "Command": "sh -c 'sleep 1000000'",
        "Created": int(time.time()) - 120,
        "Status": "Up 2 minutes",
        "State": "running",
        "Ports": [
            {"PrivatePort": 443, "Type": "tcp"},
            {"IP": "10.0.0.1", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        ],
        **changes,
    }


def test_ps_is_aligned_and_cut_as_dockers(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("GET /containers/json", says(200, [listed()]))
    result = toolkit("ps")
    header, row = result.out.splitlines()
    assert header.split("   ")[0] == "CONTAINER ID"
    assert row == (
        '0123456789ab   busybox   "sh -c \'sleep 100000…"   2 minutes ago   Up 2 minutes   '
        "443/tcp, 10.0.0.1:8080->80/tcp   web"
    )
    assert header.index("NAMES") == row.index("web")


def test_ps_of_nothing_is_the_header(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("GET /containers/json", says(200, []))
    assert toolkit("ps").out.split() == [
        "CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "query"),
    [
        ([], ""),
        (["-a"], "?all=1"),
        (["-l"], "?limit=1"),
        (["-n", "3"], "?limit=3"),
        (["-s"], "?size=1"),
        (["-f", "name=x"], "?filters=%7B%22name%22:%20%5B%22x%22%5D%7D"),
    ],
)
def test_the_flags_of_ps_are_sent(
    toolkit: CommandLine, stub: StubEngine, words: list[str], query: str
) -> None:
    stub.on("GET /containers/json", says(200, []))
    assert toolkit("ps", *words).exit_code == 0
    assert stub.lines == [f"GET /containers/json{query}"]


def test_ps_prints_ids_or_a_template(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("GET /containers/json", says(200, [listed()]))
    assert toolkit("ps", "-q").out == ID[:12] + "\n"
    assert toolkit("ps", "-q", "--no-trunc").out == ID + "\n"
    assert toolkit("ps", "--format", "{{.Names}}\\t{{.Status}}").out == "web\tUp 2 minutes\n"


def test_ps_shows_control_characters_spelt_out(toolkit: CommandLine, stub: StubEngine) -> None:
    """S-14."""
    evil = listed(Command="\x1b]52;c;x\x07", Image="a\rb", Status="\x9b2J")
    stub.on("GET /containers/json", says(200, [evil]))
    for words in (["ps"], ["ps", "--format", "{{.Command}}"], ["ps", "--format", "json"]):
        assert toolkit(*words).out.replace("\n", "").isprintable()


def test_container_ls_is_ps(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("GET /containers/json", says(200, []))
    assert toolkit("container", "ls").out == toolkit("ps").out


def test_logs_go_where_they_came_from(toolkit: CommandLine, stub: StubEngine) -> None:
    """API-049."""
    stub.on("GET /containers/x/json", says(200, {"Config": {"Tty": False}}))
    stub.on("GET /containers/x/logs", streams([frame(1, b"out\n"), frame(2, b"err\n")]))
    assert toolkit("logs", "--tail", "5", "-f", "-t", "x") == (0, "out\n", "err\n")
    assert stub.lines[1] == (
        "GET /containers/x/logs?follow=1&stdout=1&stderr=1&timestamps=1&tail=5"
    )


def test_logs_of_a_terminal_are_raw(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("GET /containers/x/json", says(200, {"Config": {"Tty": True}}))
    stub.on("GET /containers/x/logs", streams([b"\x1b[1mbold\r\n"]))
    assert toolkit("logs", "x").out == "\x1b[1mbold\r\n"


def test_top_is_a_table(toolkit: CommandLine, stub: StubEngine) -> None:
    document = {"Titles": ["PID", "CMD"], "Processes": [["1", "sh"]]}
    stub.on("GET /containers/x/top", says(200, document))
    assert toolkit("top", "x", "-o", "pid").out == f"{'PID':<20}CMD\n{'1':<20}sh\n"
    assert stub.lines == ["GET /containers/x/top?ps_args=-o%20pid"]
