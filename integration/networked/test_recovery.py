# SPDX-License-Identifier: Apache-2.0
"""What survives an engine that is killed, and what comes back when rules are flushed."""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from integration.network.conftest import comes_true
from integration.networked.conftest import ECHO, HOST
from integration.pace import SLOWNESS
from toolkit.client import ApiError, Client
from toolkit.errors import EngineUnreachableError

if TYPE_CHECKING:
    from integration.networked.conftest import World

ANSWER = b"hello\n"
ROUNDS = int(os.environ.get("TOOLKIT_STORM_ROUNDS", "25"))
STORM_WORKERS = 4
LONGEST_STORM_SECONDS = 0.6


def test_ports_work_without_an_engine_and_with_the_next(world: World, backend: str) -> None:
    """Rule 6.14: rules, proxies and links outlive the engine."""
    container = world.run(*ECHO, backend=backend, ports={"80/tcp": "8090"})
    assert comes_true(lambda: world.host.ask("127.0.0.1", 8090) == ANSWER)
    before = sorted(world.traces())
    world.kill_engine()
    assert world.host.ask("127.0.0.1", 8090) == ANSWER
    assert world.neighbour.ask(HOST, 8090) == ANSWER
    world.start_engine()
    assert sorted(world.traces()) == before
    assert world.neighbour.ask(HOST, 8090) == ANSWER
    other = world.run("sleep", "60", backend=backend)
    assert world.address(other) != world.address(container)


def test_what_ended_while_no_engine_was_there_leaves_nothing(world: World) -> None:
    container = world.run("sleep", "60", ports={"80/tcp": "8091"})
    pid = world.pid(container)
    world.kill_engine()
    os.kill(pid, 9)
    world.start_engine()
    assert comes_true(lambda: not world.traces())


def test_a_dead_proxy_is_started_again_by_the_next_engine(world: World) -> None:
    container = world.run(*ECHO, ports={"80/tcp": "8092"})
    assert comes_true(lambda: world.host.ask("127.0.0.1", 8092) == ANSWER)
    world.kill_engine()
    for pid in proxies_of(world, container):
        os.kill(pid, 9)
    assert comes_true(lambda: world.host.ask("127.0.0.1", 8092) == b"")
    world.start_engine()
    assert world.host.ask("127.0.0.1", 8092) == ANSWER


def proxies_of(world: World, container: str) -> list[int]:
    """Return the process behind a proxy's socket."""
    import socket  # noqa: PLC0415
    import struct  # noqa: PLC0415

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        asking.connect(str(world.instance.run_dir / "proxies" / container))
        found = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return [struct.unpack("3i", found)[0]]


FLUSHES = {
    "nat": ("iptables", "-t", "nat", "-F"),
    "filter": ("iptables", "-F"),
    "raw": ("iptables", "-t", "raw", "-F"),
    "everything": ("nft", "flush", "ruleset"),
}


@pytest.mark.parametrize("what", sorted(FLUSHES))
def test_flushed_rules_are_back_within_two_seconds(world: World, what: str) -> None:
    """S-82, F-13: and what is not published is closed again."""
    container = world.run(*ECHO, ports={"80/tcp": "8093"})
    assert comes_true(lambda: world.neighbour.ask(HOST, 8093) == ANSWER)
    before = world.host.rules().count(container[:12])
    assert before
    world.host.run(*FLUSHES[what])
    began = time.monotonic()
    assert comes_true(lambda: world.host.rules().count(container[:12]) == before, seconds=2)
    assert world.neighbour.ask(HOST, 8093) == ANSWER
    assert world.neighbour.ask(world.address(container), 80) == b""
    assert time.monotonic() - began < 5 * SLOWNESS


def test_repair_mends_what_nobody_was_told_of(world: World) -> None:
    """`doctor --repair`: a deleted link, a bridge that is down, a port that was unplugged."""
    container = world.run(*ECHO, ports={"80/tcp": "8094"})
    assert comes_true(lambda: world.neighbour.ask(HOST, 8094) == ANSWER)
    assert world.engine.client.system.repair() == []
    [link] = [name for name, alias in world.host.links().items() if alias.endswith(container)]
    for break_it in (
        ("ip", "link", "delete", link),
        ("ip", "link", "set", link, "nomaster"),
        ("ip", "link", "set", f"{world.instance.name}0", "down"),
    ):
        world.host.run(*break_it)
        assert world.neighbour.ask(HOST, 8094) == b"", break_it
        world.engine.client.system.repair()
        assert comes_true(lambda: world.neighbour.ask(HOST, 8094) == ANSWER), break_it


