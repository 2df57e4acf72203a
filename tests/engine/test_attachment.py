# SPDX-License-Identifier: Apache-2.0
"""Containers on networks, on fakes: what they are given, and that it is given back."""

from __future__ import annotations

import asyncio
import errno
import threading
from dataclasses import replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.engine import World, created, play, started
from tests.fakes.supervisor import NETNS_FD
from tests.waiting import PATIENCE_SECONDS, until
from toolkit.engine.model import (
    EndpointSpec,
    HostOptions,
    NetworkSpec,
    PoolSpec,
    PortBinding,
    State,
)
from toolkit.engine.network_settings import NetworkSettings
from toolkit.engine.port_choice import has_ipv6
from toolkit.errors import (
    AddressInUseError,
    CommandNotFoundError,
    ConflictError,
    FirewallError,
    LinkError,
    NameServerError,
    NetworkNotFoundError,
    NotModifiedError,
    PortInUseError,
    ProxyError,
    ToolkitError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from toolkit.engine.attachment import Attachment
    from toolkit.engine.container import Container
    from toolkit.engine.engine import Engine

BRIDGED = HostOptions(network_mode="bridge")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("toolkit.engine.published_ports.has_ipv6", lambda: False)
    return World(tmp_path)


def publishing(*bindings: PortBinding, port: str = "80/tcp", **host: Any) -> dict[str, Any]:
    options = replace(BRIDGED, published_ports={port: bindings}, **host)
    return {"host": options, "exposed_ports": (port,)}


async def settled(engine: Engine, container: Container) -> None:
    """Return when a container that has ended has given everything back."""
    await container._await_network()
    await engine._context.attachments.sweep_links()


def test_a_container_without_network_leaves_the_host_alone(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await started(engine, host=HostOptions(network_mode="none"))
        assert container.record.endpoints == {}
        assert world.host.opened == 0

    play(world, scenario)


def test_the_first_container_makes_the_bridge_and_gets_the_second_address(world: World) -> None:
    """Rules 6.4 and 6.19."""

    async def scenario(engine: Engine) -> None:
        container = await started(engine, host=BRIDGED)
        endpoint = container.record.endpoints["bridge"]
        assert (endpoint.ipv4, endpoint.prefix_length) == ("172.17.0.2", 16)
        assert (endpoint.gateway, endpoint.mac) == ("172.17.42.1", "02:42:ac:11:00:02")
        assert endpoint.has_default_route
        assert world.host.bridges() == ["test0"]
        assert world.host.veths() == [container.record.id]
        hosts = engine._context.files(container.record.id).hosts.read_text()
        assert hosts.startswith(f"172.17.0.2\t{container.record.spec.hostname}\n")

    play(world, scenario)


class Dawdler:
    """A listener that takes its time over who goes."""

    def __init__(self) -> None:
        self.may_go = asyncio.Event()

    async def detached(self, *_: object) -> None:
        await self.may_go.wait()


def test_a_removed_container_s_files_go_while_its_network_does(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await started(engine, host=BRIDGED)
        files, dawdler = engine._context.files(container.record.id).dir, Dawdler()
        engine._context.attachments.listeners.append(dawdler)  # type: ignore[arg-type]  # the one act
        removal = asyncio.create_task(container.remove(force=True))
        await until(lambda: not files.exists())
        assert not removal.done()
        assert container.record.state.status is State.REMOVING
        dawdler.may_go.set()
        await removal
        assert await engine.containers() == []

    play(world, scenario)


def test_a_routed_subnet_is_passed_over(world: World) -> None:
    """Rule 6.4."""
    world.host.stack.routes = [IPv4Network("172.17.0.0/16")]

    async def scenario(engine: Engine) -> None:
        container = await started(engine, host=BRIDGED)
        assert container.record.endpoints["bridge"].gateway == "10.0.42.1"

    play(world, scenario)


def test_a_published_port_has_a_rule_and_a_proxy_until_the_program_ends(world: World) -> None:
    """Rules 6.13 and 6.24."""

    async def scenario(engine: Engine) -> None:
        container = await started(engine, **publishing(PortBinding(host_ip="127.0.0.1")))
        [port] = container.record.ports
        assert port.container_port == 80
        assert port.host_port >= 49153
        applied = world.host.firewall.applied
        assert applied is not None
        [rule] = applied.ports
        assert (str(rule.container_address), rule.host_port) == ("172.17.0.2", port.host_port)
        assert world.host.proxies.leading == {container.record.id: [("172.17.0.2", 80)]}
        world.supervisor.last.end()
        await container.wait("not-running")
        assert (container.record.endpoints, container.record.ports) == ({}, ())
        await settled(engine, container)
        left = world.host.firewall.applied
        assert left is not None
        assert left.ports == frozenset()
        assert world.host.proxies.leading == {}
        assert engine._context.attachments.published.numbers.held() == {}
        assert engine._context.attachments.host._bridges != {}

    play(world, scenario)


class Listener:
    """Hears of comings, and can be waited for in another thread."""

    def __init__(self, failure: ToolkitError | None = None) -> None:
        self.heard = threading.Event()
        self.left: list[str] = []
        self._failure = failure

    async def attached(self, record: Any, seats: Any, netns_fd: int) -> None:
        del record, seats, netns_fd
        self.heard.set()
        if self._failure is not None:
            raise self._failure

    async def detached(self, container_id: str, seats: Any) -> None:
        del seats
        self.left.append(container_id)


def test_listeners_hear_of_a_container_while_its_link_is_made(world: World) -> None:
    listener, in_time = Listener(), []
    world.host.meanwhile = lambda: in_time.append(listener.heard.wait(10))

    async def scenario(engine: Engine) -> None:
        engine._context.attachments.listeners.append(listener)
        await started(engine, host=BRIDGED)

    play(world, scenario)
    assert in_time == [True]


def test_a_start_fails_with_its_link_or_with_a_listener_and_both_are_undone(world: World) -> None:
    listener = Listener(NameServerError("no names"))

    async def scenario(engine: Engine) -> None:
        engine._context.attachments.listeners.append(listener)
        for failure in (LinkError("create veth", "x", errno.EBUSY), None):
            world.host.fails = failure
            container = await created(engine, host=BRIDGED)
            with pytest.raises(LinkError if failure else NameServerError):
                await container.start()
            await settled(engine, container)
            assert listener.left.pop() == container.record.id
            assert world.host.veths() == []

    play(world, scenario)


def test_who_waits_hears_of_an_end_before_anything_is_given_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(engine: Engine) -> None:
        container = await started(engine, **publishing(PortBinding()))
        heard: list[str] = []
        published = engine._context.attachments.published
        close_way = published.close_way

        async def noted(attachment: Attachment) -> None:
            heard.append("given back")
            await close_way(attachment)

        async def wait() -> None:
            await container.wait("next-exit")
            heard.append("answered")

        monkeypatch.setattr(published, "close_way", noted)
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        world.supervisor.last.end()
        await waiting
        await settled(engine, container)
        assert heard == ["answered", "given back"]

    play(world, scenario)


def test_a_random_port_is_taken_again_at_the_next_start(world: World) -> None:
    """Defect D-22, kept: while nobody else has it."""

    async def scenario(engine: Engine) -> None:
        container = await started(engine, **publishing(PortBinding()))
        [first] = container.record.ports
        await container.restart(0)
        assert container.record.ports == (first,)
        await container.stop(0)
        wanted = PortBinding(host_port=first.host_port)
        await started(engine, **publishing(wanted))
        await container.start()
        assert container.record.ports[0].host_port != first.host_port

    play(world, scenario)


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
def test_a_proxy_that_still_starts_when_the_start_fails_is_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's first one takes long, and its program is found missing meanwhile."""
    is_told = threading.Event()

    async def fail(*_: object, connect: Callable[[int], Any], **__: object) -> None:
        await connect(NETNS_FD)
        asyncio.get_running_loop().call_later(0.05, is_told.set)
        raise CommandNotFoundError("nope")

    monkeypatch.setattr(world.host.proxies, "open", lambda: is_told.wait(PATIENCE_SECONDS))
    monkeypatch.setattr(world.supervisor, "start", fail)

    async def scenario(engine: Engine) -> None:
        container = await created(engine, **publishing(PortBinding()))
        with pytest.raises(CommandNotFoundError):
            await container.start()
        await settled(engine, container)
        await until(is_told.is_set)
        await asyncio.gather(*engine._context.tasks)
        assert world.host.proxies.leading == {}

    play(world, scenario)


@pytest.mark.parametrize("has_proxies", [True, False])
def test_a_port_without_an_address_is_one_of_ipv6_too_where_a_proxy_serves_it(
    world: World, monkeypatch: pytest.MonkeyPatch, *, has_proxies: bool
) -> None:
    """As docker of today; no rule leads there, the proxy does it alone."""
    monkeypatch.setattr("toolkit.engine.published_ports.has_ipv6", has_ipv6)
    world.network_settings = NetworkSettings(has_proxies=has_proxies)

    async def scenario(engine: Engine) -> None:
        container = await started(engine, **publishing(PortBinding(), PortBinding(host_ip="::1")))
        four, named, *beside = container.record.ports
        assert (four.host_ip, named.host_ip) == ("0.0.0.0", "::1")  # noqa: S104 - docker's default
        if has_proxies:
            [six] = beside
            assert (six.host_ip, six.host_port) == ("::", four.host_port)
            assert world.host.proxies.leading[container.record.id] == [("172.17.0.2", 80)] * 3
        else:
            assert beside == []
        applied = world.host.firewall.applied
        assert applied is not None
        assert {rule.host_port for rule in applied.ports} == {four.host_port}
        await container.restart(0)
        assert container.record.ports[0] == four
        await container.stop(0)
        await settled(engine, container)
        assert engine._context.attachments.published.numbers.held() == {}

    play(world, scenario)


def test_a_taken_port_fails_the_start_and_names_the_holder(world: World) -> None:
    """Row S-86; rule 6.34: nothing is left of the attempt."""

    async def scenario(engine: Engine) -> None:
        holder = await started(engine, **publishing(PortBinding()))
        [port] = holder.record.ports
        other = await created(engine, **publishing(PortBinding(host_port=port.host_port)))
        with pytest.raises(PortInUseError, match=holder.record.id[:12]):
            await other.start()
        assert other.record.state.status == State.CREATED
        assert other.record.endpoints == {}
        bridge = engine._context.attachments.host.bridge(
            holder.record.endpoints["bridge"].network_id
        )
        assert len(bridge.addresses.taken()) == 1

    play(world, scenario)


def test_the_same_number_is_free_on_another_address(world: World) -> None:
    """RT-087: mapped twice is refused, on another address it is not, unmapped once it is free."""

    async def scenario(engine: Engine) -> None:
        one = await started(engine, **publishing(PortBinding(host_ip="127.0.0.1")))
        number = one.record.ports[0].host_port
        here = publishing(PortBinding(host_ip="127.0.0.1", host_port=number))
        there = publishing(PortBinding(host_ip="127.0.0.2", host_port=number))
        refused = await created(engine, **here)
        for _ in range(2):
            with pytest.raises(PortInUseError):
                await refused.start()
        two = await started(engine, **there)
        for container in (one, two):
            await container.stop(0)
        with pytest.raises(NotModifiedError):
            await two.stop(0)
        await refused.start()
        assert refused.record.ports[0].host_port == number

    play(world, scenario)


def refuse_link(world: World) -> type[Exception]:
    world.host.fails = LinkError("create veth", "x", errno.ENOBUFS)
    return LinkError


def refuse_rules(world: World) -> type[Exception]:
    world.host.firewall.refuses = True
    return FirewallError


def refuse_proxy(world: World) -> type[Exception]:
    world.host.proxies.refuses = True
    return ProxyError


@pytest.mark.parametrize("refuse", [refuse_link, refuse_rules, refuse_proxy])
def test_a_start_that_cannot_be_connected_leaves_nothing(
    world: World, refuse: Callable[[World], type[Exception]]
) -> None:
    async def scenario(engine: Engine) -> None:
        await started(engine, host=BRIDGED)  # the bridge is there
        before = world.host.veths(), world.host.firewall.applied
        container = await created(engine, **publishing(PortBinding()))
        with pytest.raises(refuse(world)):
            await container.start()
        await settled(engine, container)
        world.host.firewall.refuses = False
        assert container.record.state.status == State.CREATED
        assert (world.host.veths(), world.host.firewall.applied) == before
        assert world.host.proxies.leading == {}
        assert engine._context.attachments.published.numbers.held() == {}
        assert [each.is_alive for each in world.supervisor.programs[1:]] in ([], [False])

    play(world, scenario)


def test_an_unknown_network_is_refused_at_the_start(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await created(engine, host=HostOptions(network_mode="later"))
        with pytest.raises(NetworkNotFoundError, match="network later not found"):
            await container.start()
        await engine.networks.create(NetworkSpec(name="later"))
        await container.start()
        assert list(container.record.endpoints) == ["later"]

    play(world, scenario)


async def two_networks(engine: Engine) -> None:
    for number in (1, 2):
        pool = PoolSpec(subnet=f"10.{number}.0.0/24")
        await engine.networks.create(NetworkSpec(name=f"n{number}", pools=(pool,)))


def test_several_networks_have_interfaces_in_order_and_one_way_out(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        await two_networks(engine)
        container = await started(
            engine,
            host=HostOptions(network_mode="n1"),
            endpoints={"n2": EndpointSpec(ipv4="10.2.0.77", mac="02-AA-00-00-00-01")},
        )
        one, two = container.record.endpoints.values()
        assert (one.interface, one.ipv4, one.has_default_route) == ("eth0", "10.1.0.2", True)
        assert (two.interface, two.ipv4, two.has_default_route) == ("eth1", "10.2.0.77", False)
        assert two.mac == "02:aa:00:00:00:01"

    play(world, scenario)


def test_an_address_is_given_once(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        await two_networks(engine)
        wish = {"n1": EndpointSpec(ipv4="10.1.0.9")}
        fields: dict[str, Any] = {"host": HostOptions(network_mode="n1"), "endpoints": wish}
        first = await started(engine, **fields)
        second = await created(engine, **fields)
        with pytest.raises(AddressInUseError):
            await second.start()
        await first.stop(0)
        await second.start()
        assert second.record.endpoints["n1"].ipv4 == "10.1.0.9"

    play(world, scenario)


def test_connect_and_disconnect_while_it_runs(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        await two_networks(engine)
        container = await created(engine, host=HostOptions(network_mode="n1"))
        with pytest.raises(ConflictError, match="already exists"):
            await engine.networks.connect("n1", container.record.id)
        await engine.networks.connect("n2", container.record.id)
        await container.start()
        assert list(container.record.endpoints) == ["n1", "n2"]
        await engine.networks.disconnect("n1", container.record.id)
        with pytest.raises(ConflictError, match="not connected"):
            await engine.networks.disconnect("n1", container.record.id)
        [left] = container.record.endpoints.values()
        assert left.has_default_route
        assert world.host.routed_again == [left.network_id]
        assert len(world.host.veths()) == 1

    play(world, scenario)


def test_a_container_that_is_on_none_can_come_back_to_its_own(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        await two_networks(engine)
        container = await started(engine, host=HostOptions(network_mode="n1"))
        await engine.networks.disconnect("n1", container.record.id)
        assert container.record.endpoints == {}
        with pytest.raises(ConflictError, match="not connected"):
            await engine.networks.disconnect("n1", container.record.id)
        await engine.networks.connect("n1", container.record.id)
        with pytest.raises(ConflictError, match="already exists"):
            await engine.networks.connect("n1", container.record.id)
        assert list(container.record.endpoints) == ["n1"]
        await engine.networks.disconnect("n1", container.record.id)
        await container.stop(0)
        await container.start()
        assert list(container.record.endpoints) == ["n1"]
        await engine.networks.disconnect("n1", container.record.id)

    play(world, scenario)


def test_the_default_bridge_says_what_it_is(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        shown = await engine.networks.inspect("bridge")
        prefix = "com.docker.network.bridge."
        assert shown.options[f"{prefix}name"] == engine.instance.bridge_name
        assert shown.options[f"{prefix}default_bridge"] == "true"
        assert shown.options[f"{prefix}enable_icc"] == "true"

    play(world, scenario)


def test_addresses_go_round_across_engines(world: World) -> None:
    """Rule 6.17, row S-89: one that was given back is given last."""

    async def one_life(engine: Engine) -> None:
        container = await started(engine, host=BRIDGED)
        given.append(container.record.endpoints["bridge"].ipv4)
        await container.remove(force=True)

    given: list[str] = []
    for _ in range(3):
        play(world, one_life)
    assert given == ["172.17.0.2", "172.17.0.3", "172.17.0.4"]


def test_an_engine_finds_what_runs_and_removes_the_rest(world: World) -> None:
    """After SIGKILL: links, rules and proxies of who runs stay, others go."""

    async def scenario() -> None:
        async with world.killed_engine() as engine:
            runs = await started(engine, **publishing(PortBinding()))
            ends = await started(engine, **publishing(PortBinding()))
            before = runs.record
            lost = ends.record.id
        world.supervisor.last.end()
        world.host.proxies.leading["f" * 64] = [("172.17.0.9", 1)]
        async with world.engine() as engine:
            again = await engine.container(before.id)
            assert again.record.endpoints == before.endpoints
            assert world.host.veths() == [before.id]
            assert lost not in world.host.veths()
            assert list(world.host.proxies.leading) == [before.id]
            applied = world.host.firewall.applied
            assert applied is not None
            assert {rule.owner.container_id for rule in applied.ports} == {before.id}
            other = await started(engine, host=BRIDGED)
            assert other.record.endpoints["bridge"].ipv4 not in {
                each.ipv4 for each in before.endpoints.values()
            }
            await again.stop(0)
            assert world.host.proxies.leading == {}

    asyncio.run(scenario())


def test_repair_puts_links_and_rules_back(world: World) -> None:
    """Rows S-82 and F-13."""

    async def scenario(engine: Engine) -> None:
        container = await started(engine, **publishing(PortBinding()))
        assert await engine.networks.repair() == []
        applied = world.host.firewall.applied
        world.host.firewall.applied = None
        [veth] = [link for link in world.host.stack.links() if link.kind == "veth"]
        world.host.stack.delete_link(veth.name)
        mended = await engine.networks.repair()
        assert mended == [
            "nat: chain toolkit-DNAT",
            f"the link of container {container.record.name} to bridge was gone",
        ]
        assert world.host.firewall.applied == applied
        assert world.host.veths() == [container.record.id]

    play(world, scenario)


def test_rules_that_were_flushed_come_back_by_themselves(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        await started(engine, **publishing(PortBinding()))
        applied = world.host.firewall.applied
        world.host.firewall.flushed_by_others()
        await until(lambda: world.host.firewall.applied == applied)

    play(world, scenario)


def test_news_of_the_firewall_are_read_later_and_together(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        await started(engine, host=BRIDGED)
        watch = world.host.firewall.watched
        assert watch is not None
        for _ in range(3):
            watch.tell()
            await asyncio.sleep(0)  # the loop sees it
        assert watch.reads == []
        await until(lambda: watch.reads == [3])
        watch.tell()
        await until(lambda: watch.reads == [3, 1])

    play(world, scenario)


def test_prune_and_removal_spare_networks_in_use(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        await two_networks(engine)
        container = await started(engine, host=HostOptions(network_mode="n1"))
        shown = await engine.networks.inspect("n1")
        assert [each.ipv4 for each in shown.endpoints] == ["10.1.0.2/24"]
        with pytest.raises(ConflictError, match="active endpoints"):
            await engine.networks.remove("n1")
        assert await engine.networks.prune(lambda _: True) == ["n2"]
        await container.remove(force=True)
        await engine.networks.remove("n1")
        assert world.host.bridges() == []
        assert [each.name for each in await engine.networks.list()] == ["bridge", "host", "none"]

    play(world, scenario)
