# SPDX-License-Identifier: Apache-2.0
"""testcontainers for Python, unchanged, on the engine: containers, ports, logs, networks."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from integration.networked.conftest import World

pytest.importorskip("testcontainers")

GENERIC = """
import json, socket, sys
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

made = DockerContainer("busybox").with_command(["sh", "-c", "echo is $A; nc -ll -p 80 -e cat"])
made.with_exposed_ports(80).with_env("A", "ready")
made.waiting_for(LogMessageWaitStrategy("is ready").with_startup_timeout(20))
with made as container:
    found = {
        "host": container.get_container_host_ip(),
        "port": container.get_exposed_port(80),
        "logs": container.get_logs()[0].decode(),
        "exec": container.exec(["sh", "-c", "echo $A"]).output.decode(),
    }
    with socket.create_connection((found["host"], int(found["port"])), 5) as connection:
        connection.sendall(b"hello")
        found["answer"] = connection.recv(5).decode()
print(json.dumps(found))
"""
NETWORK = """
import json
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

def echoing(network):
    echo = ["nc", "-ll", "-p", "80", "-e", "cat"]
    return DockerContainer("busybox").with_command(echo).with_network(network)

with Network() as network:
    with echoing(network).with_network_aliases("www") as first, echoing(network) as second:
        own = first.get_wrapped_container()
        own.reload()
        seat = own.attrs["NetworkSettings"]["Networks"][network.name]
        asking = f"until echo hello | nc -w 2 {seat['IPAddress']} 80; do sleep 0.1; done"
        answer = second.exec(["timeout", "10", "sh", "-c", asking]).output.decode()
        print(json.dumps({"aliases": seat["Aliases"], "answer": answer}))
"""


def outcome(world: World, script: str) -> dict[str, Any]:
    """Return what a script printed that ran on the engine's host; nothing of it is left."""
    variables = (f"DOCKER_HOST={world.engine.url}", "TESTCONTAINERS_RYUK_DISABLED=true")
    python = (sys.executable, "-W", "ignore", "-c", script)
    printed = world.host.run("env", *variables, *python)
    assert world.engine.client.containers.list(every=True) == []
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def test_a_generic_container_is_waited_for_and_reached(world: World) -> None:
    found = outcome(world, GENERIC)
    assert (found["logs"], found["exec"]) == ("is ready\n", "ready\n")
    assert found["answer"] == "hello"


def test_containers_meet_on_a_network(world: World) -> None:
    found = outcome(world, NETWORK)
    assert found["answer"] == "hello\n"
    assert "www" in found["aliases"]
    names = {network["Name"] for network in world.engine.client.networks.list()}
    assert names == {"bridge", "host", "none"}
