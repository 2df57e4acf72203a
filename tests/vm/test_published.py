# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.engine_http import Answer, CannedEngine
from toolkit.errors import MachineError
from toolkit.vm.login import Login
from toolkit.vm.published import Ports, PublishedPort, free_port, is_free, published_ports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WEB: dict[str, Any] = {
    "Names": ["/web"],
    "Ports": [
        {"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp", "IP": "0.0.0.0"},  # noqa: S104
        {"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp", "IP": "::"},
        {"PrivatePort": 443, "Type": "tcp"},
    ],
}
DNS: dict[str, Any] = {
    "Names": ["/dns"],
    "Ports": [{"PrivatePort": 53, "PublicPort": 5353, "Type": "udp"}],
}


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def login(tmp_path: Path, asked: list[str]) -> Login:
    def run(argv: Sequence[str], **_: Any) -> str:
        asked.append(" ".join(argv[4:-1]))
        return ""

    return Login(machine="m", directory=tmp_path, run=run)


def forward(login: Login, containers: list[dict[str, Any]], *, free: bool = True) -> list[str]:
    said: list[str] = []
    login.socket_path.unlink(missing_ok=True)
    answers: dict[str, Answer] = {"GET /containers/json": (200, containers)}
    with CannedEngine(answers).serving(login.socket_path):
        Ports(login=login, say=said.append, is_free=lambda _: free).forward()
    return said


def test_a_port_on_both_families_is_one() -> None:
    assert published_ports([WEB]) == [
        PublishedPort(container="web", port=8080, container_port=80, protocol="tcp")
    ]


def test_a_published_port_is_forwarded_as_the_same_one(login: Login, asked: list[str]) -> None:
    assert forward(login, [WEB]) == ["web 80/tcp -> 127.0.0.1:8080"]
    assert asked == ["forward -L 127.0.0.1:8080:127.0.0.1:8080"]


@pytest.mark.parametrize(
    ("address", "target"),
    [("192.0.2.7", "192.0.2.7:8080"), ("2001:db8::7", "[2001:db8::7]:8080")],
)
def test_a_port_on_one_address_of_the_machines_is_reached_there(
    login: Login, asked: list[str], address: str, target: str
) -> None:
    port = {"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp", "IP": address}
    forward(login, [{"Names": ["/one"], "Ports": [port]}])
    assert asked == [f"forward -L 127.0.0.1:8080:{target}"]


def test_what_was_forwarded_before_one_failed_is_taken_back_the_next_time(
    tmp_path: Path, asked: list[str]
) -> None:
    def run(argv: Sequence[str], **_: Any) -> str:
        asked.append(" ".join(argv[4:-1]))
        if argv[4] == "forward" and ":9090:" in argv[6]:
            raise MachineError("port is taken")
        return ""

    login = Login(machine="m", directory=tmp_path, run=run)
    other = {"Names": ["/z"], "Ports": [{"PrivatePort": 90, "PublicPort": 9090, "Type": "tcp"}]}
    with pytest.raises(MachineError):
        forward(login, [WEB, other])
    asked.clear()
    Ports(login=login, is_free=is_free).close()
    assert asked == ["cancel -L 127.0.0.1:8080:127.0.0.1:8080"]


def test_a_port_that_is_taken_here_becomes_a_free_one(login: Login, asked: list[str]) -> None:
    said = forward(login, [WEB], free=False)
    assert "127.0.0.1:8080:" not in asked[0]
    assert asked[0].endswith(":127.0.0.1:8080")
    assert said[0].rpartition(":")[2] in asked[0]


def test_udp_is_said_to_stay_out_of_reach(login: Login, asked: list[str]) -> None:
    assert "SSH carries tcp only" in forward(login, [DNS])[0]
    assert asked == []


def test_the_next_time_earlier_forwards_are_taken_back(login: Login, asked: list[str]) -> None:
    forward(login, [WEB])
    asked.clear()
    assert forward(login, []) == ["m: no container publishes a port"]
    assert asked == ["cancel -L 127.0.0.1:8080:127.0.0.1:8080"]


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    import socket  # noqa: PLC0415 - here only

    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free(server.getsockname()[1])
    assert is_free(free_port())
