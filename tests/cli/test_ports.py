# SPDX-License-Identifier: Apache-2.0
"""`port`, and the ports of `ps`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.stub_engine import StubEngine, says
from toolkit.cli.naturally import natural_key
from toolkit.cli.ports import port_words

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine

ANY = "0.0.0.0"  # noqa: S104 - what docker calls every address


def exposed(number: int, kind: str = "tcp") -> dict[str, Any]:
    return {"PrivatePort": number, "Type": kind}


def published(host: int, number: int, address: str = ANY, kind: str = "tcp") -> dict[str, Any]:
    return {"IP": address, "PublicPort": host, **exposed(number, kind)}


def has_ports(stub: StubEngine, ports: dict[str, Any] | None) -> None:
    stub.on("GET /containers/x/json", says(200, {"NetworkSettings": {"Ports": ports}}))


@pytest.mark.parametrize(
    ("ports", "words"),
    [
        ([], ""),
        ([exposed(80)], "80/tcp"),
        ([exposed(53, "udp"), exposed(53)], "53/tcp, 53/udp"),
        ([published(8080, 80)], f"{ANY}:8080->80/tcp"),
        ([published(80, 80)], f"{ANY}:80->80/tcp"),
        (
            [published(80, 80), published(80, 80, "::")],
            f"{ANY}:80->80/tcp, [::]:80->80/tcp",
        ),
        ([exposed(number) for number in (82, 81, 80, 90)], "80-82/tcp, 90/tcp"),
        (
            [published(number, number) for number in (8000, 8001, 8002)],
            f"{ANY}:8000-8002->8000-8002/tcp",
        ),
        (
            [exposed(22), published(9001, 81), published(9000, 80), published(22, 22)],
            f"22/tcp, {ANY}:22->22/tcp, {ANY}:9000->80/tcp, {ANY}:9001->81/tcp",
        ),
        (
            [published(80, 80), published(81, 81, "127.0.0.1"), published(82, 82)],
            f"{ANY}:80->80/tcp, {ANY}:82->82/tcp, 127.0.0.1:81->81/tcp",
        ),
    ],
)
def test_ports_of_ps_are_folded_as_dockers(ports: list[dict[str, Any]], words: str) -> None:
    """API-125, API-126, RT-106, RT-107: by number, tcp before udp."""
    assert port_words(ports) == words


def test_published_ports_are_listed_as_people_count(toolkit: CommandLine, stub: StubEngine) -> None:
    nine, ten = [{"HostIp": ANY, "HostPort": "9"}], [{"HostIp": "::", "HostPort": "10"}]
    has_ports(stub, {"100/tcp": nine + ten, "80/tcp": nine, "81/tcp": None})
    assert toolkit("port", "x").out == (
        f"80/tcp -> {ANY}:9\n100/tcp -> {ANY}:9\n100/tcp -> [::]:10\n"
    )


def test_one_port_is_looked_up(toolkit: CommandLine, stub: StubEngine) -> None:
    has_ports(stub, {"53/udp": [{"HostIp": "10.0.0.1", "HostPort": "5353"}], "81/tcp": None})
    assert toolkit("port", "x", "53/udp") == (0, "10.0.0.1:5353\n", "")


@pytest.mark.parametrize(
    ("port", "words"),
    [
        ("53", "No public port '53' published for x"),
        ("81/tcp", "No public port '81/tcp' published for x"),
        ("http", "invalid port (http)"),
        ("70000", "invalid port (70000)"),
        ("", ""),
    ],
)
def test_what_is_not_published_is_an_error(
    toolkit: CommandLine, stub: StubEngine, port: str, words: str
) -> None:
    has_ports(stub, {"81/tcp": None})
    if not port:
        assert toolkit("port", "x") == (0, "", "")
    else:
        assert toolkit("port", "x", port) == (1, "", f"toolkit: {words}\n")


def test_a_stopped_container_has_no_ports(toolkit: CommandLine, stub: StubEngine) -> None:
    has_ports(stub, None)
    assert toolkit("port", "x") == (0, "", "")


def test_numbers_in_texts_count() -> None:
    texts = ["net10", "net9", "net", "a2b", "a2", "10"]
    assert sorted(texts, key=natural_key) == ["10", "a2", "a2b", "net", "net9", "net10"]
