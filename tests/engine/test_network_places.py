# SPDX-License-Identifier: Apache-2.0
"""The IPv6 of the default bridge, as it is set for the engine (--ipv6, --fixed-cidr-v6)."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from tests.fakes.engine import World, play, started
from toolkit.engine.model import HostOptions, NetworkSpec, PoolSpec
from toolkit.engine.network_settings import NetworkSettings
from toolkit.errors import InvalidRequestError, SubnetOverlapError
from toolkit.network.unique_local import pool_of_instance

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.engine.engine import Engine

BRIDGED = HostOptions(network_mode="bridge")
PINNED = NetworkSettings(ipv6=True, fixed_cidr_v6="fd00:5::/64")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("toolkit.engine.published_ports.has_ipv6", lambda: False)
    return World(tmp_path)


async def subnets(engine: Engine) -> list[str]:
    return [pool.subnet for pool in (await engine.networks.inspect("bridge")).subnets]


def six(name: str = "six", subnet: str = "fd00:5::/64") -> NetworkSpec:
    pools = (PoolSpec(subnet=subnet),) if subnet else ()
    return NetworkSpec(name=name, ipv6=True, pools=pools)


def test_the_default_bridge_has_the_ipv6_subnet_that_is_set(world: World) -> None:
    world.network_settings = PINNED

    async def scenario(engine: Engine) -> None:
        container = await started(engine, host=BRIDGED)
        endpoint = container.record.endpoints["bridge"]
        assert (endpoint.ipv6, endpoint.ipv6_prefix_length) == ("fd00:5::2", 64)
        assert (endpoint.ipv6_gateway, endpoint.ipv4) == ("fd00:5::1", "172.17.0.2")
        shown = await engine.networks.inspect("bridge")
        assert shown.ipv6
        assert await subnets(engine) == ["172.17.0.0/16", "fd00:5::/64"]

    play(world, scenario)


def test_without_a_subnet_the_default_bridge_has_one_of_the_instances_own(world: World) -> None:
    """As `network create --ipv6`; the next engine has the same."""
    world.network_settings = NetworkSettings(ipv6=True)
    first = next(pool_of_instance("test").subnets(new_prefix=64))

    async def scenario(engine: Engine) -> None:
        container = await started(engine, host=BRIDGED)
        assert ip_address(container.record.endpoints["bridge"].ipv6) in first
        assert (await subnets(engine))[1] == str(first)

    for _ in range(2):
        play(world, scenario)


def test_ipv6_can_be_set_anew_for_each_engine(world: World) -> None:
    """None, a subnet, another one, none: who starts has what is set, and so has the bridge."""
    settings = {
        "": NetworkSettings(),
        "fd00:5::2": PINNED,
        "fd00:6::2": NetworkSettings(ipv6=True, fixed_cidr_v6="fd00:6::/64"),
    }
    for address in ("", "fd00:5::2", "fd00:6::2", ""):
        world.network_settings = settings[address]

        async def scenario(engine: Engine, address: str = address) -> None:
            container = await started(engine, host=BRIDGED)
            assert container.record.endpoints["bridge"].ipv6 == address
            assert len(await subnets(engine)) == (2 if address else 1)
            await container.remove(force=True)

        play(world, scenario)
    link = world.host.stack.link("test0")
    assert link is not None
    assert "fd00:5::1/64" not in map(str, world.host.stack.addresses(link.index))


def test_a_network_cannot_have_the_default_bridges_subnet_before_that_is_made(
    world: World,
) -> None:
    world.network_settings = PINNED

    async def scenario(engine: Engine) -> None:
        with pytest.raises(SubnetOverlapError):
            await engine.networks.create(six())
        await engine.networks.create(six("other", "fd00:6::/64"))

    play(world, scenario)


def test_a_network_without_a_subnet_is_not_given_the_default_bridges(world: World) -> None:
    first, second = islice(pool_of_instance("test").subnets(new_prefix=64), 2)
    world.network_settings = NetworkSettings(ipv6=True, fixed_cidr_v6=str(first))

    async def scenario(engine: Engine) -> None:
        made, _ = await engine.networks.create(six(subnet=""))
        assert made.subnets[1].subnet == str(second)

    play(world, scenario)


def test_a_subnet_that_a_network_has_is_refused_when_the_engine_opens(world: World) -> None:
    async def make(engine: Engine) -> None:
        await engine.networks.create(six())

    async def nothing(_engine: Engine) -> None:
        """Find that it opens."""

    play(world, make)
    world.network_settings = PINNED
    says = r"--fixed-cidr-v6 .* fd00:5::/64: use another network; six has fd00:5::/64"
    with pytest.raises(InvalidRequestError, match=says):
        play(world, nothing)
    world.network_settings = NetworkSettings(ipv6=True)
    play(world, nothing)
