# SPDX-License-Identifier: Apache-2.0
"""Options that a network or UTS mode rules out, in the words of docker's daemon."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.engine.mode_conflicts import check_modes
from toolkit.engine.model import ContainerSpec, EndpointSpec, HostOptions, PortBinding
from toolkit.errors import InvalidRequestError

PEER = "container:peer"
MAC = "02:42:ac:11:00:09"


def request(mode: str = "", fields: dict[str, Any] | None = None, **options: Any) -> ContainerSpec:
    host = HostOptions(network_mode=mode, **options)
    return ContainerSpec(image="img", host=host, **(fields or {}))


@pytest.mark.parametrize(
    ("fields", "options", "text"),
    [
        ({"hostname": "h"}, {}, "hostname and the network mode"),
        ({}, {"links": ("a:b",)}, "container type network can't be used with links. This would"),
        ({}, {"dns": ("1.1.1.1",)}, "dns and the network mode"),
        ({}, {"extra_hosts": ("a:1.2.3.4",)}, "custom host-to-IP mapping and the network mode"),
        ({}, {"publish_all_ports": True}, "port publishing and the container type network mode"),
        (
            {"exposed_ports": ("80/tcp",)},
            {"published_ports": {"80/tcp": (PortBinding(host_port=80),)}},
            "port publishing and the container type network mode",
        ),
        (
            {"exposed_ports": ("80/tcp",)},
            {},
            "port exposing and the container type network mode",
        ),
        ({"mac_address": MAC}, {}, "mac-address and the network mode"),
        ({"endpoints": {PEER: EndpointSpec(mac=MAC)}}, {}, "mac-address and the network mode"),
    ],
)
def test_who_uses_anothers_network_has_none_to_choose_for(
    fields: dict[str, Any], options: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        check_modes(request(PEER, fields, **options))
    assert str(refused.value).startswith(f"conflicting options: {text}")
    check_modes(request("bridge", fields, **options))


def test_what_touches_only_its_own_files_is_no_conflict() -> None:
    """As docker has it, search domains and options of names too."""
    check_modes(request(PEER, {"domainname": "x.y"}, dns_search=("x.y",), dns_options=("ndots:1",)))
    check_modes(request("host", {"hostname": "h"}, publish_all_ports=True, dns=("1.1.1.1",)))


@pytest.mark.parametrize("mode", ["host", "none", PEER])
def test_an_address_needs_a_network(mode: str) -> None:
    wish = {"endpoints": {mode: EndpointSpec(ipv4="10.0.0.9")}}
    with pytest.raises(InvalidRequestError, match="supported on user defined networks only"):
        check_modes(request(mode, wish))


def test_a_mac_is_refused_on_the_hosts_network_and_means_nothing_on_none() -> None:
    with pytest.raises(InvalidRequestError, match="mac-address and the network mode"):
        check_modes(request("host", {"mac_address": MAC}))
    check_modes(request("none", {"mac_address": MAC}))


def test_a_container_has_to_be_named() -> None:
    with pytest.raises(InvalidRequestError, match=r"container:<name\|id>"):
        check_modes(request("container:"))


def test_the_hosts_name_cannot_be_chosen() -> None:
    with pytest.raises(InvalidRequestError, match="hostname and the UTS mode"):
        check_modes(request("bridge", {"hostname": "h"}, uts_mode="host"))
