# SPDX-License-Identifier: Apache-2.0
"""What networks keep apart and what they let through, with a real engine."""

from __future__ import annotations

import itertools
import socket
import struct
from contextlib import closing
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from integration.network.conftest import comes_true, ip_packet
from integration.networked.conftest import ECHO, HOST, ask_here
from toolkit.client import ApiError
from toolkit.network.unique_local import pool_of_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integration.networked.conftest import World

ANSWER = b"hello\n"


@pytest.fixture
def make_network(world: World) -> Iterator[Callable[..., str]]:
    made: list[str] = []

    def make(name: str, **body: Any) -> str:
        subnets = body.pop("subnets", ())
        document = {"Name": name, "IPAM": {"Config": [{"Subnet": each} for each in subnets]}}
        world.engine.client.request(
            "POST", "/networks/create", document={**document, **body}
        ).read()
        made.append(name)
        return name

    yield make
    world.clean()
    for name in made:
        world.engine.client.request("DELETE", f"/networks/{name}").read()
    own = f"{world.instance.name}0"
    aliases = {name: alias for name, alias in world.host.links().items() if name != own}
    assert not [name for name, alias in aliases.items() if alias.count(":") == 2]


def is_echo(world: World, address: str) -> bool:
    return world.host.ask(address, 80) == ANSWER


def reach(world: World, source: str, address: str, port: int = 80) -> bool:
    return bool(world.do_inside(source, lambda: ask_here(address, port)) == ANSWER)


def test_icc_off_keeps_neighbours_apart_and_published_ports_open(
    world: World, make_network: Callable[..., str]
) -> None:
    """Rule 6.10: DROP between containers; the control is a network with icc."""
    options = {"com.docker.network.bridge.enable_icc": "false"}
    apart = make_network("apart", Options=options, subnets=("172.28.1.0/24",))
    together = make_network("together", subnets=("172.28.2.0/24",))
    for name, is_reached in ((apart, False), (together, True)):
        server = world.run(*ECHO, NetworkMode=name, ports={"80/tcp": ""})
        client = world.run("sleep", "60", NetworkMode=name)
        address = world.address(server)
        assert comes_true(partial(is_echo, world, address))
        assert reach(world, client, address) is is_reached


def test_networks_do_not_reach_each_other(world: World, make_network: Callable[..., str]) -> None:
    """S-81: raw drops what does not come over the own bridge."""
    one = make_network("one", subnets=("172.28.1.0/24",))
    two = make_network("two", subnets=("172.28.2.0/24",))
    server = world.run(*ECHO, NetworkMode=one)
    address = world.address(server)
    assert comes_true(lambda: world.host.ask(address, 80) == ANSWER)  # the control
    stranger = world.run("sleep", "60", NetworkMode=two)
    assert not reach(world, stranger, address)
    client = world.engine.client
    client.request("POST", f"/networks/{one}/connect", document={"Container": stranger}).read()
    assert reach(world, stranger, address)
    client.request("POST", f"/networks/{one}/disconnect", document={"Container": stranger}).read()
    assert not reach(world, stranger, address)


def test_an_internal_network_has_no_way_out_or_in(
    world: World, make_network: Callable[..., str]
) -> None:
    inside = make_network("inside", Internal=True, subnets=("172.28.3.0/24",))
    server = world.run(*ECHO, NetworkMode=inside, ports={"80/tcp": "8101"})
    client = world.run("sleep", "60", NetworkMode=inside)
    address = world.address(server)
    assert comes_true(lambda: reach(world, client, address))  # the control
    with closing(world.inside(client)) as seen:
        assert not list(seen.get_default_routes())
    assert world.neighbour.ask(HOST, 8101) == b""
    assert world.neighbour.ask(address, 80) == b""


def test_the_default_route_goes_to_the_network_that_is_left(
    world: World, make_network: Callable[..., str]
) -> None:
    make_network("left", subnets=("172.28.4.0/24",))
    container = world.run(*ECHO, ports={"80/tcp": "8102"})
    client = world.engine.client
    client.request("POST", "/networks/left/connect", document={"Container": container}).read()
    assert comes_true(lambda: world.neighbour.ask(HOST, 8102) == ANSWER)
    client.request("POST", "/networks/bridge/disconnect", document={"Container": container}).read()
    with closing(world.inside(container)) as seen:
        assert [r.get_attr("RTA_GATEWAY") for r in seen.get_default_routes()] == ["172.28.4.1"]
    assert "172.28.4.2:80" in world.host.rules()


