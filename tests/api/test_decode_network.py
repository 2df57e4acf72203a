# SPDX-License-Identifier: Apache-2.0
"""What create, connect and a network's create ask for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from toolkit.api.decode import container_spec
from toolkit.api.decode_network import endpoint_spec, network_spec, read_endpoints
from toolkit.api.schemas import ConnectBody, CreateBody, NetworkBody, NetworkingConfig, read_body
from toolkit.engine.model import ContainerSpec, EndpointSpec, NetworkSpec, PoolSpec, PortBinding
from toolkit.errors import InvalidRequestError


def wish(**settings: Any) -> EndpointSpec:
    body = read_body(json.dumps({"EndpointConfig": settings}).encode(), ConnectBody)
    return endpoint_spec(body.endpoint_config)


def asked(**body: Any) -> NetworkSpec:
    return network_spec(read_body(json.dumps(body).encode(), NetworkBody))


def created(host: dict[str, Any], **body: Any) -> ContainerSpec:
    raw = json.dumps({"Image": "i", "HostConfig": host, **body}).encode()
    return container_spec(read_body(raw, CreateBody))[0]


def test_an_endpoint_is_read_whole() -> None:
    assert wish(
        IPAMConfig={"IPv4Address": "10.1.0.9", "IPv6Address": "fd00::9", "LinkLocalIPs": []},
        Links=["db:store"],
        Aliases=["web", "www"],
        MacAddress="02:42:ac:11:00:02",
        DriverOpts={"a": "b"},
        NetworkID="ignored",
        EndpointID="ignored",
    ) == EndpointSpec(
        ipv4="10.1.0.9",
        ipv6="fd00::9",
        links=("db:store",),
        aliases=("web", "www"),
        mac="02:42:ac:11:00:02",
        driver_options={"a": "b"},
    )


def test_an_endpoint_of_nulls_asks_for_nothing() -> None:
    fields = ("IPAMConfig", "Links", "Aliases", "MacAddress", "DriverOpts")
    assert wish(**dict.fromkeys(fields)) == EndpointSpec()
    assert endpoint_spec(None) == EndpointSpec()


def test_link_local_addresses_are_the_kernels() -> None:
    with pytest.raises(InvalidRequestError, match="link-local"):
        wish(IPAMConfig={"LinkLocalIPs": ["169.254.0.2"]})


@pytest.mark.parametrize(
    ("mode", "names", "kept"),
    [
        (None, {"default": None}, set()),
        ("bridge", {"default": {}}, set()),
        ("none", {"default": {}}, set()),
        ("host", {"host": {}}, set()),
        ("lan", {"lan": {}}, set()),
        ("lan", {"lan": {"Aliases": ["a"]}}, {"lan"}),
        ("lan", {"lan": None, "wan": None}, {"wan"}),
        ("default", {"default": {"MacAddress": "02:42:ac:11:00:02"}}, {"bridge"}),
    ],
)
def test_only_what_is_asked_for_is_kept(
    mode: str | None, names: dict[str, Any], kept: set[str]
) -> None:
    config = read_body(
        json.dumps({"NetworkingConfig": {"EndpointsConfig": names}}).encode(), CreateBody
    ).networking_config
    assert set(read_endpoints(config, mode)) == kept
    assert read_endpoints(NetworkingConfig(), mode) == {}
    assert read_endpoints(None, mode) == {}


def test_a_range_of_the_host_stays_one() -> None:
    binding = {"HostIp": "127.0.0.1", "HostPort": "8000-8010"}
    spec = created({"PortBindings": {"80/tcp": [binding, {"HostPort": "9000-9000"}]}})
    assert spec.host.published_ports["80/tcp"] == (
        PortBinding(host_ip="127.0.0.1", host_port=8000, last_host_port=8010),
        PortBinding(host_port=9000),
    )


@pytest.mark.parametrize("host_port", ["0-10", "90-80", "80-", "-80", "1-70000", "1-2-3"])
def test_a_bad_range_of_the_host_is_refused(host_port: str) -> None:
    with pytest.raises(InvalidRequestError, match="invalid port"):
        created({"PortBindings": {"80/tcp": [{"HostPort": host_port}]}})


def test_ports_of_the_hosts_network_are_left_out_with_a_warning() -> None:
    host = {"NetworkMode": "host", "PortBindings": {"80/tcp": [{"HostPort": "80"}]}}
    raw = json.dumps({"Image": "i", "HostConfig": host}).encode()
    assert container_spec(read_body(raw, CreateBody))[1] == [
        "Published ports are discarded when using host network mode"
    ]


def test_a_network_is_read_whole() -> None:
    """What `docker network create` 28 sends."""
    assert asked(
        Name="lan",
        Driver="bridge",
        Scope="",
        EnableIPv6=True,
        IPAM={
            "Driver": "default",
            "Options": {},
            "Config": [
                {
                    "Subnet": "10.1.0.0/16",
                    "IPRange": "10.1.2.0/24",
                    "Gateway": "10.1.0.1",
                    "AuxiliaryAddresses": {"router": "10.1.0.9"},
                },
                {},
            ],
        },
        Internal=True,
        Attachable=True,
        Ingress=False,
        ConfigOnly=False,
        ConfigFrom=None,
        Options={"com.docker.network.bridge.enable_icc": "false"},
        Labels={"k": "v"},
    ) == NetworkSpec(
        name="lan",
        internal=True,
        ipv6=True,
        attachable=True,
        options={"com.docker.network.bridge.enable_icc": "false"},
        labels={"k": "v"},
        pools=(
            PoolSpec(
                subnet="10.1.0.0/16",
                ip_range="10.1.2.0/24",
                gateway="10.1.0.1",
                auxiliary={"router": "10.1.0.9"},
            ),
        ),
    )


def test_a_network_of_nulls_is_a_bridge() -> None:
    fields = ("Driver", "IPAM", "Internal", "Options", "Labels", "CheckDuplicate", "EnableIPv6")
    assert asked(Name="lan", **dict.fromkeys(fields)) == NetworkSpec(name="lan")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"ConfigOnly": True}, "configuration-only"),
        ({"ConfigFrom": {"Network": "x"}}, "configuration-only"),
        ({"Ingress": True}, "swarm"),
        ({"Scope": "swarm"}, "invalid scope 'swarm'"),
        ({"IPAM": {"Driver": "odd"}}, "invalid IPAM driver 'odd'"),
        ({"EnableIPv4": False}, "without IPv4"),
    ],
)
def test_what_one_host_cannot_do_is_refused(body: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        asked(Name="lan", **body)
