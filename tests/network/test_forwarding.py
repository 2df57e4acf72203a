# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from toolkit.network.firewall import LinkName
from toolkit.network.forwarding import Forwarding

if TYPE_CHECKING:
    from pathlib import Path


def make(root: Path, **values: str) -> Forwarding:
    files = {
        "ip_forward": "ipv4/ip_forward",
        "bridge": "bridge/bridge-nf-call-iptables",
        "all6": "ipv6/conf/all/forwarding",
        "ra": "ipv6/conf/eth0/accept_ra",
        "localnet": "ipv4/conf/tkt0/route_localnet",
    }
    for name, value in values.items():
        path = root / files[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)
    return Forwarding(root)


@pytest.mark.parametrize(
    ("content", "enabled"), [("1\n", True), ("1", True), ("0\n", False), ("", False)]
)
def test_forwarding_is_on_if_the_first_byte_is_one(
    tmp_path: Path, content: str, *, enabled: bool
) -> None:
    """RT 3.3."""
    assert make(tmp_path, ip_forward=content).is_enabled is enabled


def test_a_parameter_that_cannot_be_read_is_off(tmp_path: Path) -> None:
    """RT 3.3, 3.7."""
    forwarding = make(tmp_path)
    assert not forwarding.is_enabled
    assert forwarding.enable() == ["WARNING: IPv4 forwarding is disabled."]
    assert forwarding.filter_bridges() == ["WARNING: bridge-nf-call-iptables is disabled"]
    assert not forwarding.allow_loopback_nat(LinkName("tkt0"))


def test_forwarding_is_switched_on_without_a_warning(tmp_path: Path) -> None:
    forwarding = make(tmp_path, ip_forward="0\n", bridge="0\n", localnet="0\n")
    assert forwarding.enable() == []
    assert forwarding.filter_bridges() == []
    assert forwarding.allow_loopback_nat(LinkName("tkt0"))
    assert forwarding.is_enabled
    assert forwarding.filters_bridges


def test_forwarding_that_may_not_be_switched_on_stays_as_it_is(tmp_path: Path) -> None:
    """--ip-forward=false."""
    make(tmp_path, ip_forward="0\n", all6="0", ra="1")
    assert Forwarding(tmp_path, may_enable=False).enable(ipv6=True) == [
        "WARNING: IPv4 forwarding is disabled.",
        "WARNING: IPv6 forwarding is disabled.",
    ]
    assert (tmp_path / "ipv4/ip_forward").read_text() == "0\n"
    assert (tmp_path / "ipv6/conf/eth0/accept_ra").read_text() == "1"


def test_who_takes_router_advertisements_goes_on_taking_them(tmp_path: Path) -> None:
    forwarding = make(tmp_path, ip_forward="1", all6="0", ra="1\n")
    assert forwarding.enable(ipv6=True) == []
    assert (tmp_path / "ipv6/conf/eth0/accept_ra").read_text() == "2"
