# SPDX-License-Identifier: Apache-2.0
"""Two nodes of a cluster, and what happens when the network between them is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from toolkit.testing import listening

if TYPE_CHECKING:
    from toolkit.testing import Container, Network, RunContainer

REDIS = (
    "redis-server --bind 0.0.0.0 --protected-mode no --save '' "
    "--repl-timeout 2 --repl-diskless-sync-delay 0"
)


def redis(node: Container, *words: str) -> str:
    """Give a node a command, as its own client does."""
    return node.exec(["redis-cli", *words], check=True).stdout.strip()


def link_of(node: Container) -> str:
    """Return what a replica says of its link to the primary: ``up`` or ``down``."""
    facts = dict(
        line.split(":", 1) for line in redis(node, "info", "replication").split() if ":" in line
    )
    return facts["master_link_status"]


@pytest.fixture
def primary(run_container: RunContainer, debian: str, container_network: Network) -> Container:
    """The node that takes writes."""
    return run_container(debian, REDIS, network=container_network, wait=listening(6379))


@pytest.fixture
def replica(
    run_container: RunContainer, debian: str, container_network: Network, primary: Container
) -> Container:
    """A node that follows the primary, in step with it."""
    command = f"{REDIS} --replicaof {primary.ip_address(container_network)} 6379"
    return run_container(
        debian,
        command,
        network=container_network,
        wait=lambda node: link_of(node) == "up",
    )


def test_a_write_arrives_at_the_replica(primary: Container, replica: Container) -> None:
    redis(primary, "set", "k", "1")
    replica.wait_until(lambda node: redis(node, "get", "k") == "1")


def test_a_partition_is_noticed_and_healed(
    primary: Container, replica: Container, container_network: Network
) -> None:
    redis(primary, "set", "k", "before")
    replica.wait_until(lambda node: redis(node, "get", "k") == "before")

    container_network.disconnect(replica)
    redis(primary, "set", "k", "meanwhile")
    replica.wait_until(lambda node: link_of(node) == "down")
    assert redis(replica, "get", "k") == "before"

    container_network.connect(replica)
    replica.wait_until(lambda node: redis(node, "get", "k") == "meanwhile")
    assert link_of(replica) == "up"
