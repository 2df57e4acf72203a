# SPDX-License-Identifier: Apache-2.0
"""Engines with other settings for their networks than the usual ones (rule 6.1)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.network.conftest import comes_true
from integration.networked.conftest import ECHO, HOST, ask_here, opened_world

if TYPE_CHECKING:
    from integration.networked.conftest import World

ANSWER = b"hello\n"


def test_without_iptables_nftables_alone_does_the_same(worker_id: str) -> None:
    """What is published is reached, what is not is closed (S-80, S-81), flushed rules return."""
    with opened_world(f"f{worker_id[-3:]}", TOOLKIT_IPTABLES="false") as world:
        public = world.run(*ECHO, ports={"80/tcp": "8080"})
        private = world.run(*ECHO, ports={"80/tcp": "127.0.0.1:8081"})
        assert world.host.rules() == ""
        check_reach(world, public, private)
        world.host.run("nft", "flush", "ruleset")
        assert comes_true(partial(has_rules, world), seconds=2)
        check_reach(world, public, private)


def has_rules(world: World) -> bool:
    return "dnat" in world.host.run("nft", "list", "ruleset")


def test_without_proxies_the_kernel_does_it_all(worker_id: str) -> None:
    with opened_world(f"p{worker_id[-3:]}", TOOLKIT_USERLAND_PROXY="false") as world:
        public = world.run(*ECHO, ports={"80/tcp": "8080"})
        private = world.run(*ECHO, ports={"80/tcp": "127.0.0.1:8081"})
        check_reach(world, public, private)
        assert not list((world.instance.run_dir / "proxies").glob("*"))


def check_reach(world: World, public: str, private: str) -> None:
    assert comes_true(lambda: world.host.ask("127.0.0.1", 8080) == ANSWER)
    assert comes_true(lambda: world.host.ask("127.0.0.1", 8081) == ANSWER)
    assert world.neighbour.ask(HOST, 8080) == ANSWER
    assert world.neighbour.ask(HOST, 8081) == b""
    assert world.neighbour.ask(world.address(private), 80) == b""
    gateway = world.settings(public)["Networks"]["bridge"]["Gateway"]
    for container in (public, private):
        assert world.do_inside(container, partial(ask_here, gateway, 8080)) == ANSWER


SETTINGS = {
    "TOOLKIT_BIP": "172.20.5.1/24",
    "TOOLKIT_FIXED_CIDR": "172.20.5.128/25",
    "TOOLKIT_ICC": "false",
    "TOOLKIT_IP": "127.0.0.1",
    "TOOLKIT_MTU": "1400",
}
FLAGS = ("--bip=172.20.5.1/24", "--fixed-cidr=172.20.5.128/25", "--icc=false", "--ip=127.0.0.1")
OVERRULED = {"TOOLKIT_BIP": "172.20.9.1/24", "TOOLKIT_ICC": "true", "TOOLKIT_MTU": "1400"}


@pytest.mark.parametrize(("flags", "environ"), [((), SETTINGS), (FLAGS, OVERRULED)])
def test_the_default_bridges_address_range_and_manners(
    worker_id: str, flags: tuple[str, ...], environ: dict[str, str]
) -> None:
    """--bip, --fixed-cidr, --icc=false, --ip, --mtu: in the environment, and by flags over it."""
    with opened_world(f"s{worker_id[-3:]}", *flags, **environ) as world:
        server = world.run(*ECHO, ports={"80/tcp": "8080"})
        client = world.run("sleep", "60")
        addresses = [world.address(container) for container in (server, client)]
        assert addresses == ["172.20.5.128", "172.20.5.129"]
        assert "mtu 1400" in world.host.run("ip", "link", "show", f"{world.instance.name}0")
        assert comes_true(lambda: world.host.ask("127.0.0.1", 8080) == ANSWER)
        assert world.neighbour.ask(HOST, 8080) == b""
        assert world.do_inside(client, partial(ask_here, addresses[0], 80)) == b""


def test_forwarding_can_be_left_alone_and_resolvers_be_set_for_all(worker_id: str) -> None:
    """--ip-forward=false, --dns."""
    flags = ("--ip-forward=false", "--dns", "10.99.0.2")
    with opened_world(f"d{worker_id[-3:]}", *flags) as world:
        for mode in ("all", "default"):
            world.host.run("sysctl", "-qw", f"net.ipv4.conf.{mode}.forwarding=0")
        container = world.run("sleep", "60")
        assert world.host.run("sysctl", "-n", "net.ipv4.ip_forward").strip() == "0"
        resolv_conf = Path(f"/proc/{world.pid(container)}/root/etc/resolv.conf").read_text()
        assert resolv_conf.startswith("nameserver 10.99.0.2\n")
