# SPDX-License-Identifier: Apache-2.0
"""What lists and inspect say about a container's networks and ports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.api.conftest import make_record
from toolkit.api.render_network import endpoints, network_settings, port_map, ports_of_list
from toolkit.config import Instance
from toolkit.engine.model import (
    ContainerRecord,
    ContainerSpec,
    ContainerState,
    EndpointId,
    EndpointRecord,
    EndpointSpec,
    HostOptions,
    NetworkId,
    PublishedPort,
    State,
)

ANY = "0.0.0.0"  # noqa: S104 - what docker calls every address
INSTANCE = Instance(name="box")
IDS = {"bridge": "b" * 64, "lan": "a" * 64, "none": "c" * 64}


def seat(network: str, **changes: Any) -> EndpointRecord:
    return replace(
        EndpointRecord(
            network_id=NetworkId(IDS[network]),
            id=EndpointId("e" * 64),
            interface="eth0",
            link="boxABCD",
            ipv4="172.17.0.2",
            prefix_length=16,
            gateway="172.17.0.1",
            mac="02:42:ac:11:00:02",
        ),
        **changes,
    )


def container(mode: str = "bridge", *, runs: bool = True, **changes: Any) -> ContainerRecord:
    spec = ContainerSpec(
        image="i",
        host=HostOptions(network_mode=mode),
        exposed_ports=changes.pop("exposed_ports", ()),
        endpoints=changes.pop("wishes", {}),
        mac_address=changes.pop("mac_address", ""),
        hostname="host1",
    )
    running = ContainerState(status=State.RUNNING, pid=7, start_time_ticks=9)
    return make_record(spec=spec, state=running if runs else ContainerState(), **changes)


def published(port: int, host_port: int, host_ip: str = ANY) -> PublishedPort:
    return PublishedPort(container_port=port, protocol="tcp", host_ip=host_ip, host_port=host_port)


def test_the_default_bridge_is_shown_twice_as_clients_of_old_expect() -> None:
    shown = network_settings(container(endpoints={"bridge": seat("bridge")}), INSTANCE, IDS)
    assert shown["Bridge"] == "box0"
    assert (shown["IPAddress"], shown["IPPrefixLen"]) == ("172.17.0.2", 16)
    assert (shown["Gateway"], shown["MacAddress"]) == ("172.17.0.1", "02:42:ac:11:00:02")
    assert shown["EndpointID"] == "e" * 64
    assert shown["SandboxKey"] == "/proc/7/ns/net"
    assert len(shown["SandboxID"]) == 64
    (name, own), *_ = shown["Networks"].items()
    assert (name, own["NetworkID"], own["IPAddress"]) == ("bridge", "b" * 64, "172.17.0.2")
    assert (own["Aliases"], own["DNSNames"], own["IPAMConfig"]) == (None, None, None)


def test_a_user_network_is_shown_with_its_names() -> None:
    wishes = {"lan": EndpointSpec(aliases=("www",), ipv4="10.0.0.5", links=("db:store",))}
    ends = {"lan": seat("lan", ipv6="fd00::5", ipv6_prefix_length=64, ipv6_gateway="fd00::1")}
    shown = network_settings(container("lan", wishes=wishes, endpoints=ends), INSTANCE, IDS)
    assert (shown["IPAddress"], shown["Bridge"]) == ("", "")
    own = shown["Networks"]["lan"]
    assert own["IPAMConfig"] == {"IPv4Address": "10.0.0.5"}
    assert own["Links"] == ["db:store"]
    assert own["Aliases"] == ["www", "010101010101"]
    assert own["DNSNames"] == ["name1", "www", "010101010101", "host1"]
    assert (own["GlobalIPv6Address"], own["GlobalIPv6PrefixLen"]) == ("fd00::5", 64)
    assert own["IPv6Gateway"] == "fd00::1"


def test_a_stopped_container_keeps_its_wishes_and_has_no_address() -> None:
    wishes = {"bridge": EndpointSpec(), "lan": EndpointSpec()}
    record = container(runs=False, mac_address="02:42:00:00:00:09", wishes=wishes)
    shown = network_settings(record, INSTANCE, IDS)
    assert sorted(shown["Networks"]) == ["bridge", "lan"]
    own = shown["Networks"]["bridge"]
    assert (own["NetworkID"], own["EndpointID"], own["IPAddress"]) == ("b" * 64, "", "")
    assert own["MacAddress"] == "02:42:00:00:00:09"
    assert (shown["SandboxID"], shown["SandboxKey"], shown["Bridge"]) == ("", "", "")


def test_one_that_was_taken_off_all_networks_shows_none() -> None:
    assert endpoints(container("lan"), IDS) == {}
    assert list(endpoints(container("lan", runs=False), IDS)) == ["lan"]
    assert list(endpoints(container("host"), IDS)) == ["host"]


def test_another_containers_network_is_not_ones_own() -> None:
    record = container("container:" + "f" * 64, exposed_ports=("80/tcp",))
    assert endpoints(record, IDS) == {}
    assert port_map(record) == {}


def test_exposed_ports_are_null_and_published_ones_say_where() -> None:
    record = container(
        exposed_ports=("80/tcp", "53/udp"),
        ports=(published(80, 8080), published(80, 8080, "::"), published(81, 8081, "127.0.0.1")),
    )
    assert port_map(record) == {
        "53/udp": None,
        "80/tcp": [
            {"HostIp": ANY, "HostPort": "8080"},
            {"HostIp": "::", "HostPort": "8080"},
        ],
        "81/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8081"}],
    }
    assert ports_of_list(record) == [
        {"PrivatePort": 53, "Type": "udp"},
        {"IP": ANY, "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "127.0.0.1", "PrivatePort": 81, "PublicPort": 8081, "Type": "tcp"},
    ]


@pytest.mark.parametrize(("mode", "runs"), [("bridge", False), ("host", True), ("none", True)])
def test_what_has_no_ports_of_its_own_shows_none(mode: str, *, runs: bool) -> None:
    assert port_map(container(mode, runs=runs, exposed_ports=("80/tcp",))) == {}
