# SPDX-License-Identifier: Apache-2.0
"""Names and links after the engine was killed at random points of what changes them."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from integration.network.conftest import comes_true
from toolkit.client import ApiError
from toolkit.errors import EngineUnreachableError
from toolkit.network.names_server import NamesServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.networked.conftest import World

ROUNDS = 12
LONGEST_SECONDS = 0.7
NETWORKS = ("lan", "back")


class Storm:
    """Somebody who makes, starts, renames, connects and removes containers without end."""

    def __init__(self, world: World, number: int) -> None:
        self.client = world.engine.client
        self.random = random.Random(number)  # noqa: S311 - a storm that can be had again
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def stop(self) -> None:
        self.over.set()
        self.thread.join()

    def _run(self) -> None:
        while not self.over.is_set():
            try:
                self._act()
            except ApiError:
                continue  # what is there and what is not is a matter of chance
            except EngineUnreachableError:
                return

    def _act(self) -> None:
        containers, networks = self.client.containers, self.client.networks
        name = f"c{self.random.randrange(4)}"
        network = self.random.choice(NETWORKS)
        match self.random.randrange(7):
            case 0 | 1 | 2:
                body: dict[str, Any] = {
                    "Image": "busybox",
                    "Cmd": ["sleep", "120"],
                    "HostConfig": {"NetworkMode": network},
                }
                containers.start(containers.create(body, name=name).id)
            case 3:
                networks.connect(network, name, {"Aliases": ["pool"]})
            case 4:
                networks.disconnect(network, name)
            case 5:
                containers.rename(name, f"c{self.random.randrange(4)}")
            case _:
                containers.remove(name, force=True)


def wanted(world: World) -> dict[str, set[str]]:
    """Return who is to be known, by network: who runs there."""
    found = {}
    for name in NETWORKS:
        network = world.engine.client.networks.inspect(name)
        if network["Containers"]:
            found[network["Id"]] = set(network["Containers"])
    return found


@pytest.mark.slow
def test_who_runs_is_known_and_nobody_else(world: World, make_network: Callable[..., str]) -> None:
    """F-03 for names: after each SIGKILL the server knows exactly what the store says."""
    for name in NETWORKS:
        make_network(name)
    chance = random.Random(7)  # noqa: S311 - as above
    server = NamesServer(world.instance.run_dir / "names")
    known_at_all = 0
    for number in range(ROUNDS):
        storm = Storm(world, number)
        time.sleep(chance.uniform(0.05, LONGEST_SECONDS))
        world.kill_engine()
        storm.stop()
        world.start_engine()
        published = wanted(world)
        known_at_all += len(published)
        if not server.is_there():
            assert published == {}
            continue
        server.open()
        state = server.state()
        server.close()
        assert {key: set(value) for key, value in state.published.items()} == published
        assert state.containers == {each for some in published.values() for each in some}
    assert known_at_all, "the storm has made something"
    for container in world.engine.client.containers.list(every=True):
        with suppress(ApiError):
            world.engine.client.containers.remove(container["Id"], force=True)
    assert comes_true(lambda: wanted(world) == {})
