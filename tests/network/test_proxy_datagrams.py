# SPDX-License-Identifier: Apache-2.0
"""UDP through a proxy, on loopback."""

from __future__ import annotations

import select
import socket
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests.network.loopback import address_of, bound, echo_datagrams, proxied
from tests.waiting import PATIENCE_SECONDS
from toolkit.network import proxy_datagrams
from toolkit.network.proxy_datagrams import SESSION_SECONDS, DatagramForward
from toolkit.network.proxy_loop import Loop

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_datagram_comes_back(host: str) -> None:
    """Rows RT-100 and RT-101."""
    with (
        echo_datagrams(host) as backend,
        proxied(backend, socket.SOCK_DGRAM, host) as front_end,
        client_of(front_end) as client,
    ):
        client.send(b"x" * 64)
        assert client.recv(100) == b"x" * 64


def test_a_backend_that_is_not_there_yet_ends_nothing() -> None:
    """Row RT-102: once it listens, the next datagram is echoed."""
    with bound(socket.SOCK_DGRAM) as later:
        backend = address_of(later)
    with proxied(backend, socket.SOCK_DGRAM) as front_end, client_of(front_end) as client:
        client.send(b"lost")
        client.send(b"lost too")
        with echo_datagrams(port=backend[1]):
            client.send(b"found")
            while (answer := client.recv(100)) != b"found":
                assert answer.startswith(b"lost")  # it was still on its way


def test_clients_are_told_apart() -> None:
    with (
        echo_datagrams() as backend,
        proxied(backend, socket.SOCK_DGRAM) as front_end,
        client_of(front_end) as one,
        client_of(front_end) as other,
    ):
        one.send(b"1")
        other.send(b"2")
        assert (one.recv(9), other.recv(9)) == (b"1", b"2")


def test_a_large_datagram_is_whole_and_an_empty_one_is_passed_on() -> None:
    """0.7.2 cut datagrams to 2048 bytes."""
    server = bound(socket.SOCK_DGRAM)
    server.settimeout(PATIENCE_SECONDS)
    with (
        server,
        proxied(address_of(server), socket.SOCK_DGRAM) as front_end,
        client_of(front_end) as client,
    ):
        client.send(b"x" * 60_000)
        assert len(server.recv(65536)) == 60_000
        client.send(b"")
        assert server.recv(9) == b""


def test_an_answer_leaves_from_the_address_that_was_sent_to() -> None:
    """A proxy at all addresses must not answer from another one: clients drop that."""
    with (
        echo_datagrams() as backend,
        proxied(backend, socket.SOCK_DGRAM, "0.0.0.0") as front_end,  # noqa: S104 - the case
        client_of(("127.0.0.7", front_end[1])) as client,
    ):
        client.send(b"x")
        assert client.recv(9) == b"x"


def test_silence_ends_a_session_and_a_new_one_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 6.28."""
    now = 0.0
    monkeypatch.setattr(proxy_datagrams, "time", SimpleNamespace(monotonic=lambda: now))
    with ExitStack() as undo:
        backend = undo.enter_context(echo_datagrams())
        loop = Loop(clock_seconds=0.001)
        listener = bound(socket.SOCK_DGRAM)
        forward = DatagramForward(loop, listener, backend, 4)
        undo.callback(forward.close)
        client = undo.enter_context(client_of(address_of(listener)))
        for _ in range(2):
            client.send(b"x")
            run_until(loop, lambda: is_readable(client))
            assert client.recv(9) == b"x"
            assert forward.sessions == 1
            now += SESSION_SECONDS + 1
            run_until(loop, lambda: not forward.sessions)


def run_until(loop: Loop, is_so: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""

    def tick() -> bool:
        loop.is_running = not is_so()
        return loop.is_running

    loop.is_running = True
    loop.add_clock(tick)
    loop.run()


def is_readable(client: socket.socket) -> bool:
    return bool(select.select([client], [], [], 0)[0])


def test_with_too_many_clients_the_longest_silent_one_gives_way() -> None:
    """Row S-90: bounded, and nothing is refused."""
    loop = Loop()
    listener, server = bound(socket.SOCK_DGRAM), bound(socket.SOCK_DGRAM)
    forward = DatagramForward(loop, listener, address_of(server), 2)
    with ExitStack() as undo:
        undo.enter_context(server)
        for _ in range(5):
            undo.enter_context(client_of(address_of(listener))).send(b"x")
        loop._epoll.poll(10)
        forward._receive(0)
        assert forward.sessions == 2
        forward.close()
        assert loop._watched == {}


def client_of(address: tuple[str, int]) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    client = socket.socket(family, socket.SOCK_DGRAM)
    client.settimeout(PATIENCE_SECONDS)
    client.connect(address)
    return client
