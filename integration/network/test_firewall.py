# SPDX-License-Identifier: Apache-2.0
"""Both firewalls in the kernel, with real packets from a neighbour (security, appendix D)."""

from __future__ import annotations

import itertools
import select
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from integration.network.conftest import (
    HOST,
    INSTANCE,
    NEIGHBOUR,
    PATIENCE_SECONDS,
    can_connect,
    comes_true,
    frame,
    packets,
    syn_to,
)
from integration.pace import SLOWNESS
from tests.network.firewall_contract import FirewallContract
from toolkit.network.firewall import (
    BridgedNetwork,
    FirewallState,
    LinkedPort,
    LinkName,
    PublishedPort,
    RuleOwner,
)
from toolkit.network.firewall_iptables import IptablesFirewall
from toolkit.network.firewall_nft import NftFirewall
from toolkit.network.forwarding import Forwarding
from toolkit.network.iptables import Iptables
from toolkit.network.nft import find_nft

if TYPE_CHECKING:
    from integration.network.conftest import Container, Rig
    from toolkit.network.bridge import Bridge
    from toolkit.network.firewall import Firewall

IP = 0x0800
ANY = IPv4Address(0)
_SOURCE_PORTS = itertools.count(40000)


def make_firewall(kind: str) -> Firewall:
    if kind.startswith("iptables"):
        if not shutil.which(f"{kind}-restore"):
            pytest.skip(f"no {kind} here")
        runner = Iptables("-legacy" if kind.endswith("legacy") else "")
        return IptablesFirewall(INSTANCE, runner)
    nft = find_nft()
    if nft is None:
        pytest.skip("no nftables here")
    return NftFirewall(INSTANCE, nft)


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@dataclass
class Town:
    """A rig with a firewall in place, changed as an engine would."""

    rig: Rig
    firewall: Firewall
    state: FirewallState | None = None

    def change(self, **fields: Any) -> None:
        state = replace(self.state or FirewallState(), **fields)
        self.firewall.apply(self.state, state)
        self.state = state

    def network(self, bridge: Bridge, **options: Any) -> None:
        bridge.ensure()
        name = LinkName(bridge.spec.link_name)
        network = BridgedNetwork(bridge=name, interface=bridge.spec.interface, **options)
        networks = self.state.networks if self.state else ()
        self.change(networks=(*networks, network))
        assert Forwarding().allow_loopback_nat(name)

    def publish(
        self, container: Container, port: int, host: object = ANY, protocol: Any = "tcp"
    ) -> PublishedPort:
        published = PublishedPort(
            owner=RuleOwner(container.seat.owner.container_id),
            protocol=protocol,
            host_address=ip_address(str(host)),
            host_port=port,
            container_address=container.address,
            container_port=80,
        )
        assert self.state
        self.change(ports=self.state.ports | {published})
        return published

    def withdraw(self, published: PublishedPort) -> None:
        assert self.state
        self.change(ports=self.state.ports - {published})


@pytest.fixture(params=["iptables", "nft"])
def town(rig: Rig, request: pytest.FixtureRequest) -> Town:
    Forwarding().enable()
    Forwarding().filter_bridges()
    return Town(rig, make_firewall(request.param))


@pytest.mark.usefixtures("rig")
class TestIptablesInTheKernel(FirewallContract):
    @pytest.fixture(autouse=True)
    def _make(self, rig: Rig) -> None:  # noqa: ARG002 - the namespace first
        self.firewall = make_firewall("iptables")

    def flushed(self) -> None:
        for program in ("iptables", "ip6tables"):
            for table in ("raw", "nat", "filter"):
                run(program, "-t", table, "-F")
                run(program, "-t", table, "-X")

    def rules_of_ours(self) -> list[str]:
        lines = (run("iptables-save") + run("ip6tables-save")).splitlines()
        return [line for line in lines if INSTANCE in line]


@pytest.mark.usefixtures("rig")
class TestLegacyIptablesInTheKernel(FirewallContract):
    """F-13: both kinds of iptables are here."""

    @pytest.fixture(autouse=True)
    def _make(self, rig: Rig) -> None:  # noqa: ARG002 - the namespace first
        self.firewall = make_firewall("iptables-legacy")

    def flushed(self) -> None:
        for program in ("iptables-legacy", "ip6tables-legacy"):
            for table in ("raw", "nat", "filter"):
                run(program, "-t", table, "-F")
                run(program, "-t", table, "-X")

    def rules_of_ours(self) -> list[str]:
        lines = (run("iptables-legacy-save") + run("ip6tables-legacy-save")).splitlines()
        return [line for line in lines if INSTANCE in line]


