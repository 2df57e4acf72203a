# SPDX-License-Identifier: Apache-2.0
"""What goes on for as long as a client listens."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.waiting import until
from toolkit.engine.logs import LogSelection
from toolkit.engine.model import ContainerSpec, State
from toolkit.engine.waiters import WaitResult
from toolkit.errors import BackendError

UPGRADE = {"connection": "Upgrade", "upgrade": "tcp"}


def test_wait_sends_its_head_before_it_blocks(api: Any, add_container: Any, make_wire: Any) -> None:
    """API-019: else docker run never sends start."""
    container = add_container(State.CREATED)

    async def converse() -> Any:
        wire = make_wire()
        waiting = asyncio.ensure_future(
            api.ask("POST", "/containers/name1/wait?condition=next-exit", wire=wire)
        )
        await asyncio.sleep(0)
        assert wire.status == 200
        assert not waiting.done()
        assert container.calls == [("wait", ("next-exit",))]
        container.exit.set_result(WaitResult(exit_code=7))
        return await waiting

    assert api.run(converse()).json == {"StatusCode": 7}


def test_wait_has_begun_when_its_head_leaves(api: Any, add_container: Any, make_wire: Any) -> None:
    container = add_container(State.CREATED)
    begun = []

    async def converse() -> Any:
        wire = make_wire(on_head=lambda: begun.append(list(container.calls)))
        waiting = asyncio.ensure_future(api.ask("POST", "/containers/name1/wait", wire=wire))
        await asyncio.sleep(0)
        container.exit.set_result(WaitResult(exit_code=0, error="the shim was lost"))
        return await waiting

    answer = api.run(converse())
    assert begun == [[("wait", ("not-running",))]]
    assert answer.json == {"StatusCode": 0, "Error": {"Message": "the shim was lost"}}


def test_a_dropped_wait_leaves_the_others_alone(api: Any, add_container: Any) -> None:
    container = add_container()

    async def converse() -> Any:
        first, second = (
            asyncio.ensure_future(api.ask("POST", "/containers/name1/wait")) for _ in range(2)
        )
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        container.exit.set_result(WaitResult(exit_code=3))
        return await second

    assert api.run(converse()).json == {"StatusCode": 3}


def test_an_unknown_condition_is_refused(api: Any, add_container: Any) -> None:
    add_container()
    answer = api("POST", "/containers/name1/wait?condition=odd")
    assert (answer.status, answer.json) == (400, {"message": 'invalid condition: "odd"'})


def test_attach_gives_the_socket_to_the_engine(
    api: Any, add_container: Any, make_wire: Any
) -> None:
    """API-020: the engine is not in the data path."""
    container = add_container(State.CREATED, spec=ContainerSpec(image="busybox", open_stdin=True))
    wire = make_wire(pending=b"early")
    answer = api(
        "POST", "/v1.44/containers/name1/attach?stream=1&stdin=1&stdout=1", wire=wire, **UPGRADE
    )
    client = container.calls[0][1]
    assert (client.stdin, client.stdout, client.stderr) == (True, True, False)
    assert (client.stream, client.logs, client.framed) == (True, False, True)
    assert (client.pending, client.detach_keys) == (b"early", b"")
    assert answer.stream() == b"attached:early"
    head = bytes(wire.sent)
    assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n")
    assert b"Content-Type: application/vnd.docker.multiplexed-stream\r\n" in head
    assert head.endswith(b"\r\n\r\n")


def test_attach_to_a_terminal_is_raw_and_knows_detach_keys(api: Any, add_container: Any) -> None:
    """API-044."""
    container = add_container(spec=ContainerSpec(image="busybox", has_tty=True))
    answer = api("POST", "/containers/name1/attach?stream=1&stdin=1&logs=1&detachKeys=a,ctrl-x")
    client = container.calls[0][1]
    assert (client.framed, client.detach_keys, client.logs) == (False, b"a\x18", True)
    assert not client.stdin  # the container has none
    assert answer.stream() == b"attached:"
    assert bytes(answer.wire.sent).startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"raw-stream" in answer.wire.sent


def test_older_clients_are_told_raw_stream(api: Any, add_container: Any) -> None:
    add_container()
    answer = api("POST", "/v1.41/containers/name1/attach?stream=1")
    assert b"raw-stream" in answer.wire.sent
    answer.stream()


def test_attach_refuses_with_an_ordinary_answer(api: Any, add_container: Any) -> None:
    add_container(State.PAUSED)
    assert api("POST", "/containers/name1/attach?stream=1").status == 409
    assert api("POST", "/containers/name1/attach?detachKeys=ctrl-1").status == 400
    assert api("POST", "/containers/nosuch/attach").status == 404


@pytest.mark.parametrize("has_tty", [True, False])
def test_what_fails_after_the_switch_is_text_in_the_stream(
    api: Any, add_container: Any, *, has_tty: bool
) -> None:
    container = add_container(spec=ContainerSpec(image="busybox", has_tty=has_tty))
    container.fails = BackendError("the shim was lost")
    seen = api("POST", "/containers/name1/attach?stream=1&stdout=1&stderr=1").stream()
    text = b"the shim was lost\r\n"
    assert seen == (text if has_tty else b"\x02\0\0\0\0\0\0\x13" + text)


def test_logs_are_framed(api: Any, add_container: Any) -> None:
    container = add_container()
    answer = api("GET", "/containers/name1/logs?stdout=1&stderr=1&tail=all")
    assert answer.body == b"\x01\0\0\0\0\0\0\x04out\n\x02\0\0\0\0\0\0\x04err\n"
    assert answer.headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    assert container.calls == [("logs", (LogSelection(), False))]


def test_logs_of_a_terminal_are_raw_and_times_have_nine_digits(
    api: Any, add_container: Any
) -> None:
    add_container(spec=ContainerSpec(image="busybox", has_tty=True))
    answer = api("GET", "/containers/name1/logs?stdout=1&stderr=1&timestamps=1")
    assert answer.body == (
        b"2026-01-02T03:04:05.600000000Z out\n2026-01-02T03:04:06.000000000Z err\n"
    )


def test_logs_are_chosen_as_asked(api: Any, add_container: Any) -> None:
    container = add_container()
    api("GET", "/containers/name1/logs?stdout=1&tail=5&follow=1&since=1.5&until=2&stderr=0")
    selection = LogSelection(
        stderr=False,
        tail_lines=5,
        since="1970-01-01T00:00:01.500000000Z",
        until="1970-01-01T00:00:02.000000000Z",
    )
    assert container.calls == [("logs", (selection, True))]


def test_logs_need_a_stream(api: Any, add_container: Any) -> None:
    add_container()
    answer = api("GET", "/containers/name1/logs")
    assert answer.status == 400
    assert "choose at least one stream" in answer.json["message"]


def publish_two(engine: Any) -> None:
    engine.events.publish("container", "start", "ab" * 32, {"name": "n", "image": "busybox"})
    engine.events.publish("image", "tag", "sha256:" + "ab" * 32, {"name": "busybox:latest"})


def test_events_are_replayed_in_order_and_end(api: Any, engine: Any) -> None:
    """API-003."""
    publish_two(engine)
    first, second = (
        api("GET", "/events?since=1&until=1s").objects
        or api("GET", "/events?since=1&until=0s").objects
    )
    assert (first["Type"], first["Action"], first["status"]) == ("container", "start", "start")
    assert first["Actor"] == {"ID": "ab" * 32, "Attributes": {"name": "n", "image": "busybox"}}
    assert (first["id"], first["from"], first["scope"]) == ("ab" * 32, "busybox", "local")
    assert first["time"] == first["timeNano"] // 10**9
    assert (second["Type"], second["Action"]) == ("image", "tag")
    assert "from" not in second


@pytest.mark.parametrize(
    ("terms", "count"),
    [
        ({"type": ["image"]}, 1),
        ({"event": ["start", "tag"]}, 2),
        ({"container": ["abab"]}, 1),
        ({"container": ["n"]}, 1),
        ({"container": ["zz"]}, 0),
        ({"image": ["busybox"]}, 2),
        ({"label": ["name=n"]}, 1),
        ({"scope": ["swarm"]}, 0),
    ],
)
def test_events_are_filtered(
    api: Any, engine: Any, terms: dict[str, list[str]], count: int
) -> None:
    publish_two(engine)
    target = "/events?since=1&until=0s&filters=" + quote(json.dumps(terms))
    assert len(api("GET", target).objects) == count


def test_a_dropped_events_client_leaves_no_listener(api: Any, engine: Any) -> None:
    async def converse() -> None:
        listening = asyncio.ensure_future(api.ask("GET", "/events"))
        await until(lambda: engine.events.listener_count == 1)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        assert engine.events.listener_count == 0

    api.run(converse())
