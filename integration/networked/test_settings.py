# SPDX-License-Identifier: Apache-2.0
"""Engines with other settings for their networks than the usual ones (rule 6.1)."""

from __future__ import annotations

import socket
from contextlib import closing
from functools import partial
from ipaddress import IPv6Network, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from integration.network.conftest import comes_true
from integration.networked.conftest import ECHO, HOST, ask_here, opened_world
from toolkit.network.unique_local import pool_of_instance

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
        assert resolv_conf(world, container).startswith("nameserver 10.99.0.2\n")


def test_search_domains_can_be_set_for_all(worker_id: str) -> None:
    """--dns-search: the containers' own programs try it; who names one, or none, has that."""
    flags = ("--dns-search", "prod.test", "--dns-search", "test")
    with opened_world(f"e{worker_id[-3:]}", *flags) as world:
        cache = make_cache(world)
        looked_up = look_up_cache(world, DnsOptions=["ndots:1"])
        assert "Name:\tcache.prod.test\n" in looked_up
        assert f"Address: {world.address(cache)}\n" in looked_up
        plain = world.run("sleep", "60")
        assert "\nsearch prod.test test\n" in resolv_conf(world, plain)
        own = world.run("sleep", "60", DnsSearch=["own.test"])
        assert "\nsearch own.test\n" in resolv_conf(world, own)
        assert "search" not in resolv_conf(world, world.run("sleep", "60", DnsSearch=["."]))


def test_resolver_options_can_be_set_for_all(worker_id: str) -> None:
    """--dns-opt: a name without a dot is looked for in the search domain before all others."""
    environ = {"TOOLKIT_DNS_OPT": "ndots:1,timeout:2"}
    with opened_world(f"o{worker_id[-3:]}", **environ) as world:
        make_cache(world)
        assert "Name:\tcache.prod.test\n" in look_up_cache(world, DnsSearch=["prod.test"])
        plain = world.run("sleep", "60")
        assert resolv_conf(world, plain).endswith("\noptions ndots:1 timeout:2\n")
        own = world.run("sleep", "60", DnsOptions=["rotate"])
        assert resolv_conf(world, own).endswith("\noptions rotate\n")


def make_cache(world: World) -> str:
    """Run a container that is found as cache.prod.test on a network of its own."""
    world.engine.client.networks.create({"Name": "lan"})
    endpoints = {"lan": {"Aliases": ["cache.prod.test"]}}
    return world.run("sleep", "60", NetworkMode="lan", endpoints=endpoints)


def look_up_cache(world: World, **host: Any) -> str:
    """Return what a program in a container on that network is told of ``cache``."""
    container = world.run("nslookup", "cache", NetworkMode="lan", **host)
    chunks = world.engine.client.containers.logs(container, framed=True, follow=True)
    return b"".join(chunk.payload for chunk in chunks).decode()


def resolv_conf(world: World, container: str) -> str:
    return Path(f"/proc/{world.pid(container)}/root/etc/resolv.conf").read_text()


def test_the_default_bridge_has_ipv6_where_it_is_set(worker_id: str) -> None:
    """--ipv6: of the instance's own subnet, by flag and by variable; gone with the flag."""
    with opened_world(f"i{worker_id[-3:]}", "--ipv6") as world:
        subnet = next(pool_of_instance(world.instance.name).subnets(new_prefix=64))
        server, client = check_ipv6(world, subnet)
        world.kill_engine()
        world.start_engine("--ipv6")
        address = world.settings(server)["GlobalIPv6Address"]
        assert world.do_inside(client, partial(ask_here, address, 80)) == ANSWER
        begin_anew(world)
        plain = world.run("sleep", "60")
        assert world.settings(plain)["GlobalIPv6Address"] == ""
        assert world.do_inside(plain, partial(ask_here, world.address(server), 80)) == ANSWER
        bridge = f"{world.instance.name}0"
        assert world.host.run("ip", "-6", "address", "show", "dev", bridge) == ""
        assert str(subnet) not in world.host.rules()
        world.clean()
        begin_anew(world, TOOLKIT_IPV6="true")
        check_ipv6(world, subnet)


def test_the_default_bridge_s_ipv6_subnet_can_be_set(worker_id: str) -> None:
    """--fixed-cidr-v6: its first address is the bridge's; the rules are as those of IPv4."""
    environ = {"TOOLKIT_FIXED_CIDR_V6": "fd00:9::/64", "TOOLKIT_ICC": "false"}
    flags = ("--ipv6", "--fixed-cidr-v6", "fd00:5::/64")
    with opened_world(f"v{worker_id[-3:]}", *flags, "--icc=true", **environ) as world:
        check_ipv6(world, IPv6Network("fd00:5::/64"))
        world.clean()
        begin_anew(world, "--ipv6", **environ)
        server, client = world.run(*ECHO), world.run("sleep", "60")
        address = world.settings(server)["GlobalIPv6Address"]
        assert ip_address(address) in IPv6Network("fd00:9::/64")
        assert comes_true(lambda: world.host.ask(address, 80) == ANSWER)
        assert world.do_inside(client, partial(ask_here, address, 80)) == b""
        bridge = f"{world.instance.name}0"
        assert "fd00:5:" not in world.host.run("ip", "-6", "address", "show", "dev", bridge)


def begin_anew(world: World, *flags: str, **environ: str) -> None:
    world.stop_engine()
    world.start_engine(*flags, **environ)


def check_ipv6(world: World, subnet: IPv6Network) -> tuple[str, str]:
    """Return two containers whose addresses and routes are right, and that reach each other."""
    server = world.run(*ECHO, ports={"80/tcp": "8080"})
    client = world.run("sleep", "60")
    settings = world.settings(server)
    address, gateway = settings["GlobalIPv6Address"], settings["IPv6Gateway"]
    assert ip_address(address) in subnet
    assert gateway == str(subnet.network_address + 1)
    assert settings["GlobalIPv6PrefixLen"] == subnet.prefixlen
    with closing(world.inside(client)) as seen:
        routes = seen.get_default_routes(family=socket.AF_INET6)
        assert [route.get_attr("RTA_GATEWAY") for route in routes] == [gateway]
    assert comes_true(lambda: world.do_inside(client, partial(ask_here, address, 80)) == ANSWER)
    assert comes_true(lambda: world.do_inside(client, partial(ask_here, gateway, 8080)) == ANSWER)
    shown = world.engine.client.networks.inspect("bridge")
    assert shown["EnableIPv6"]
    assert [pool["Subnet"] for pool in shown["IPAM"]["Config"]][1:] == [str(subnet)]
    return server, client