@pytest.mark.usefixtures("rig")
class TestNftInTheKernel(FirewallContract):
    @pytest.fixture(autouse=True)
    def _make(self, rig: Rig) -> None:  # noqa: ARG002 - the namespace first
        self.firewall = make_firewall("nft")

    def flushed(self) -> None:
        run("nft", "flush", "ruleset")

    def rules_of_ours(self) -> list[str]:
        return [line for line in run("nft", "list", "ruleset").splitlines() if INSTANCE in line]


@pytest.mark.usefixtures("rig")
def test_rules_can_be_listed() -> None:
    """RT-088: TestIptables."""
    run("iptables", "-N", "listed")
    assert ":listed - " in Iptables().save(4)


def test_a_published_port_is_reached_from_everywhere(town: Town) -> None:
    """RT 6.13: from a neighbour, from the host by each of its addresses, from containers."""
    bridge = town.rig.bridge()
    town.network(bridge)
    server, other = town.rig.container(bridge), town.rig.container(bridge)
    with server.serve(80):
        published = town.publish(server, 8080)
        assert town.rig.neighbour(lambda: can_connect(HOST, 8080))
        for address in (HOST, "127.0.0.1", bridge.spec.interface.ip):
            assert can_connect(address, 8080), address
        assert other.do(lambda: can_connect(HOST, 8080))
        assert server.do(lambda: can_connect(HOST, 8080))  # to itself
        town.withdraw(published)
        assert not town.rig.neighbour(lambda: can_connect(HOST, 8080))
        assert not can_connect("127.0.0.1", 8080)


def test_another_network_reaches_a_published_port_and_nothing_else(town: Town) -> None:
    one, other = town.rig.bridge(), town.rig.bridge("n2", "172.18.0.1/16")
    town.network(one)
    town.network(other)
    server, client = town.rig.container(one), town.rig.container(other)
    with server.serve(80):
        assert not client.do(lambda: can_connect(server.address, 80))
        town.publish(server, 8080)
        assert client.do(lambda: can_connect(HOST, 8080))
        assert not client.do(lambda: can_connect(server.address, 80))


