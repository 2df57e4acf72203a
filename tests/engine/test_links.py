# SPDX-License-Identifier: Apache-2.0
"""Links on the default bridge, on fakes: variables, hosts files, rules, names and their removal."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.engine import World, created, play, started
from toolkit.engine.link_texts import link_parts
from toolkit.engine.model import HostOptions, NetworkSpec, State
from toolkit.errors import (
    ConflictError,
    FirewallError,
    InvalidLinkError,
    InvalidRequestError,
    NotFoundError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.engine.container import Container
    from toolkit.engine.engine import Engine

CHILD: dict[str, Any] = {"exposed_ports": ("6379/tcp", "53/udp"), "env": ("PASSWORD=gordon",)}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def bridged(*links: str, **fields: Any) -> dict[str, Any]:
    return {"host": HostOptions(network_mode="bridge", links=links), **fields}


def hosts_of(engine: Engine, container: Container) -> list[str]:
    return engine._context.files(container.record.id).hosts.read_text().splitlines()


def rules(world: World) -> set[tuple[str, str, str, int]]:
    applied = world.host.firewall.applied
    return {
        (str(rule.source), str(rule.destination), rule.protocol, rule.port)
        for rule in (applied.links if applied else ())
    }


def test_the_program_of_the_parent_gets_the_variables(world: World) -> None:
    """RT-109 and rules 2.9 and 7.9: before its own, which win."""

    async def scenario(engine: Engine) -> None:
        db = await started(engine, "db", **bridged(**CHILD))
        web = await started(engine, "web", **bridged("db:store", env=("STORE_PORT=mine",)))
        env = world.supervisor.last.document["process"]["env"]
        address = db.record.endpoints["bridge"].ipv4
        assert [each for each in env if each.startswith("STORE")] == [
            "STORE_PORT=mine",
            f"STORE_PORT_53_UDP=udp://{address}:53",
            f"STORE_PORT_53_UDP_ADDR={address}",
            "STORE_PORT_53_UDP_PORT=53",
            "STORE_PORT_53_UDP_PROTO=udp",
            f"STORE_PORT_6379_TCP=tcp://{address}:6379",
            f"STORE_PORT_6379_TCP_ADDR={address}",
            "STORE_PORT_6379_TCP_PORT=6379",
            "STORE_PORT_6379_TCP_PROTO=tcp",
            "STORE_NAME=/web/store",
            "STORE_ENV_PASSWORD=gordon",
        ]
        assert f"{address}\tstore {db.record.spec.hostname} db" in hosts_of(engine, web)

    play(world, scenario)


def test_a_linked_port_is_open_while_both_run(world: World) -> None:
    """Rules 7.11 to 7.13, row S-83: the rules go with either end."""

    async def scenario(engine: Engine) -> None:
        db = await started(engine, "db", **bridged(**CHILD))
        child = world.supervisor.last
        web = await started(engine, "web", **bridged("db:store"))
        ends = web.record.endpoints["bridge"].ipv4, db.record.endpoints["bridge"].ipv4
        assert rules(world) == {(*ends, "tcp", 6379), (*ends, "udp", 53)}
        child.end()
        await db.wait("not-running")
        await db._await_network()
        assert rules(world) == set()
        await db.start()
        new = db.record.endpoints["bridge"].ipv4
        assert new != ends[1], "addresses are given round robin"
        assert rules(world) == {(ends[0], new, "tcp", 6379), (ends[0], new, "udp", 53)}
        assert f"{new}\tstore {db.record.spec.hostname} db" in hosts_of(engine, web)
        await web.kill("KILL")
        await web.wait("not-running")
        await web._await_network()
        assert rules(world) == set()

    play(world, scenario)


def test_a_link_to_one_that_does_not_run_fails_the_start(world: World) -> None:
    """Rules 2.10 and 7.3: everything is given back."""

    async def scenario(engine: Engine) -> None:
        await created(engine, "db", **bridged())
        web = await created(engine, "web", **bridged("db:store"))
        with pytest.raises(InvalidLinkError) as caught:
            await web.start()
        assert str(caught.value) == ("Cannot link to a non running container: /db AS /web/store")
        assert web.record.state.status == State.CREATED
        await web._await_network()
        assert (web.record.endpoints, web.record.link_environment) == ({}, ())
        assert world.host.veths() == []

    play(world, scenario)


def test_refused_rules_fail_the_start(world: World) -> None:
    """Rule 2.10."""

    async def scenario(engine: Engine) -> None:
        await started(engine, "db", **bridged(**CHILD))
        web = await created(engine, "web", **bridged("db:store"))
        world.host.firewall.refuses = True
        with pytest.raises(FirewallError):
            await web.start()
        world.host.firewall.refuses = False
        await web._await_network()
        assert rules(world) == set()
        await web.start()
        assert len(rules(world)) == 2

    play(world, scenario)


@pytest.mark.parametrize(
    ("links", "said"),
    [
        (("nosuch:db",), "could not get container for nosuch"),
        (("db:-j",), "alias"),
        (("db:a b",), "alias"),
        (("db:a;rm",), "alias"),
        (("db:a\nb",), "alias"),
        (("db:a:b",), "match template"),
        (("--link:db",), "Invalid container name"),
        (("db:" + "a" * 129,), "alias"),
        (("db:x",) * 257, "too many"),
    ],
)
def test_bad_links_are_refused_at_create(world: World, links: tuple[str, ...], said: str) -> None:
    """S-74: what goes into variables, files and rules is a name; the control is among them."""

    async def scenario(engine: Engine) -> None:
        await created(engine, "db", **bridged())
        with pytest.raises(InvalidRequestError, match=said):
            await created(engine, "web", **bridged(*links))
        await created(engine, "web", **bridged("db:a.b-c_d"))

    play(world, scenario)


@pytest.mark.parametrize("mode", ["host", "container:db"])
def test_a_container_without_a_network_of_its_own_has_no_links(world: World, mode: str) -> None:
    async def scenario(engine: Engine) -> None:
        await created(engine, "db", **bridged())
        with pytest.raises(InvalidRequestError, match=r"conflicting options: .*links"):
            await created(engine, host=HostOptions(network_mode=mode, links=("db:x",)))

    play(world, scenario)


def test_a_child_on_no_bridge_cannot_be_linked_to(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        await started(engine, "db", host=HostOptions(network_mode="none"))
        web = await created(engine, "web", **bridged("db:store"))
        with pytest.raises(InvalidLinkError, match="not attached to default bridge network"):
            await web.start()

    play(world, scenario)


def test_a_child_is_found_by_the_path_of_the_link(world: World) -> None:
    """RT-110, RT-111 and rules 7.26, 7.27 and 10.29."""

    async def scenario(engine: Engine) -> None:
        db = await created(engine, "db", **bridged())
        web = await created(engine, "webapp", **bridged("db:db", "/db:/old/second", "db:db"))
        assert await engine.container("/webapp/db") is db
        assert await engine.container("webapp/second") is db
        children = engine._context.index.children(web.record)
        assert children == {"db": db, "second": db}
        assert db.names == ["/db", "/webapp/db", "/webapp/second"]
        assert web.links == ["/db:/webapp/db", "/db:/webapp/second"]

    play(world, scenario)


def test_renaming_either_end_moves_the_paths(world: World) -> None:
    """Rule 7.23."""

    async def scenario(engine: Engine) -> None:
        db = await started(engine, "db", **bridged())
        web = await started(engine, "web", **bridged("db:store"))
        await web.rename("front")
        assert db.names == ["/db", "/front/store"]
        await db.rename("redis")
        assert web.links == ["/redis:/front/store"]
        address = db.record.endpoints["bridge"].ipv4
        assert f"{address}\tstore {db.record.spec.hostname} redis" in hosts_of(engine, web)
        assert f"{address}\tstore {db.record.spec.hostname} db" not in hosts_of(engine, web)

    play(world, scenario)


def test_a_removed_link_is_closed_at_once_and_stays_removed(world: World) -> None:
    """Rule 7.7."""

    async def scenario(engine: Engine) -> None:
        db = await started(engine, "db", **bridged(**CHILD))
        web = await started(engine, "web", **bridged("db:store"))
        for path, kind, said in (
            ("web/nosuch", NotFoundError, "No such link: /web/nosuch"),
            ("nosuch/db", NotFoundError, "No such link: /nosuch/db"),
            ("/web", ConflictError, "cannot remove the default name"),
        ):
            with pytest.raises(kind, match=said):
                await engine.remove_link(path)
        await engine.remove_link("web/store")
        assert rules(world) == set()
        assert db.names == ["/db"]
        assert not any("store" in line for line in hosts_of(engine, web))

    async def later(engine: Engine) -> None:
        web = await engine.container("web")
        assert web.links == []
        await web.restart(0)
        assert "STORE_NAME=/web/store" not in world.supervisor.last.document["process"]["env"]

    play(world, scenario)
    play(world, later)


def test_a_removed_child_takes_the_link_along(world: World) -> None:
    """Rule 10.26."""

    async def scenario(engine: Engine) -> None:
        db = await created(engine, "db", **bridged())
        web = await created(engine, "web", **bridged("db:store"))
        await db.remove()
        assert web.links == []
        await created(engine, "db", **bridged())
        await web.start()

    play(world, scenario)


def test_links_come_back_with_the_engine(world: World) -> None:
    """RT-112, row S-83: after a SIGKILL rules, names, files and variables are as before."""

    async def before() -> set[tuple[str, str, str, int]]:
        async with world.killed_engine() as engine:
            await started(engine, "db", **bridged(**CHILD))
            await started(engine, "web", **bridged("db:store"))
            return rules(world)

    async def after(wanted: set[tuple[str, str, str, int]]) -> None:
        async with world.engine() as engine:
            web, db = await engine.containers()
            assert (web.is_running, db.is_running) == (True, True)
            assert rules(world) == wanted
            assert db.names == ["/db", "/web/store"]
            assert "STORE_NAME=/web/store" in web.record.link_environment
            db_program = db.program
            assert db_program is not None
            await db.kill("KILL")
            await db.wait("not-running")
            await db._await_network()
            assert rules(world) == set()

    found = asyncio.run(before())
    assert found
    asyncio.run(after(found))


def test_on_a_user_network_a_link_is_no_rule_and_no_variable(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.networks.create(NetworkSpec(name="lan"))
        host = HostOptions(network_mode="lan", links=("later:store",))
        web = await started(engine, "web", host=host)
        assert web.record.spec.host.links == ("later:store",)
        assert rules(world) == set()
        assert web.record.link_environment == ()

    play(world, scenario)


@given(st.text(st.sampled_from("ab-./:_ \n;$é"), max_size=12) | st.text(max_size=20))
def test_whatever_is_taken_for_a_link_is_two_names(text: str) -> None:
    """S-74, S-85."""
    try:
        name, alias = link_parts(text)
    except InvalidRequestError:
        return
    plain = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
    assert plain.fullmatch(name)
    assert plain.fullmatch(alias)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("redis:db", ("redis", "db")),
        ("redis", ("redis", "redis")),
        ("/redis:/web/db", ("redis", "db")),
        ("/redis:db", ("redis", "db")),
    ],
)
def test_links_are_written_in_three_ways(text: str, parts: tuple[str, str]) -> None:
    assert link_parts(text) == parts
