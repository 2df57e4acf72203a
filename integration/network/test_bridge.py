# SPDX-License-Identifier: Apache-2.0
"""Bridges in the kernel: made, harmed and mended (F-14); leftovers found by name and alias."""

from __future__ import annotations

import subprocess
import time
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import pytest

from integration.network.conftest import INSTANCE, can_connect, comes_true
from integration.pace import SLOWNESS
from toolkit.network.link_names import LinkOwner, find_leftovers
from toolkit.network.subnets import choose_bridge_interface

if TYPE_CHECKING:
    from integration.network.conftest import Rig


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def test_a_bridge_is_up_and_its_subnet_is_routed(rig: Rig) -> None:
    bridge = rig.bridge()
    bridge.ensure()
    assert IPv4Network("172.17.0.0/16") in rig.stack.routed_networks()
    chosen = choose_bridge_interface("x", routes=rig.stack.routed_networks(), nameservers=[])
    assert str(chosen) == "10.0.42.1/16"


def test_a_bridge_without_ipv6_has_no_address_that_nobody_gave_it(rig: Rig) -> None:
    """S-84."""
    bridge = rig.bridge()
    rig.container(bridge)
    assert rig.stack.addresses(bridge.ensure()) == [bridge.spec.interface]


@pytest.mark.parametrize(
    "harm",
    [
        ("link", "delete"), ("link", "set", "down", "dev"), ("addr", "flush", "dev"),
        ("link", "set", "mtu", "1280", "dev"), ("link", "set", "alias", "", "dev"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_containers_reach_each_other_again_after_the_next_use(
    rig: Rig, harm: tuple[str, ...]
) -> None:
    """F-14: bridge deleted, down, without address, MTU changed."""
    bridge = rig.bridge()
    one, other = rig.container(bridge), rig.container(bridge)
    with other.serve(80):
        assert one.do(lambda: can_connect(other.address, 80))
        ip(*harm, bridge.spec.link_name)
        begin = time.monotonic()
        bridge.ensure()
        assert one.do(lambda: can_connect(other.address, 80))
        assert one.do(lambda: can_connect(other.address, 80))
        assert can_connect(other.address, 80)
        assert time.monotonic() - begin < 5 * SLOWNESS


def test_a_renamed_bridge_gets_its_name_back(rig: Rig) -> None:
    """F-14."""
    bridge = rig.bridge()
    one, other = rig.container(bridge), rig.container(bridge)
    ip("link", "set", bridge.spec.link_name, "down")
    ip("link", "set", bridge.spec.link_name, "name", "stolen")
    bridge.ensure()
    with other.serve(80):
        assert one.do(lambda: can_connect(other.address, 80))
    assert rig.stack.link("stolen") is None


def test_a_port_that_was_unplugged_is_plugged_in_by_repair(rig: Rig) -> None:
    """F-14."""
    bridge = rig.bridge()
    one, other = rig.container(bridge), rig.container(bridge)
    ip("link", "set", other.endpoint.link, "nomaster")
    with other.serve(80):
        assert not one.do(lambda: can_connect(other.address, 80))
        assert bridge.repair() == [other.seat.owner.container_id]
        # who asked in vain for the MAC asks again after a second
        assert comes_true(lambda: bool(one.do(lambda: can_connect(other.address, 80))))


def test_links_of_unknown_containers_are_leftovers(rig: Rig) -> None:
    bridge = rig.bridge()
    kept, gone = rig.container(bridge), rig.container(bridge)
    known = {("n1", kept.seat.owner.container_id)}
    found = find_leftovers(INSTANCE, rig.stack.links(), networks={"n1"}, containers=known)
    assert [link.name for link in found] == [gone.endpoint.link]
    found = find_leftovers(INSTANCE, rig.stack.links(), networks=set(), containers=set())
    assert len(found) == 3
    for link in found:
        rig.stack.delete_link(link.name)
    assert not [link for link in rig.stack.links() if LinkOwner.of(link.alias)]
