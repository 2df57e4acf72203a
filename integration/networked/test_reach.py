# SPDX-License-Identifier: Apache-2.0
"""Who reaches whom, with a real engine: containers, the host, and a neighbour on the link."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.network.conftest import comes_true
from integration.networked.conftest import ECHO, HOST, EchoDatagrams, ask_here
from toolkit.client import ApiError
from toolkit.vm.leftovers import Leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.networked.conftest import Place, World

ANSWER = b"hello\n"


def test_a_container_has_an_address_and_a_way_out(world: World, backend: str) -> None:
    """Rule 6.19: network address + 1 is never given; Rule 6.38: address, link, default route."""
    container = world.run("sleep", "60", backend=backend)
    with closing(world.inside(container)) as inside:
        [link] = inside.get_links(ifname="eth0")
        assert link.get_attr("IFLA_MTU") == 1500
        [address] = inside.get_addr(label="eth0")
        assert address["prefixlen"] == 16
        text = address.get_attr("IFA_ADDRESS")
        assert text.startswith("172.17.0.")
        assert text != "172.17.0.1"
        mac = "02:42:" + ":".join(f"{int(part):02x}" for part in text.split("."))
        assert link.get_attr("IFLA_ADDRESS") == mac
        assert [route.get_attr("RTA_GATEWAY") for route in inside.get_default_routes()] == [
            "172.17.42.1"
        ]
    files = world.instance.containers_dir / container
    assert (files / "hosts").read_text().startswith(f"{text}\t{container[:12]}\n\n127.0.0.1")
    assert (files / "resolv.conf").read_text().startswith("nameserver ")


def test_a_start_whose_group_is_taken_is_connected_all_the_same(world: World) -> None:
    """The network was offered already when the slot turns out not to do."""
    container = world.create(*ECHO)
    leftovers = Leftovers(world.instance)
    tops = {path for path in leftovers.cgroup_dirs() if path.name == world.instance.name}
    for top in tops:
        (top / container).mkdir()
    world.engine.client.containers.start(container)
    address = world.address(container)
    assert comes_true(lambda: world.host.ask(address, 80) == ANSWER)
    shown = world.do_inside(container, lambda: Path("/proc/thread-self/net/dev").read_text())
    assert "eth0" in shown


def test_containers_reach_each_other(world: World, backend: str) -> None:
    server = world.run(*ECHO, backend=backend)
    address = world.address(server)
    client = world.run("sleep", "60", backend=backend)
    assert comes_true(lambda: world.host.ask(address, 80) == ANSWER)
    asked = world.do_inside(client, lambda: ask_here(address, 80))
    assert asked == ANSWER


def test_a_published_port_is_reached_from_everywhere(world: World, backend: str) -> None:
    """RT-095. Rules 6.13, 6.24, 6.27: from 127.0.0.1, the bridge, a neighbour, and itself."""
    server = world.run(*ECHO, backend=backend, ports={"80/tcp": "8080"})
    assert comes_true(lambda: world.host.ask("127.0.0.1", 8080) == ANSWER)
    assert world.host.ask("172.17.42.1", 8080) == ANSWER
    assert world.neighbour.ask(HOST, 8080) == ANSWER
    other = world.run("sleep", "60", backend=backend)
    for container in (server, other):
        assert world.do_inside(container, lambda: ask_here("172.17.42.1", 8080)) == ANSWER


def test_what_is_not_published_is_not_reached_from_the_neighbour(world: World) -> None:
    """S-80, S-81: neither a port of 127.0.0.1 nor an unpublished one; a public one is."""
    container = world.run(*ECHO, ports={"80/tcp": "127.0.0.1:8081"})
    assert comes_true(lambda: world.host.ask("127.0.0.1", 8081) == ANSWER)
    assert world.neighbour.ask(HOST, 8081) == b""
    assert world.neighbour.ask(world.address(container), 80) == b""
    world.run(*ECHO, ports={"80/tcp": "8082"})
    assert comes_true(lambda: world.neighbour.ask(HOST, 8082) == ANSWER)  # the control


def test_datagrams_pass_and_the_same_number_is_free_for_both(world: World) -> None:
    """RT-096. Rule 6.28, D-8: tcp and udp under one number."""
    container = world.run(*ECHO, ports={"80/tcp": "8083", "53/udp": "8083"})
    with closing(EchoDatagrams(world, container, 53)):
        assert world.host.ask_datagram("127.0.0.1", 8083) == b"hello"
        assert world.neighbour.ask_datagram(HOST, 8083) == b"hello"
    assert comes_true(lambda: world.neighbour.ask(HOST, 8083) == ANSWER)


HOST6, NEIGHBOUR6 = "fd99::1", "fd99::2"


@pytest.fixture
def neighbour6(world: World) -> Iterator[Place]:
    """The neighbour, with IPv6 addresses on the link between the two."""
    sides = ((world.host, "lan0", HOST6), (world.neighbour, "eth0", NEIGHBOUR6))
    for place, link, address in sides:
        place.run("ip", "addr", "add", f"{address}/64", "dev", link, "nodad")
    yield world.neighbour
    for place, link, address in sides:
        place.run("ip", "addr", "del", f"{address}/64", "dev", link)


def test_an_ipv6_port_of_the_host_leads_to_a_container_without_ipv6(
    world: World, neighbour6: Place, backend: str
) -> None:
    """The proxy alone serves it: ``[::1]`` here, ``[::]`` to neighbours too; no IPv4 beside it."""
    ports = {"80/tcp": "::1:8086", "53/udp": "::1:8086"}
    container = world.run(*ECHO, backend=backend, ports=ports)
    public = world.run(*ECHO, backend=backend, ports={"80/tcp": ":::8087"})
    shown = world.settings(container)["Ports"]
    assert shown["80/tcp"] == [{"HostIp": "::1", "HostPort": "8086"}]
    assert world.settings(public)["Ports"]["80/tcp"] == [{"HostIp": "::", "HostPort": "8087"}]
    assert comes_true(lambda: world.host.ask("::1", 8086) == ANSWER)
    assert comes_true(lambda: neighbour6.ask(HOST6, 8087) == ANSWER)
    assert neighbour6.ask(HOST6, 8086) == b""  # row S-80; the control is the line before
    assert world.host.ask("127.0.0.1", 8086) == b""
    with closing(EchoDatagrams(world, container, 53)):
        assert world.host.ask_datagram("::1", 8086) == b"hello"


def test_a_port_without_an_address_is_reached_by_ipv6_too(
    world: World, neighbour6: Place, backend: str
) -> None:
    """As docker of today: one number, shown as ``0.0.0.0`` and ``::``."""
    container = world.run(*ECHO, backend=backend, ports={"80/tcp": "", "53/udp": "8089"})
    four, six = world.settings(container)["Ports"]["80/tcp"]
    assert (four["HostIp"], six["HostIp"]) == ("0.0.0.0", "::")  # noqa: S104 - what is published
    assert four["HostPort"] == six["HostPort"]
    port = int(six["HostPort"])
    assert comes_true(lambda: world.host.ask("::1", port) == ANSWER)
    assert neighbour6.ask(HOST6, port) == ANSWER
    assert world.neighbour.ask(HOST, port) == ANSWER
    with closing(EchoDatagrams(world, container, 53)):
        assert world.host.ask_datagram("::1", 8089) == b"hello"
        assert neighbour6.ask_datagram(HOST6, 8089) == b"hello"
    world.kill_engine()
    assert comes_true(lambda: world.host.ask("::1", port) == ANSWER)
    world.start_engine()
    assert len(world.settings(container)["Ports"]["80/tcp"]) == 2


def test_an_ipv6_port_of_the_host_is_held_and_goes_on_without_the_engine(world: World) -> None:
    """S-86 for IPv6: the second is refused with its holder; the next engine knows that, too."""
    holder = world.run(*ECHO, ports={"80/tcp": "::1:8088"})
    world.run("sleep", "60", ports={"80/tcp": "8088"})  # the same number of IPv4 is another port
    for _ in range(2):
        other = world.create("sleep", "60", ports={"80/tcp": ":::8088"})
        with pytest.raises(ApiError, match=holder[:12]):
            world.engine.client.containers.start(other)
        world.kill_engine()
        assert comes_true(lambda: world.host.ask("::1", 8088) == ANSWER)
        world.start_engine()


def test_a_stop_gives_everything_back_at_once(world: World, backend: str) -> None:
    """Rule 6.37: when stop is answered the port is free."""
    container = world.run("sleep", "60", backend=backend, ports={"80/tcp": "8084"})
    assert world.traces()
    world.engine.client.containers.stop(container, timeout_seconds=0)
    assert "8084" not in world.host.rules()
    again = world.run("sleep", "60", backend=backend, ports={"80/tcp": "8084"})
    world.engine.client.containers.remove(again, force=True)
    world.made.remove(again)
    assert comes_true(lambda: not world.traces())


def test_a_taken_port_is_refused_with_its_holder(world: World) -> None:
    """Rule 6.24, S-86."""
    holder = world.run("sleep", "60", ports={"80/tcp": "8085"})
    other = world.create("sleep", "60", ports={"80/tcp": "8085"})
    with pytest.raises(ApiError, match=holder[:12]) as caught:
        world.engine.client.containers.start(other)
    assert caught.value.status == 409
    assert len([line for line in world.traces() if line.startswith(world.instance.name)]) == 1


def test_a_container_reaches_itself(world: World, backend: str) -> None:
    """RT-093: the loopback interface of a default container is up."""
    container = world.run(*ECHO, backend=backend)
    assert comes_true(
        lambda: world.do_inside(container, lambda: ask_here("127.0.0.1", 80)) == ANSWER
    )


def test_the_hosts_network_and_none_and_anothers(world: World) -> None:
    """RT-094. Modes host, none and container: nothing is made for them."""
    on_host = world.run("sleep", "60", NetworkMode="host")
    assert network_of(world, on_host) == world.host.path.stat().st_ino
    alone = world.run("sleep", "60", NetworkMode="none")
    with closing(world.inside(alone)) as inside:
        assert [link.get_attr("IFLA_IFNAME") for link in inside.get_links()] == ["lo"]
    first = world.run("sleep", "60")
    beside = world.run("sleep", "60", NetworkMode=f"container:{first}")
    assert network_of(world, beside) == network_of(world, first)


def network_of(world: World, container: str) -> int:
    return Path(f"/proc/{world.pid(container)}/ns/net").stat().st_ino
