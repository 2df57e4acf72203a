# SPDX-License-Identifier: Apache-2.0
"""Is it listening? Asked about a namespace from outside of it."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

from integration.pace import SLOWNESS
from toolkit.network.listening import ListeningProbe, wait_listening

if TYPE_CHECKING:
    from integration.network.conftest import Container, Rig


def container(rig: Rig) -> Container:
    return rig.container(rig.bridge())


def test_a_listener_inside_is_seen_and_one_outside_is_not(rig: Rig) -> None:
    inside = container(rig)
    with ListeningProbe.inside(inside.netns_fd) as probe, socket.create_server(("", 8080)):
        assert not probe.is_listening(8080)
        with inside.serve(8080):
            assert probe.is_listening(8080)
            assert probe.is_listening(8080, address=inside.address)
        assert not probe.is_listening(8080)


def test_a_listener_on_loopback_is_not_heard_at_the_address(rig: Rig) -> None:
    inside = container(rig)
    with ListeningProbe.inside(inside.netns_fd) as probe, inside.serve(8080, "127.0.0.1"):
        assert probe.is_listening(8080)
        assert not probe.is_listening(8080, address=inside.address)


def test_a_datagram_socket_is_seen(rig: Rig) -> None:
    inside = container(rig)
    with ListeningProbe.inside(inside.netns_fd) as probe, inside.hear(53):
        assert probe.is_listening(53, "udp")
        assert not probe.is_listening(53, "tcp")


def test_an_ipv6_socket_hears_ipv4_unless_it_is_told_not_to(rig: Rig) -> None:
    inside = container(rig)

    def serve(port: int, *, dual: bool) -> socket.socket:
        family = socket.AF_INET6
        return socket.create_server(("::", port), family=family, dualstack_ipv6=dual)

    with (
        ListeningProbe.inside(inside.netns_fd) as probe,
        inside.do(lambda: serve(81, dual=True)),
        inside.do(lambda: serve(82, dual=False)),
    ):
        assert probe.is_listening(81, address=inside.address)
        assert not probe.is_listening(82, address=inside.address)
        assert probe.is_listening(82)


def test_waiting_ends_soon_after_the_program_listens(rig: Rig) -> None:
    inside = container(rig)
    opened: list[socket.socket] = []
    timer = threading.Timer(0.1, lambda: opened.append(inside.serve(80)))
    timer.start()
    with ListeningProbe.inside(inside.netns_fd) as probe:
        taken = wait_listening(probe, 80, timeout_seconds=5)
    timer.join()
    opened[0].close()
    assert 0.05 < taken < 1


def test_a_question_is_cheap(rig: Rig) -> None:
    """Cost: 0.1 ms; ten times that on a machine that is busy."""
    with ListeningProbe.inside(container(rig).netns_fd) as probe:
        begin = time.perf_counter()
        for _ in range(100):
            probe.is_listening(80)
        assert (time.perf_counter() - begin) / 100 < 0.001 * SLOWNESS
