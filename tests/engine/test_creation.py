# SPDX-License-Identifier: Apache-2.0
"""From a create request to a container, or to nothing at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.engine import IMAGE, World, created, play
from toolkit.engine.model import ContainerSpec, EndpointSpec, HostOptions, Limits, State
from toolkit.errors import ImageNotFoundError, InvalidRequestError, StorageError, ToolkitError

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.engine.engine import Engine
    from toolkit.engine.model import ContainerRecord


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_who_starts_programs_hears_of_a_container_before_its_start(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        await created(engine, host=HostOptions(backend="lxc"))
        assert world.supervisor.expected == ["lxc"]

    play(world, scenario)


def test_a_container_is_what_was_asked_and_what_the_image_says(world: World) -> None:
    """RT-001, RT-002, RT-012."""
    world.image_config = {"Entrypoint": ["/bin/echo"], "Env": ["A=1"], "Labels": {"l": "1"}}

    async def scenario(engine: Engine) -> None:
        container, warnings = await engine.create_container(
            ContainerSpec(image=IMAGE, command=("-n", "foobar")), "some_name"
        )
        record = container.record
        assert warnings == []
        assert len(record.id) == 64
        assert int(record.id, 16)
        assert (record.path, record.args) == ("/bin/echo", ("-n", "foobar"))
        assert record.spec.env == ("A=1",)
        assert record.spec.hostname == record.id[:12]
        assert record.image_id.startswith("sha256:")
        assert record.state.status is State.CREATED
        assert record.driver == "fake"
        [event] = engine.events._kept
        assert event.attributes == {"l": "1", "image": IMAGE, "name": "some_name"}

    play(world, scenario)


@pytest.mark.parametrize("mode", ["", "bridge", "default"])
def test_the_default_network_has_one_name(world: World, mode: str) -> None:
    async def scenario(engine: Engine) -> None:
        spec = ContainerSpec(image=IMAGE, host=HostOptions(network_mode=mode))
        container, warnings = await engine.create_container(spec)
        assert warnings == []
        assert container.record.spec.host.network_mode == "bridge"
        assert list(container.record.spec.endpoints) == ["bridge"]

    play(world, scenario)


def test_limits_that_the_host_lacks_are_warnings(world: World) -> None:
    world.cgroups.missing = {"swap"}

    async def scenario(engine: Engine) -> None:
        spec = ContainerSpec(image=IMAGE, limits=Limits(memory_bytes=1 << 20))
        container, warnings = await engine.create_container(spec)
        assert len(warnings) == 1
        assert container.record.spec.limits.memory_swap_bytes == -1

    play(world, scenario)


@pytest.mark.parametrize(
    "fields",
    [
        {"limits": Limits(memory_bytes=524287)},
        {"working_dir": "x"},
        {"volumes": ("x:/y",)},
        {"host": HostOptions(network_mode="my\nnet")},
        {"mac_address": "01:00:00:00:00:01"},
        {"endpoints": {"bridge": EndpointSpec(ipv4="172.17.0.9")}},
        {"host": HostOptions(network_mode="host"), "endpoints": {"bridge": EndpointSpec()}},
        {"host": HostOptions(pid_mode="container:x")},
        {"host": HostOptions(links=("a:b",))},
        {"host": HostOptions(log_options={"max-size": "many"})},
        {"host": HostOptions(log_options={"nosuch": "1"})},
        {"host": HostOptions(security_options=("nosuch=1",))},
        {"host": HostOptions(volumes_from=("nosuch",))},
    ],
)
def test_a_refused_request_leaves_nothing(world: World, fields: dict[str, Any]) -> None:
    async def scenario(engine: Engine) -> None:
        with pytest.raises(ToolkitError) as caught:
            await created(engine, "name", **fields)
        assert caught.value.status in {400, 404}
        assert await engine.containers() == []
        assert world.layers.rw == set()
        assert list(world.instance.containers_dir.iterdir()) == []
        await created(engine, "name")

    play(world, scenario)


def test_an_unknown_image_is_not_found(world: World) -> None:
    async def scenario(engine: Engine) -> None:
        with pytest.raises(ImageNotFoundError, match="No such image: nosuch"):
            await engine.create_container(ContainerSpec(image="nosuch"))

    play(world, scenario)


def test_an_image_without_command_needs_one(world: World) -> None:
    world.image_config = {}

    async def scenario(engine: Engine) -> None:
        with pytest.raises(InvalidRequestError, match="No command specified"):
            await created(engine)
        await created(engine, command=("true",))

    play(world, scenario)


def test_a_full_disk_leaves_nothing_and_frees_the_name(world: World) -> None:
    """Fault F-05."""

    async def scenario(engine: Engine) -> None:
        world.layers.is_full = True
        with pytest.raises(StorageError):
            await created(engine, "name")
        world.layers.is_full = False
        assert list(world.instance.containers_dir.iterdir()) == []
        await created(engine, "name")

    play(world, scenario)


def test_a_row_without_files_is_taken_back(world: World) -> None:
    """Both are made at once: the disk takes the row and refuses the files."""

    async def before(engine: Engine) -> None:
        world.layers.is_full = True
        with pytest.raises(StorageError):
            await created(engine, "name")
        world.layers.is_full = False

    async def then(engine: Engine) -> None:
        assert await engine.containers() == []

    play(world, before)
    play(world, then)


def test_files_without_a_row_are_taken_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_record: ContainerRecord, **_options: object) -> None:
        raise StorageError("database or disk is full")

    async def scenario(engine: Engine) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(engine._context.store, "save", refuse)
            with pytest.raises(StorageError, match="disk is full"):
                await created(engine, "name")
        assert world.layers.rw == set()
        assert list(world.instance.containers_dir.iterdir()) == []
        await created(engine, "name")

    play(world, scenario)