def test_udp_goes_through_a_published_port_and_back(town: Town) -> None:
    bridge = town.rig.bridge()
    town.network(bridge)
    server = town.rig.container(bridge)
    town.publish(server, 8053, protocol="udp")
    client = town.rig.neighbour(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with server.hear(80) as heard, client:
        client.settimeout(PATIENCE_SECONDS)
        client.sendto(b"question", (str(HOST), 8053))
        question, sender = heard.recvfrom(100)
        heard.sendto(question.upper(), sender)
        assert client.recvfrom(100) == (b"QUESTION", (str(HOST), 8053))


def test_a_container_goes_out_with_the_hosts_address(town: Town) -> None:
    """RT 6.10, 1 and 3: masquerading."""
    bridge = town.rig.bridge()
    town.network(bridge)
    client = town.rig.container(bridge)
    with town.rig.neighbour(lambda: socket.create_server((str(NEIGHBOUR), 80))) as server:
        assert client.do(lambda: can_connect(NEIGHBOUR, 80))
        connection, sender = server.accept()
        connection.close()
        assert sender[0] == str(HOST)


def test_an_internal_network_is_closed_both_ways(town: Town) -> None:
    bridge, other = town.rig.bridge(), town.rig.bridge("n2", "172.18.0.1/16")
    town.network(bridge, internal=True)
    town.network(other)
    one, two, stranger = (town.rig.container(each) for each in (bridge, bridge, other))
    town.publish(stranger, 8080)
    with town.rig.neighbour(lambda: socket.create_server((str(NEIGHBOUR), 80))):
        assert stranger.do(lambda: can_connect(NEIGHBOUR, 80))  # the rig works
        assert not one.do(lambda: can_connect(NEIGHBOUR, 80))
    with two.serve(80), stranger.serve(80):
        assert one.do(lambda: can_connect(two.address, 80))
        assert not stranger.do(lambda: can_connect(two.address, 80))
        assert not one.do(lambda: can_connect(HOST, 8080))


def test_without_icc_a_link_is_the_only_way(town: Town) -> None:
    """RT 6.10, 4 and 7.11; the port that is linked, and no other."""
    bridge = town.rig.bridge()
    town.network(bridge, icc=False)
    parent, child = town.rig.container(bridge), town.rig.container(bridge)
    with child.serve(80), child.serve(81), parent.serve(80):
        assert not parent.do(lambda: can_connect(child.address, 80))
        link = LinkedPort(
            owner=RuleOwner(parent.seat.owner.container_id),
            bridge=LinkName(bridge.spec.link_name),
            source=parent.address,
            destination=child.address,
            protocol="tcp",
            port=80,
        )
        town.change(links=frozenset({link}))
        assert parent.do(lambda: can_connect(child.address, 80))
        assert not parent.do(lambda: can_connect(child.address, 81))
        assert not child.do(lambda: can_connect(parent.address, 80))


def test_an_unpublished_port_is_out_of_a_neighbours_reach(town: Town) -> None:
    """S-81: the neighbour has a route to the containers; the policy of FORWARD is ACCEPT."""
    bridge = town.rig.bridge()
    server = town.rig.container(bridge)
    with server.serve(80):
        assert town.rig.neighbour(lambda: can_connect(server.address, 80))  # no rules yet
        town.network(bridge)
        assert not town.rig.neighbour(lambda: can_connect(server.address, 80))
        town.publish(server, 8080)
        assert town.rig.neighbour(lambda: can_connect(HOST, 8080))
        assert not town.rig.neighbour(lambda: can_connect(server.address, 80))
        assert can_connect(server.address, 80)  # the host itself may


def test_a_port_published_on_loopback_is_the_hosts_alone(town: Town) -> None:
    """S-80: by the host's address, by the container's, and by a forged 127.0.0.1."""
    bridge = town.rig.bridge()
    town.network(bridge)
    server, other = town.rig.container(bridge), town.rig.container(bridge)
    with server.serve(80):
        town.publish(server, 8080, "127.0.0.1")
        assert can_connect("127.0.0.1", 8080)
        assert not town.rig.neighbour(lambda: can_connect(HOST, 8080))
        assert not town.rig.neighbour(lambda: can_connect(server.address, 80))
        assert not other.do(lambda: can_connect(HOST, 8080))


def answers_to_a_forged_syn(rig: Rig, destination: str, port: int, *, mac: str) -> bool:
    """Tell whether a SYN to *destination*, put on the wire by the neighbour, is answered."""
    with rig.neighbour(packets) as raw:
        source_port = next(_SOURCE_PORTS)  # answers to an earlier one are sent again
        syn = syn_to(str(NEIGHBOUR), destination, port, source_port=source_port)
        raw.send(frame(mac, "02:77:00:00:00:02", IP, syn))
        deadline = time.monotonic() + PATIENCE_SECONDS
        with suppress(TimeoutError):
            while time.monotonic() < deadline:
                received = raw.recv(2000)
                is_tcp = received[12:14] == b"\x08\x00" and received[23] == socket.IPPROTO_TCP
                is_answer = received[36:38] == source_port.to_bytes(2, "big")
                if is_tcp and is_answer and received[47] & 0x12 == 0x12:
                    return True
    return False


def test_a_forged_loopback_address_is_not_answered(town: Town) -> None:
    """S-80, moby 41872: even where the uplink routes 127.0.0.0/8."""
    bridge = town.rig.bridge()
    uplink = town.rig.stack.link("uplink")
    assert uplink
    Path("/proc/sys/net/ipv4/conf/uplink/route_localnet").write_text("1")
    with socket.create_server(("127.0.0.1", 8081)), socket.create_server((str(HOST), 8082)):
        assert answers_to_a_forged_syn(town.rig, str(HOST), 8082, mac=uplink.mac)
        assert answers_to_a_forged_syn(town.rig, "127.0.0.1", 8081, mac=uplink.mac)  # no rules yet
        town.network(bridge)
        server = town.rig.container(bridge)
        with server.serve(80):
            town.publish(server, 8080, "127.0.0.1")
            assert answers_to_a_forged_syn(town.rig, str(HOST), 8082, mac=uplink.mac)
            for port in (8080, 8081):
                assert not answers_to_a_forged_syn(town.rig, "127.0.0.1", port, mac=uplink.mac)


def test_a_container_does_not_reach_the_hosts_loopback(town: Town) -> None:
    """S-80: what route_localnet on the bridge would open."""
    bridge = town.rig.bridge()
    town.network(bridge)
    container = town.rig.container(bridge)
    run_inside = ["ip", "route", "add", "table", "local", "unicast", "127.0.0.99", "via"]
    with socket.create_server(("127.0.0.99", 8081)):
        assert can_connect("127.0.0.99", 8081)

        def reroute() -> bool:
            Path("/proc/sys/net/ipv4/conf/eth0/route_localnet").write_text("1")
            subprocess.run([*run_inside, str(bridge.spec.interface.ip), "dev", "eth0"], check=True)
            return can_connect("127.0.0.99", 8081)

        assert not container.do(reroute)
        town.firewall.flush()
        assert container.do(lambda: can_connect("127.0.0.99", 8081))  # without our rules it would


@pytest.mark.parametrize("what", ["all", "nat", "raw", "jumps"])
def test_the_watch_tells_of_a_flush_and_a_repair_closes_it(town: Town, what: str) -> None:
    """S-82, F-13: within 5 s, S-80 and S-81 hold again and ports work."""
    bridge = town.rig.bridge()
    town.network(bridge)
    server = town.rig.container(bridge)
    with server.serve(80), town.firewall.watch() as watch:
        town.publish(server, 8080)
        assert town.state
        assert not watch.changed_by_others()
        begin = time.monotonic()
        harm(town.firewall, what)
        assert select.select([watch], [], [], 2)[0]
        assert watch.changed_by_others()
        assert town.firewall.repair(town.state)
        assert not town.firewall.missing(town.state)
        assert time.monotonic() - begin < 5 * SLOWNESS
        assert town.rig.neighbour(lambda: can_connect(HOST, 8080))
        assert not town.rig.neighbour(lambda: can_connect(server.address, 80))


def harm(firewall: Firewall, what: str) -> None:
    if isinstance(firewall, NftFirewall):
        table = ("ip", f"toolkit_{INSTANCE}")
        harms = {
            "all": ("flush", "ruleset"),
            "nat": ("flush", "chain", *table, "published"),
            "raw": ("flush", "chain", *table, "raw"),
            "jumps": ("flush", "chain", *table, "prerouting"),
        }
        run("nft", *harms[what])
        return
    tables = {"all": ("raw", "nat", "filter"), "jumps": ("nat",)}.get(what, (what,))
    for name in tables:
        chain = ("PREROUTING",) if what == "jumps" else ()
        run("iptables", "-t", name, "-F", *chain)


def test_a_foreign_rule_put_first_opens_nothing(town: Town) -> None:
    """F-13, S-81: accepted in one table, dropped in the other."""
    bridge = town.rig.bridge()
    town.network(bridge)
    server = town.rig.container(bridge)
    with server.serve(80):
        run("iptables", "-I", "FORWARD", "1", "-j", "ACCEPT")
        assert not town.rig.neighbour(lambda: can_connect(server.address, 80))
        run("iptables", "-D", "FORWARD", "1")
        run("iptables", "-t", "raw", "-I", "PREROUTING", "1", "-j", "ACCEPT")
        assert not town.rig.neighbour(lambda: can_connect(server.address, 80))
        assert town.state
        assert town.firewall.missing(town.state) == []


def test_a_datagram_flow_does_not_go_to_the_next_holder_of_an_address(town: Town) -> None:
    """S-89: entries are forgotten with the seat; a flow that goes on finds the new container."""
    bridge = town.rig.bridge()
    town.network(bridge)
    first, second = town.rig.container(bridge), town.rig.container(bridge)
    published = town.publish(first, 8053, protocol="udp")
    client = town.rig.neighbour(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with first.hear(80) as old, second.hear(80) as new, client:
        client.sendto(b"1", (str(HOST), 8053))
        assert old.recv(10) == b"1"
        town.withdraw(published)
        town.publish(second, 8053, protocol="udp")
        client.sendto(b"2", (str(HOST), 8053))
        assert old.recv(10) == b"2"  # the flow is older than the rules
        bridge.release_seat(first.seat)
        client.sendto(b"3", (str(HOST), 8053))
        assert new.recv(10) == b"3"


def test_the_hundredth_port_costs_no_more_than_twice_the_first(town: Town) -> None:
    """The quickest of thirty changes each: what else the machine does is not the rules' cost."""
    bridge = town.rig.bridge()
    town.network(bridge)
    server = town.rig.container(bridge)

    def quickest_seconds(port: int) -> float:
        taken = []
        for _ in range(30):
            begin = time.perf_counter()
            published = town.publish(server, port)
            taken.append(time.perf_counter() - begin)
            town.withdraw(published)
        return min(taken)

    first = quickest_seconds(9000)
    for port in range(9000, 9099):
        town.publish(server, port)
    assert quickest_seconds(9099) < 2 * first
    town.publish(server, 9099)
    assert town.state
    assert town.firewall.missing(town.state) == []
    with server.serve(80):
        assert town.rig.neighbour(lambda: can_connect(HOST, 9099))
        assert comes_true(lambda: can_connect("127.0.0.1", 9000))
