# SPDX-License-Identifier: Apache-2.0
"""A hundred containers with a published port each, started at once."""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from integration.network.conftest import comes_true
from integration.networked.conftest import ECHO
from toolkit.client import Client

if TYPE_CHECKING:
    from integration.networked.conftest import World

COUNT = int(os.environ.get("TOOLKIT_MANY_COUNT", "100"))
AT_ONCE = 16
SAMPLES = 7
FIRST_PORT = 10_000


@pytest.mark.slow
def test_a_hundred_published_ports_at_once_are_all_reached(world: World) -> None:
    """Issue 4: all reachable; the hundredth start costs no more than twice the first."""
    first = [timed_start(world) for _ in range(SAMPLES)]
    for container in list(world.made):
        world.engine.client.containers.remove(container, force=True)
        world.made.remove(container)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        started = list(pool.map(lambda number: start(world, number), range(COUNT)))
    world.made += started
    addresses = {world.address(container) for container in started}
    assert len(addresses) == COUNT
    for number in range(COUNT):
        assert comes_true(partial(answers, world, FIRST_PORT + number)), number
    last = [timed_start(world) for _ in range(SAMPLES)]
    assert statistics.median(last) <= 2 * statistics.median(first), (first, last)


def answers(world: World, port: int) -> bool:
    return world.host.ask("172.17.42.1", port) == b"hello\n"


def start(world: World, number: int) -> str:
    with Client(world.engine.url, timeout_seconds=60) as client:
        container = client.containers.create(wish(str(FIRST_PORT + number))).id
        client.containers.start(container)
        return container


def timed_start(world: World) -> float:
    """Return the seconds of one start request; the container stays."""
    client = world.engine.client.containers
    container = client.create(wish("")).id
    world.made.append(container)
    began = time.perf_counter()
    client.start(container)
    seconds = time.perf_counter() - began
    time.sleep(0.2)  # what is made ahead of the next start is made again
    return seconds


def wish(port: str) -> dict[str, object]:
    return {
        "Image": "busybox",
        "Cmd": list(ECHO),
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": port}]}},
    }