def test_ipv6_where_it_is_asked_for(world: World, make_network: Callable[..., str]) -> None:
    """IPv6 addresses, rules and ports; none on networks without (S-84)."""
    six = make_network("six", EnableIPv6=True, subnets=("172.28.5.0/24", "fd00:5::/64"))
    server = world.run("nc", "-ll", "-p", "80", "-e", "cat", NetworkMode=six)
    client = world.run("sleep", "60", NetworkMode=six)
    settings = world.settings(server)["Networks"]["six"]
    assert settings["GlobalIPv6Address"].startswith("fd00:5::")
    assert comes_true(lambda: reach(world, client, settings["GlobalIPv6Address"]))
    assert "fd00:5::/64" in world.host.rules()
    plain = world.run("sleep", "60")
    with closing(world.inside(plain)) as seen:
        assert [a for a in seen.get_addr(family=socket.AF_INET6) if a["index"] != 1] == []


def test_ipv6_without_a_subnet_is_of_the_instances_own(
    world: World, make_network: Callable[..., str]
) -> None:
    """As docker 27: a /64 of fd00::/8, the first that nobody has a route for; kept by restarts."""
    pool = pool_of_instance(world.instance.name)
    [first, second, third] = itertools.islice(pool.subnets(new_prefix=64), 3)
    world.host.run("ip", "-6", "route", "add", "unreachable", str(second))
    names = ("one", "two")
    try:
        made = [make_network(name, EnableIPv6=True) for name in names]
        assert [subnet6(world, name) for name in names] == [str(first), str(third)]
        server = world.run("nc", "-ll", "-p", "80", "-e", "cat", NetworkMode=made[1])
        client = world.run("sleep", "60", NetworkMode=made[1])
        address = world.settings(server)["Networks"]["two"]["GlobalIPv6Address"]
        assert ip_address(address) in third
        assert comes_true(lambda: reach(world, client, address))
        world.kill_engine()
        world.start_engine()
        assert [subnet6(world, name) for name in names] == [str(first), str(third)]
        assert comes_true(lambda: reach(world, client, address))
    finally:
        world.host.run("ip", "-6", "route", "del", "unreachable", str(second))


def subnet6(world: World, name: str) -> str:
    [_, six] = world.engine.client.networks.inspect(name)["IPAM"]["Config"]
    return str(six["Subnet"])


def test_a_container_cannot_speak_as_another(world: World) -> None:
    """S-84: a packet with another's source address does not come through."""
    victim, liar = world.run("sleep", "60"), world.run("sleep", "60", CapAdd=["NET_RAW"])
    friend = world.run("sleep", "60")
    heard = world.do_inside(victim, lambda: hear(7777))
    honest, lie = world.address(liar), world.address(friend)
    try:
        for source, is_heard in ((honest, True), (lie, False)):
            world.do_inside(liar, partial(send_as, source, world.address(victim), 7777))
            assert received(heard) is is_heard, source
    finally:
        heard.close()


def hear(port: int) -> socket.socket:
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("", port))
    taken.settimeout(0.5)
    return taken


def received(heard: socket.socket) -> bool:
    try:
        return bool(heard.recv(100))
    except TimeoutError:
        return False


def send_as(source: str, destination: str, port: int) -> None:
    datagram = struct.pack("!HHHH", 4369, port, 8 + 3, 0) + b"lie"
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(ip_packet(source, destination, socket.IPPROTO_UDP, datagram), (destination, 0))


def test_every_exposed_port_and_a_range(world: World) -> None:
    """Rule 6.22, Rule 6.34: -P draws from 49153 on; a range gives its first free number."""
    wish = {
        "Image": "busybox",
        "Cmd": ["sleep", "60"],
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "HostConfig": {"PublishAllPorts": True},
    }
    everything = world.engine.client.containers.create(wish).id
    world.made.append(everything)
    world.engine.client.containers.start(everything)
    ports = world.settings(everything)["Ports"]
    assert set(ports) == {"80/tcp", "53/udp"}
    assert all(int(binding[0]["HostPort"]) >= 49153 for binding in ports.values())
    for expected in ("8110", "8111"):
        container = world.run("sleep", "60", ports={"80/tcp": "8110-8111"})
        assert world.settings(container)["Ports"]["80/tcp"][0]["HostPort"] == expected
    with pytest.raises(ApiError, match="8110 to 8111"):
        world.run("sleep", "60", ports={"80/tcp": "8110-8111"})


def test_a_port_that_a_foreign_process_holds_is_refused(world: World) -> None:
    """S-86: and a privileged port is not a special one for root."""
    taken = world.host.do(lambda: socket.create_server(("", 8112)))
    try:
        with pytest.raises(ApiError, match="in use by another process"):
            world.run("sleep", "60", ports={"80/tcp": "8112"})
    finally:
        taken.close()
    world.run("sleep", "60", ports={"80/tcp": "81"})


def test_addresses_go_round(world: World) -> None:
    """Rule 6.17, S-89: one that was given back is given last."""
    first = world.run("sleep", "60")
    address = world.address(first)
    world.engine.client.containers.remove(first, force=True)
    world.made.remove(first)
    assert world.address(world.run("sleep", "60")) != address
