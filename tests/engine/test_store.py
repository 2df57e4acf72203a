# SPDX-License-Identifier: Apache-2.0
"""The store: what was acknowledged is there, what is damaged is told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.waiting import until
from toolkit.engine.model import (
    ContainerId,
    ContainerRecord,
    ContainerSpec,
    ContainerState,
    Device,
    HostOptions,
    ImageId,
    Limits,
    Mount,
    PortBinding,
    RestartPolicy,
    State,
    Ulimit,
)
from toolkit.engine.store import Contents, Store, decode_record, encode_record
from toolkit.errors import NameInUseError, StorageError

if TYPE_CHECKING:
    from pathlib import Path

RECORD = ContainerRecord(
    id=ContainerId("a" * 64),
    name="happy_tesla",
    created=datetime(2013, 12, 16, tzinfo=UTC),
    image_id=ImageId("sha256:" + "b" * 64),
    path="sh",
    args=("-c", 'echo "\t\u2028\U0001f40b"'),
    spec=ContainerSpec(
        image="img",
        command=("x",),
        env=("A=tri\ncky",),
        labels={"a": "b"},
        limits=Limits(memory_bytes=1 << 20, pids=-1),
        host=HostOptions(
            mounts=(Mount(kind="bind", source="/s", target="/t"),),
            published_ports={"80/tcp": (PortBinding(host_port=8080),)},
            restart_policy=RestartPolicy(name="on-failure", maximum_retries=3),
            ulimits=(Ulimit(name="nofile", soft=1, hard=2),),
            devices=(Device(host_path="/dev/a", container_path="/dev/b"),),
            lxc_conf=(("lxc.utsname", "docker"),),
            masked_paths=(),
        ),
    ),
    mounts=(Mount(kind="volume", source="v", target="/v", anonymous=True),),
    state=ContainerState(status=State.RUNNING, pid=7, started_at=datetime.now(UTC)),
)


def opened(path: Path, boot_id: str = "boot") -> tuple[Store, Contents]:
    store = Store(path)
    return store, asyncio.run(store.open(boot_id))


def test_a_record_comes_back_as_it_was() -> None:
    assert decode_record(encode_record(RECORD), RECORD.id) == RECORD


def test_fields_of_a_newer_engine_are_passed_over_and_missing_ones_take_defaults() -> None:
    """Fault F-27."""
    values = json.loads(encode_record(RECORD))
    values["from_the_future"] = {"x": 1}
    values["spec"]["host"]["also"] = 2
    del values["driver"]
    record = decode_record(json.dumps(values).encode(), RECORD.id)
    assert record == RECORD


@pytest.mark.parametrize(
    "document", [b"", b"{", b"[]", b'{"id": 3}', b"\xff\xfe", encode_record(RECORD)[:-20]]
)
def test_what_is_no_record_is_refused(document: bytes) -> None:
    with pytest.raises(StorageError, match="container record"):
        decode_record(document, RECORD.id)


def test_a_record_of_another_container_is_refused() -> None:
    with pytest.raises(StorageError, match="it says that it is"):
        decode_record(encode_record(RECORD), "c" * 64)


def test_what_was_saved_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "engine.db"
        store = Store(path)
        assert await store.open("boot-1") == Contents()
        await store.save(RECORD)
        other = replace(RECORD, id=ContainerId("d" * 64), name="other")
        await store.save(other, durable=False)
        await store.save(replace(other, name="renamed"), durable=False)
        await store.delete(RECORD.id)
        await store.close()
        contents = await (store := Store(path)).open("boot-2")
        await store.close()
        assert contents.records == (replace(other, name="renamed"),)
        assert contents.boot_id == "boot-1"
        assert path.stat().st_mode & 0o777 == 0o600

    asyncio.run(run())


def test_an_unsynced_save_survives_a_killed_engine_and_is_synced_soon(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "engine.db"
        store = Store(path)
        await store.open("boot")
        await store.save(RECORD, durable=False)
        second = Store(path)  # as a new engine would, without the first one's close
        contents = await second.open("boot")
        assert contents.records == (RECORD,)
        await second.close()
        await until(lambda: store._sync_timer is None)
        await store.close()

    asyncio.run(run())


def test_a_name_is_held_by_one_container(tmp_path: Path) -> None:
    async def run() -> None:
        store = Store(tmp_path / "engine.db")
        await store.open("boot")
        await store.save(RECORD)
        with pytest.raises(NameInUseError) as caught:
            await store.save(replace(RECORD, id=ContainerId("d" * 64)))
        assert caught.value.holder == RECORD.id
        await store.close()

    asyncio.run(run())


def test_a_closed_store_refuses(tmp_path: Path) -> None:
    async def run() -> None:
        store = Store(tmp_path / "engine.db")
        with pytest.raises(StorageError, match="closed"):
            await store.save(RECORD)
        await store.close()

    asyncio.run(run())


@pytest.mark.parametrize("kept", [0.01, 0.25, 0.5, 0.75, 0.99])
def test_a_truncated_store_is_moved_aside_or_read(tmp_path: Path, kept: float) -> None:
    """Fault F-06."""

    async def run() -> None:
        path = tmp_path / "engine.db"
        store = Store(path)
        await store.open("boot")
        for number in range(50):
            record_id = ContainerId(f"{number:064x}")
            await store.save(replace(RECORD, id=record_id, name=f"name-{number}"), durable=False)
        await store.close()
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        contents = await (store := Store(path)).open("boot")
        if contents.moved_aside is None:  # only the end of a document was lost
            assert contents.damaged
        else:
            assert contents.moved_aside.exists()
        await store.save(RECORD)
        await store.close()

    asyncio.run(run())
