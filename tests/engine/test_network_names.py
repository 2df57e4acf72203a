# SPDX-License-Identifier: Apache-2.0
"""Names on user networks, on a fake server: who is known, who is asked, and what survives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.engine import World, created, started
from tests.fakes.engine import play as play_in
from tests.waiting import until
from toolkit.engine.model import EndpointSpec, HostOptions, NetworkSpec
from toolkit.engine.network_settings import NetworkSettings
from toolkit.errors import NameServerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from toolkit.engine.container import Container
    from toolkit.engine.engine import Engine

LAN = HostOptions(network_mode="lan")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.host.names.die()


def play(world: World, scenario: Callable[[Engine], Awaitable[None]], *networks: str) -> None:
    async def with_networks(engine: Engine) -> None:
        for name in networks or ("lan",):
            await engine.networks.create(NetworkSpec(name=name))
        await scenario(engine)

    play_in(world, with_networks)


def address(container: Container, network: str = "lan") -> str:
    return container.record.endpoints[network].ipv4


def resolv_conf(engine: Engine, container: Container) -> str:
    return engine._context.files(container.record.id).resolv_conf.read_text()


def hosts(engine: Engine, container: Container) -> str:
    return engine._context.files(container.record.id).hosts.read_text()


def test_no_server_is_started_for_the_default_bridge(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        container = await started(engine, host=HostOptions(network_mode="bridge"))
        assert world.host.names.started == 0
        assert "127.0.0.11" not in resolv_conf(engine, container)

    play(world, scenario)


def test_the_first_container_on_a_network_starts_it_and_is_known(world: World) -> None:
    """By name, aliases, short id and host name."""

    async def scenario(engine: Engine) -> None:
        wishes = {"lan": EndpointSpec(aliases=("store", "redis"))}
        db = await started(engine, "db", host=LAN, endpoints=wishes, hostname="box")
        web = await started(engine, "web", host=LAN)
        names = world.host.names
        assert names.started == 1
        for name in ("db", "store", "redis", "box", db.record.id[:12], "DB", "db.lan"):
            assert names.ask(web.record.id, name) == [address(db)]
        assert names.ask(web.record.id, "nobody") == []
        assert resolv_conf(engine, web).startswith("nameserver 127.0.0.11\n")
        await until(lambda: names.watched == {db.record.id, web.record.id})

    play(world, scenario)


def test_an_end_withdraws_the_name(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        db = await started(engine, "db", host=LAN)
        program = world.supervisor.last
        web = await started(engine, "web", host=LAN)
        program.end()
        await db.wait("not-running")
        await db._await_network()
        assert world.host.names.ask(web.record.id, "db") == []
        assert db.record.id not in world.host.names.resolvers
        await db.start()
        assert world.host.names.ask(web.record.id, "db") == [address(db)]

    play(world, scenario)


def test_an_alias_of_several_is_answered_in_turn(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        wishes = {"lan": EndpointSpec(aliases=("pool",))}
        both = [await started(engine, host=LAN, endpoints=wishes) for _ in range(2)]
        asker = both[0].record.id
        first, second = (world.host.names.ask(asker, "pool") for _ in range(2))
        assert set(first) == {address(each) for each in both}
        assert first == second[::-1]

    play(world, scenario)


def test_connecting_while_it_runs_counts_at_once(world: World) -> None:
    """From the default bridge onto a user network and back: names, resolv.conf and hosts."""

    async def scenario(engine: Engine) -> None:
        db = await started(engine, "db", host=LAN)
        web = await started(engine, "web", host=HostOptions(network_mode="bridge"))
        before = resolv_conf(engine, web), hosts(engine, web)
        await engine.networks.connect("lan", "web", EndpointSpec(aliases=("front",)))
        names = world.host.names
        assert names.ask(web.record.id, "db") == [address(db)]
        assert names.ask(db.record.id, "front") == [address(web)]
        assert resolv_conf(engine, web).startswith("nameserver 127.0.0.11\n")
        assert f"{address(web)}\t{web.record.spec.hostname}\n" in hosts(engine, web)
        await engine.networks.disconnect("lan", "web")
        assert names.ask(db.record.id, "front") == []
        assert web.record.id not in names.resolvers
        assert (resolv_conf(engine, web), hosts(engine, web)) == before

    play(world, scenario)


def test_what_a_container_changed_of_its_files_stays(world: World) -> None:
    """Row S-72."""

    async def scenario(engine: Engine) -> None:
        web = await started(engine, "web", host=HostOptions(network_mode="bridge"))
        files = engine._context.files(web.record.id)
        files.resolv_conf.write_text("nameserver 9.9.9.9\n")
        with files.hosts.open("a") as file:
            file.write("10.0.0.1\tmine\n")
        await engine.networks.connect("lan", "web")
        assert files.resolv_conf.read_text() == "nameserver 9.9.9.9\n"
        assert "10.0.0.1\tmine\n" in files.hosts.read_text()
        assert f"{address(web)}\t" in files.hosts.read_text()

    play(world, scenario)


def test_a_new_name_counts_at_once_on_every_network(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        db = await started(engine, "db", host=LAN)
        await engine.networks.connect("back", "db")
        web = await started(engine, "web", host=HostOptions(network_mode="back"))
        await db.rename("redis")
        names = world.host.names
        assert names.ask(web.record.id, "db") == []
        assert names.ask(web.record.id, "redis") == [address(db, "back")]
        assert names.ask(db.record.id, "redis") == [address(db)]

    play(world, scenario, "lan", "back")


def test_networks_do_not_see_each_other(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        await started(engine, "db", host=LAN)
        web = await started(engine, "web", host=HostOptions(network_mode="back"))
        assert world.host.names.ask(web.record.id, "db") == []

    play(world, scenario, "lan", "back")


def test_an_internal_network_asks_nobody(world: World) -> None:
    """Row S-88 (CVE-2024-29018); with a way out beside it, others are asked."""

    async def scenario(engine: Engine) -> None:
        await engine.networks.create(NetworkSpec(name="inside", internal=True))
        host = HostOptions(network_mode="inside", dns=("9.9.9.9",))
        web = await started(engine, "web", host=host)
        asked = world.host.names.resolvers
        assert asked[web.record.id] == ()
        await engine.networks.connect("lan", "web")
        assert asked[web.record.id] == ("9.9.9.9",)
        await engine.networks.disconnect("lan", "web")
        assert asked[web.record.id] == ()

    play(world, scenario)


def test_the_engines_resolvers_are_asked_for_those_who_name_none(world: World) -> None:
    """--dns of the engine, rule 10.22."""
    world.network_settings = NetworkSettings(dns=("10.0.0.9",))

    async def scenario(engine: Engine) -> None:
        web = await started(engine, "web", host=LAN)
        own = await started(engine, "own", host=HostOptions(network_mode="lan", dns=("9.9.9.9",)))
        asked = world.host.names.resolvers
        assert asked[web.record.id] == ("10.0.0.9",)
        assert asked[own.record.id] == ("9.9.9.9",)
        plain = await started(engine, host=HostOptions(network_mode="bridge"))
        assert resolv_conf(engine, plain).startswith("nameserver 10.0.0.9\n")

    play(world, scenario)


def test_the_engines_search_domains_and_options_stand_beside_127_0_0_11(world: World) -> None:
    """--dns-search and --dns-opt of the engine, also for one that is connected later."""
    world.network_settings = NetworkSettings(dns_search=("lan.test",), dns_options=("rotate",))
    rest = "search lan.test\noptions rotate ndots:0\n"

    async def scenario(engine: Engine) -> None:
        web = await started(engine, "web", host=LAN)
        assert resolv_conf(engine, web) == f"nameserver 127.0.0.11\n{rest}"
        plain = await started(engine, "plain", host=HostOptions(network_mode="bridge"))
        assert resolv_conf(engine, plain).endswith("search lan.test\noptions rotate\n")
        await engine.networks.connect("lan", "plain")
        assert resolv_conf(engine, plain) == f"nameserver 127.0.0.11\n{rest}"
        own = HostOptions(network_mode="lan", dns_search=("own.test",), dns_options=("ndots:1",))
        other = await started(engine, "other", host=own)
        assert resolv_conf(engine, other).endswith("search own.test\noptions ndots:1\n")

    play(world, scenario)


def test_a_link_is_a_private_name(world: World) -> None:
    """``--link`` on a user network: an alias for that container alone; the other may come later."""

    async def scenario(engine: Engine) -> None:
        host = HostOptions(network_mode="lan", links=("db:store",))
        wishes = {"lan": EndpointSpec(links=("db:store", "cache"))}
        web = await started(engine, "web", host=host, endpoints=wishes)
        names = world.host.names
        assert names.ask(web.record.id, "store") == []
        db = await started(engine, "db", host=LAN)
        assert names.ask(web.record.id, "store") == [address(db)]
        assert names.ask(db.record.id, "store") == []

    play(world, scenario)


@pytest.mark.parametrize("text", ["db:-x", "db:a b", "a:b:c", ":x", "db:a\nb", "-db:x"])
def test_a_bad_link_is_refused(world: World, text: str) -> None:
    """Row S-74."""

    async def scenario(engine: Engine) -> None:
        for fields in (
            {"host": HostOptions(network_mode="lan", links=(text,))},
            {"host": LAN, "endpoints": {"lan": EndpointSpec(links=(text,))}},
        ):
            with pytest.raises(Exception, match=r"link|name"):
                await created(engine, **fields)

    play(world, scenario)


def test_a_container_that_cannot_be_answered_does_not_start(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        web = await created(engine, "web", host=LAN)
        world.host.names.refuses = 2
        with pytest.raises(NameServerError):
            await web.start()
        await web._await_network()
        assert world.host.names.table.published() == {}
        await engine._context.attachments.sweep_links()
        assert world.host.veths() == []
        await web.start()
        assert world.host.names.ask(web.record.id, "web") == [address(web)]

    play(world, scenario)


def test_a_server_that_was_lost_is_replaced_and_told_everything(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        db = await started(engine, "db", host=LAN)
        web = await started(engine, "web", host=LAN)
        names = world.host.names
        names.die()
        everybody = {db.record.id, web.record.id}
        await until(lambda: names.started == 2 and names.watched == everybody)
        assert set(names.resolvers) == everybody
        assert names.ask(web.record.id, "db") == [address(db)]
        names.die()
        other = await started(engine, "other", host=LAN)  # before anybody has noticed
        assert names.ask(other.record.id, "db") == [address(db)]

    play(world, scenario)


def test_names_go_on_with_the_next_engine(world: World) -> None:
    """After a SIGKILL: who runs stays known, who has ended since does not."""

    async def before() -> None:
        async with world.killed_engine() as engine:
            await engine.networks.create(NetworkSpec(name="lan"))
            await started(engine, "db", host=LAN)
            await started(engine, "web", host=LAN)
            await started(engine, "gone", host=LAN)

    async def after() -> None:
        async with world.engine() as engine:
            names = world.host.names
            assert names.started == 1, "it is the same server"
            gone, web, db = await engine.containers()
            assert not gone.is_running
            assert names.ask(web.record.id, "db") == [address(db)]
            assert names.ask(web.record.id, "gone") == []
            assert set(names.resolvers) == {web.record.id, db.record.id}
            await db.rename("redis")
            assert names.ask(web.record.id, "redis") == [address(db)]

    asyncio.run(before())
    world.supervisor.last.is_alive = False
    asyncio.run(after())


def test_the_state_is_clean_when_everything_has_ended(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        made: list[Any] = [await started(engine, host=LAN) for _ in range(3)]
        for container in made:
            await container.remove(force=True)
            await container._await_network()
        state = world.host.names.state()
        assert (state.containers, state.published) == (frozenset(), {})

    play(world, scenario)
    assert not world.host.names.is_there(), "nobody needs it, and the engine has closed"
