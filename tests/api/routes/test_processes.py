# SPDX-License-Identifier: Apache-2.0
"""The processes of a container, and what they use."""

from __future__ import annotations

import os
from typing import Any

from toolkit.api.routes.processes import host_cpu_ns, parse_ps
from toolkit.engine.model import State


def test_top_shows_the_containers_processes_only(api: Any, add_container: Any) -> None:
    """API-010."""
    add_container()
    document = api("GET", "/containers/name1/top").json
    column = document["Titles"].index("PID")
    assert [row[column] for row in document["Processes"]] == [str(os.getpid())]
    document = api("GET", "/containers/name1/top?ps_args=aux").json
    assert (document["Titles"][0], document["Titles"][-1]) == ("USER", "COMMAND")


def test_top_refuses_what_it_cannot_show(api: Any, add_container: Any) -> None:
    container = add_container()
    assert api("GET", "/containers/name1/top?ps_args=-o+comm").status == 400
    assert api("GET", "/containers/name1/top?ps_args=%27").status == 400
    assert api("GET", "/containers/name1/top?ps_args=--nosuch").status == 400
    container.set_state(State.EXITED)
    assert api("GET", "/containers/name1/top").status == 409


def test_the_last_column_takes_the_rest_of_a_line() -> None:
    titles, rows = parse_ps("PID CMD\n 1 sh -c x y\n\n2\n")
    assert titles == ["PID", "CMD"]
    assert rows == [["1", "sh -c x y"]]


COUNTED = ("bytes", "packets", "errors", "dropped")


def test_one_shot_stats_are_one_object_without_a_past(api: Any, add_container: Any) -> None:
    add_container()
    (document,) = api("GET", "/containers/name1/stats?stream=0&one-shot=1").objects
    assert document["memory_stats"]["usage"] == 4096
    assert document["memory_stats"]["limit"] > 4096
    assert document["cpu_stats"]["cpu_usage"]["total_usage"] == 5
    assert document["cpu_stats"]["system_cpu_usage"] > 0
    assert document["preread"] == "0001-01-01T00:00:00Z"
    assert document["pids_stats"] == {"current": 1}
    counters = [f"{way}_{what}" for way in ("rx", "tx") for what in COUNTED]
    assert document["networks"] == {"eth0": dict.fromkeys(counters, 7)}
    assert document["name"] == "/name1"


def test_the_hosts_cpu_time_is_summed() -> None:
    tick_ns = 10**9 // os.sysconf("SC_CLK_TCK")
    assert host_cpu_ns("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\n") == 28 * tick_ns