def test_a_bridge_that_was_taken_down_is_mended_by_the_next_container(world: World) -> None:
    server = world.run(*ECHO)
    address = world.address(server)
    assert comes_true(lambda: world.host.ask(address, 80) == ANSWER)
    world.host.run("ip", "link", "set", f"{world.instance.name}0", "down")
    world.run("sleep", "60")
    assert comes_true(lambda: world.host.ask(address, 80) == ANSWER)


def chance_of(seed: float) -> random.Random:
    """Return what can be repeated with its seed."""
    return random.Random(seed)  # noqa: S311 - no secret


class Storm:
    """Workers that start, connect, disconnect and remove containers until the engine dies.

    Attributes:
        begun: How many containers they have begun to start.
    """

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._random = chance_of(seed)
        self._is_over = threading.Event()
        self.begun = 0
        self._threads = [
            threading.Thread(target=self._work, args=(self._random.random(), number))
            for number in range(STORM_WORKERS)
        ]

    def blow(self, seconds: float) -> None:
        """Kill the engine in the middle of it."""
        for thread in self._threads:
            thread.start()
        time.sleep(seconds)  # the random point
        self._world.kill_engine()
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _work(self, seed: float, number: int) -> None:
        chance = chance_of(seed)
        with Client(self._world.engine.url, timeout_seconds=20) as client:
            while not self._is_over.is_set():
                with suppress(ApiError, EngineUnreachableError, OSError):
                    self._one_life(client, chance, number)

    def _one_life(self, client: Client, chance: random.Random, number: int) -> None:
        wish = {
            "Image": "busybox",
            "Cmd": ["sleep", "60"],
            "Labels": {"storm": "1"},
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
            "HostConfig": {
                "NetworkMode": chance.choice(("default", "stormy")),
                "PortBindings": {"80/tcp": [{"HostPort": str(9100 + number)}], "53/udp": [{}]},
            },
        }
        made = client.containers.create(wish).id
        self.begun += 1
        client.containers.start(made)
        if chance.random() < 0.5:
            body = {"Container": made}
            client.request("POST", "/networks/stormy/connect", document=body).read()
            client.request("POST", "/networks/stormy/disconnect", document=body).read()
        if chance.random() < 0.8:
            client.containers.remove(made, force=True)


def make_network(world: World, name: str, subnet: str) -> None:
    body = {"Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}}
    world.engine.client.request("POST", "/networks/create", document=body).read()


@pytest.mark.slow
@pytest.mark.timeout(60 + 15 * ROUNDS)
def test_an_engine_killed_in_a_storm_leaves_nothing_and_keeps_what_runs(world: World) -> None:
    """S-83 and issue 4: no veth, rule, address, port or proxy too many; ports go on."""
    make_network(world, "stormy", "172.30.0.0/24")
    steady = world.run(*ECHO, ports={"80/tcp": "8099"})
    begun = 0
    try:
        for number in range(ROUNDS):
            chance = chance_of(number)
            storm = Storm(world, number)
            storm.blow(chance.uniform(0.02, LONGEST_STORM_SECONDS))
            begun += storm.begun
            assert world.neighbour.ask(HOST, 8099) == ANSWER, number
            world.start_engine()
            assert world.neighbour.ask(HOST, 8099) == ANSWER, number
            check_whole(world, number)
            clear_storm(world)
            assert comes_true(lambda: owners(world) == {steady[:12]}), (number, world.traces())
        assert begun > ROUNDS  # the storms were storms
    finally:
        clear_storm(world)
        world.engine.client.request("DELETE", "/networks/stormy").read()


def clear_storm(world: World) -> None:
    client = world.engine.client.containers
    for document in client.list(every=True, filters={"label": ["storm"]}):
        client.remove(document["Id"], force=True)


def owners(world: World) -> set[str]:
    """Return the containers that the host's traces name."""
    aliases = [alias for alias in world.host.links().values() if alias.count(":") == 3]
    names = {alias.split(":")[3][:12] for alias in aliases}
    proxies = {path.name[:12] for path in (world.instance.run_dir / "proxies").glob("*")}
    return names | proxies | rule_owners(world)


def rule_owners(world: World) -> set[str]:
    lines = [line for line in world.host.rules().splitlines() if "--comment" in line]
    return {line.split("--comment ")[1].split()[0] for line in lines}


def check_whole(world: World, number: int) -> None:
    """Every running container has its link, rule, proxy and address, and nobody else has."""
    listed = world.engine.client.containers.list()
    running = {document["Id"][:12] for document in listed}
    assert comes_true(lambda: owners(world) == running), (number, owners(world) ^ running)
    addresses = [world.address(document["Id"]) for document in listed]
    assert len(set(addresses)) == len(addresses), (number, addresses)
