# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import sys
from ipaddress import ip_address
from itertools import islice
from typing import cast

import pytest

from toolkit.errors import NotReadyError
from toolkit.network.listening import ListeningProbe, pauses, wait_listening
from toolkit.network.sockdiag import Listener, Protocol, SocketDiagnosis


class Answers:
    """A diagnosis that finds a listener at the nth question."""

    def __init__(self, after: int, address: str = "0.0.0.0") -> None:  # noqa: S104 - a listener's
        self.asked = 0
        self._after, self._address = after, address
        self.now = 0.0

    def listeners(self, protocol: Protocol, port: int) -> list[Listener]:
        self.asked += 1
        if self.asked < self._after:
            return []
        return [Listener(protocol, ip_address(self._address), port)]

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def wait(answers: Answers, timeout_seconds: float = 5, address: str = "") -> float:
    probe = ListeningProbe(cast("SocketDiagnosis", answers))
    return wait_listening(
        probe, 80, timeout_seconds=timeout_seconds, address=address,
        clock=lambda: answers.now, sleep=answers.sleep,
    )  # fmt: skip


def test_questions_come_less_and_less_often() -> None:
    shown = list(islice(pauses(), 20))
    assert shown[0] == 0.002
    assert shown == sorted(shown)
    assert shown[-1] == 0.05


def test_who_listens_already_is_not_waited_for() -> None:
    answers = Answers(after=1)
    assert wait(answers) == 0
    assert answers.asked == 1


def test_waiting_ends_with_the_first_listener() -> None:
    answers = Answers(after=4)
    assert wait(answers) == pytest.approx(0.002 + 0.003 + 0.0045)


def test_waiting_ends_when_the_time_is_up() -> None:
    answers = Answers(after=10**9)
    with pytest.raises(NotReadyError, match="nobody listens on 80/tcp after 1 s"):
        wait(answers, timeout_seconds=1)
    assert answers.now == pytest.approx(1)
    assert answers.asked < 40


def test_a_program_that_listens_on_loopback_alone_is_not_ready_for_others() -> None:
    with pytest.raises(NotReadyError, match=r"only on 127\.0\.0\.1"):
        wait(Answers(after=1, address="127.0.0.1"), 0.1, address="172.17.0.2")
    assert wait(Answers(after=1, address="::"), 0.1, address="172.17.0.2") == 0


@pytest.mark.skipif(sys.platform != "linux", reason="asks a Linux kernel")
def test_the_kernel_tells_who_listens() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ListeningProbe(SocketDiagnosis()) as probe,
    ):
        udp.bind(("127.0.0.1", 0))
        port, udp_port = tcp.getsockname()[1], udp.getsockname()[1]
        assert probe.is_listening(port)
        assert probe.is_listening(udp_port, "udp")
        tcp.close()
        assert not probe.is_listening(port)
