# SPDX-License-Identifier: Apache-2.0
"""0.7.2's notation of ports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import InvalidPortError
from toolkit.network.port_specs import (
    HostBinding,
    parse_exposed,
    parse_port_specs,
    split_by_template,
)


@pytest.mark.parametrize(
    ("text", "port", "binding"),
    [
        ("192.168.1.100::80", "80/tcp", HostBinding("192.168.1.100", "")),  # RT-089
        ("192.168.1.100:8080:80", "80/tcp", HostBinding("192.168.1.100", "8080")),  # RT-090
        ("192.168.1.100::6000/udp", "6000/udp", HostBinding("192.168.1.100", "")),  # RT-091
        ("80", "80/tcp", HostBinding("", "")),
        ("8080:80", "80/tcp", HostBinding("", "8080")),
        ("::6000/udp", "6000/udp", HostBinding("", "")),
        ("any text:1:2/x", "2/x", HostBinding("any text", "1")),
    ],
)
def test_a_text_gives_one_port_and_one_binding(text: str, port: str, binding: HostBinding) -> None:
    """Rows RT-089, RT-090 and RT-091; rule 6.29."""
    assert parse_port_specs([text]) == {port: [binding]}


def test_a_template_names_the_parts() -> None:
    """Row RT-092."""
    assert split_by_template("192.168.1.1:80:8080", "ip:public:private") == {
        "ip": "192.168.1.1",
        "public": "80",
        "private": "8080",
    }


def test_bindings_of_one_port_add_up_in_order() -> None:
    assert parse_port_specs(["2:80", "1:80", "53/udp"]) == {
        "80/tcp": [HostBinding("", "2"), HostBinding("", "1")],
        "53/udp": [HostBinding("", "")],
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "a:b:c:d",
            "Invalid format to parse.  a:b:c:d should match template ip:hostPort:containerPort",
        ),
        ("8080:", "No port specified: 8080:<empty>"),
        ("", "No port specified: <empty>"),
        ("65536", "Invalid containerPort: 65536"),
        ("x:80x", "Invalid containerPort: 80x"),
        ("70000:80", "Invalid hostPort: 70000"),
        ("٣:80", "Invalid hostPort: ٣"),
    ],
)
def test_other_texts_are_refused_in_docker_s_words(text: str, words: str) -> None:
    with pytest.raises(InvalidPortError) as caught:
        parse_port_specs([text])
    assert str(caught.value) == words


def test_an_exposed_port_keeps_its_protocol_behind_the_number() -> None:
    """Rule 6.30; defect D-11 is not kept."""
    assert parse_exposed(["80", "53/udp"]) == ["80/tcp", "53/udp"]
    with pytest.raises(InvalidPortError, match="Invalid port format for -expose: 1:2"):
        parse_exposed(["1:2"])
    with pytest.raises(InvalidPortError):
        parse_exposed(["x"])


@given(st.text(alphabet="0123456789:./udptcx ", max_size=24))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        ports = parse_port_specs([text])
    except InvalidPortError:
        return
    assert sum(map(len, ports.values())) == 1
