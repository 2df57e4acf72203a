# SPDX-License-Identifier: Apache-2.0
"""What docker's flags about ports, addresses and networks mean."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.cli import network_specs
from toolkit.errors import InvalidRequestError


def test_links_are_kept_in_order() -> None:
    """RT-076, API-080."""
    assert [network_specs.parse_link(text) for text in ("a:b", "c:d")] == ["a:b", "c:d"]


@pytest.mark.parametrize("text", ["a", "", ":b", "a:", "a:b:c"])
def test_bad_links_are_refused(text: str) -> None:
    """RT-076, API-080."""
    with pytest.raises(InvalidRequestError, match="name:alias"):
        network_specs.parse_link(text)


@pytest.mark.parametrize("text", ["1.2.3.4", "127.0.0.1", "::1"])
def test_addresses_are_returned_as_they_stand(text: str) -> None:
    """RT-079, API-085."""
    assert network_specs.parse_address("dns", text) == text


@pytest.mark.parametrize("text", ["127", "random invalid string", "", "1.2.3.4.5"])
def test_bad_addresses_are_refused(text: str) -> None:
    """RT-079, API-085."""
    with pytest.raises(InvalidRequestError, match="not an IP address"):
        network_specs.parse_address("dns", text)


@pytest.mark.parametrize(
    ("text", "port", "address", "host_port"),
    [
        ("80", "80/tcp", "", ""),
        ("8080:80", "80/tcp", "", "8080"),
        (":80", "80/tcp", "", ""),
        ("192.168.1.100::80", "80/tcp", "192.168.1.100", ""),
        ("192.168.1.100:8080:80", "80/tcp", "192.168.1.100", "8080"),
        ("192.168.1.100::6000/udp", "6000/udp", "192.168.1.100", ""),
        ("[::1]:53:53/udp", "53/udp", "::1", "53"),
        ("8000-8010:80", "80/tcp", "", "8000-8010"),
    ],
)
def test_ports_are_parsed(text: str, port: str, address: str, host_port: str) -> None:
    """RT-089, RT-090, RT-091, RT-092, API-122."""
    ports, bindings = network_specs.parse_ports([text], [])
    assert ports == {port: {}}
    assert bindings == {port: [{"HostIp": address, "HostPort": host_port}]}


def test_a_range_of_ports_goes_pairwise() -> None:
    _, bindings = network_specs.parse_ports(["8000-8001:90-91"], [])
    assert [(port, one[0]["HostPort"]) for port, one in bindings.items()] == [
        ("90/tcp", "8000"),
        ("91/tcp", "8001"),
    ]


def test_a_port_published_twice_keeps_both_bindings() -> None:
    _, bindings = network_specs.parse_ports(["1:80", "2:80"], ["81"])
    assert [one["HostPort"] for one in bindings["80/tcp"]] == ["1", "2"]


def test_exposed_ports_have_their_protocol_behind() -> None:
    assert network_specs.parse_ports([], ["80/udp", "90-91"])[0] == {
        "80/udp": {},
        "90/tcp": {},
        "91/tcp": {},
    }


@pytest.mark.parametrize(
    "text", ["", "x", "1:2:3:4", "65536", "80/xyz", "1-2:1-3", "9-8", "host:1:2", "-1"]
)
def test_bad_ports_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="invalid port"):
        network_specs.parse_ports([text], [])


def test_an_exposed_port_with_a_host_port_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="--expose"):
        network_specs.parse_ports([], ["80:80"])


def test_extra_hosts_take_both_signs() -> None:
    assert (
        network_specs.parse_extra_host("a:1.2.3.4")
        == network_specs.parse_extra_host("a=1.2.3.4")
        == "a:1.2.3.4"
    )
    assert network_specs.parse_extra_host("h:host-gateway") == "h:host-gateway"
    with pytest.raises(InvalidRequestError, match="--add-host"):
        network_specs.parse_extra_host("a:b")


def parsed(
    *texts: str, alias: tuple[str, ...] = (), ip: str = "", ip6: str = "", mac: str = ""
) -> tuple[str, dict[str, Any]]:
    flags = {"network_alias": alias, "ip": ip, "ip6": ip6, "mac_address": mac, "link_local_ip": ()}
    return network_specs.parse_networks(texts, flags)


def test_a_port_may_be_written_in_words() -> None:
    words = "published=8080,target=80,protocol=udp"
    assert network_specs.parse_ports([words], []) == network_specs.parse_ports(["8080:80/udp"], [])
    for bad in ("target", "target=80,odd=1", "published=1"):
        with pytest.raises(InvalidRequestError, match="invalid port"):
            network_specs.parse_ports([bad], [])


def test_no_network_is_the_default_one() -> None:
    assert parsed() == ("default", {})
    assert parsed("lan") == ("lan", {})
    assert parsed("container:web") == ("container:web", {})


def test_the_flags_ask_the_first_network() -> None:
    assert parsed("lan", "wan", alias=("a", "b"), ip="10.1.0.5", ip6="fd00::5") == (
        "lan",
        {
            "lan": {
                "Aliases": ["a", "b"],
                "IPAMConfig": {"IPv4Address": "10.1.0.5", "IPv6Address": "fd00::5"},
            },
            "wan": {},
        },
    )
    assert parsed(mac="02:42:0a:01:00:05") == (
        "default",
        {"default": {"MacAddress": "02:42:0a:01:00:05"}},
    )


def test_the_long_form_asks_each_network() -> None:
    text = "name=lan,alias=a,alias=b,ip=10.1.0.5,mac-address=02:42:0a:01:00:05,driver-opt=k=v"
    assert parsed("wan", text)[1]["lan"] == {
        "Aliases": ["a", "b"],
        "IPAMConfig": {"IPv4Address": "10.1.0.5"},
        "MacAddress": "02:42:0a:01:00:05",
        "DriverOpts": {"k": "v"},
    }


@pytest.mark.parametrize(
    ("texts", "flags", "words"),
    [
        (("lan", "lan"), {}, "'lan' is specified multiple times"),
        (("lan", "host"), {}, "both user-defined and non-user-defined"),
        (("name=lan,odd=1",), {}, "invalid field key odd"),
        (("alias=a,ip=1",), {}, "network name/id is not specified"),
        (("name=lan,alias",), {}, "invalid field 'alias'"),
        ((), {"alias": ("a",)}, "only supported for user-defined networks"),
        (("name=lan,alias=a",), {"alias": ("b",)}, "both --network-alias and per-network alias"),
        (("name=lan,ip=10.1.0.5",), {"ip": "10.1.0.6"}, "both --ip and per-network"),
    ],
)
def test_contradictions_are_refused(
    texts: tuple[str, ...], flags: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        parsed(*texts, **flags)
