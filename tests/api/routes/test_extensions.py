# SPDX-License-Identifier: Apache-2.0
"""The routes beyond docker's API."""

from __future__ import annotations

from typing import Any

import pytest


def test_the_engine_says_what_it_can(api: Any) -> None:
    answer = api("GET", "/v1.44/toolkit")
    assert answer.json == {
        "Instance": "toolkit",
        "Features": ["leases", "listening", "repair", "sessions"],
    }


@pytest.mark.parametrize("kind", ["session", "lease"])
def test_a_connection_is_given_to_who_holds_it(api: Any, engine: Any, kind: str) -> None:
    answer = api("POST", f"/toolkit/{kind}s?name=mine", upgrade="tcp")
    assert b"101" in answer.body
    assert answer.stream() == b"held:"
    assert engine.sessions.held == [(kind, "mine")]


def test_a_session_that_is_open_is_refused_before_the_socket_is_given_away(api: Any) -> None:
    api("POST", "/toolkit/sessions?name=mine", upgrade="tcp").stream()
    answer = api("POST", "/toolkit/sessions?name=mine", upgrade="tcp")
    assert (answer.status, answer.json) == (409, {"message": "open already"})


@pytest.mark.parametrize("kind", ["sessions", "leases"])
def test_what_is_held_needs_a_name(api: Any, kind: str) -> None:
    assert api("POST", f"/toolkit/{kind}", upgrade="tcp").status == 400


def test_prune_says_what_it_removed(api: Any) -> None:
    answer = api("POST", "/toolkit/sessions/prune")
    assert answer.json == {"Containers": ["c" * 64], "Networks": [], "Volumes": [], "Images": []}


def test_repair_says_what_it_mended(api: Any) -> None:
    assert api("POST", "/toolkit/repair").json == {"Repaired": ["nat: chain test-DNAT"]}


def test_a_listener_is_waited_for(api: Any, engine: Any) -> None:
    answer = api("GET", "/containers/web/listening?port=8080&protocol=udp&milliseconds=1500")
    assert answer.objects == [{"Listening": True, "Seconds": 0.5, "Reason": ""}]
    assert engine.readiness.asked == [("web", 8080, "udp", 1.5)]
    assert api("GET", "/containers/web/listening?port=1").objects[0]["Reason"] == "nobody"


def test_an_unknown_protocol_is_refused(api: Any) -> None:
    assert api("GET", "/containers/web/listening?port=1&protocol=sctp").status == 400
