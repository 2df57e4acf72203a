# SPDX-License-Identifier: Apache-2.0
"""Namespaces that a container shares: references become ids, and ids become processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.fakes.engine import World, created, started
from toolkit.engine.model import HostOptions
from toolkit.engine.sharing import has_own_network, namespaces_of
from toolkit.errors import ConflictError, InvalidRequestError
from toolkit.runtime.document import NAMESPACES

if TYPE_CHECKING:
    from pathlib import Path


def kinds(host: HostOptions) -> dict[str, str]:
    return {entry["type"]: entry.get("path", "") for entry in namespaces_of(host, lambda _: 4711)}


def test_by_default_all_are_its_own() -> None:
    assert kinds(HostOptions()) == dict.fromkeys(NAMESPACES, "")


def test_the_hosts_are_left_out() -> None:
    host = HostOptions(
        pid_mode="host", ipc_mode="host", uts_mode="host", cgroupns_mode="host", network_mode="host"
    )
    assert kinds(host) == {"mount": ""}
    assert not has_own_network(host)


def test_another_containers_are_named_by_its_process() -> None:
    host = HostOptions(pid_mode="container:a", ipc_mode="container:a", network_mode="container:a")
    found = kinds(host)
    assert {kind: path for kind, path in found.items() if path} == {
        "pid": "/proc/4711/ns/pid", "ipc": "/proc/4711/ns/ipc", "network": "/proc/4711/ns/net",
    }  # fmt: skip
    assert not has_own_network(host)


def test_a_name_becomes_an_id_and_the_peer_has_to_run(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(tmp_path)
        async with world.engine() as engine:
            peer = await created(engine, "peer")
            sharing = await created(engine, host=HostOptions(pid_mode="container:peer"))
            assert sharing.record.spec.host.pid_mode == f"container:{peer.record.id}"
            with pytest.raises(ConflictError, match="non running"):
                await sharing.start()
            await peer.start()
            await sharing.start()
            with pytest.raises(InvalidRequestError, match="nobody"):
                await created(engine, host=HostOptions(ipc_mode="container:nobody"))

    asyncio.run(run())


def test_a_shared_network_brings_its_host_name(tmp_path: Path) -> None:
    """What the image exposes is no conflict: nobody asked for it."""

    async def run() -> None:
        world = World(tmp_path, image_config={"Cmd": ["true"], "ExposedPorts": {"80/tcp": {}}})
        async with world.engine() as engine:
            await started(engine, "peer", hostname="theirs")
            sharer = await created(engine, host=HostOptions(network_mode="container:peer"))
            assert sharer.record.spec.hostname == "theirs"
            with pytest.raises(InvalidRequestError, match="port exposing and the container type"):
                await created(
                    engine,
                    host=HostOptions(network_mode="container:peer"),
                    exposed_ports=("80/tcp",),
                )

    asyncio.run(run())
