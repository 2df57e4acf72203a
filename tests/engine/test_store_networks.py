# SPDX-License-Identifier: Apache-2.0
"""The store's networks: kept, refused under a taken name, and passed over when damaged."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from toolkit.engine.model import NetworkId, NetworkRecord, NetworkSpec, PoolSpec
from toolkit.engine.store import Store
from toolkit.errors import NetworkExistsError

if TYPE_CHECKING:
    from pathlib import Path

POOL = PoolSpec(subnet="172.18.0.0/16", gateway="172.18.0.1", auxiliary={"router": "172.18.0.9"})
RECORD = NetworkRecord(
    id=NetworkId("a" * 64),
    created=datetime(2013, 12, 16, tzinfo=UTC),
    spec=NetworkSpec(name="backend", internal=True, labels={"a": "b"}, pools=(POOL,)),
    subnets=(POOL,),
    last_ipv4="172.18.0.7",
)


def test_a_network_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    async def go() -> None:
        store = Store(tmp_path / "engine.db")
        await store.open("boot")
        await store.save_network(RECORD)
        await store.close()
        again = Store(tmp_path / "engine.db")
        assert (await again.open("boot")).networks == (RECORD,)
        await again.delete_network(RECORD.id)
        await again.close()
        third = Store(tmp_path / "engine.db")
        assert (await third.open("boot")).networks == ()
        await third.close()

    asyncio.run(go())


def test_a_second_network_of_a_name_is_refused(tmp_path: Path) -> None:
    async def go() -> None:
        store = Store(tmp_path / "engine.db")
        await store.open("boot")
        await store.save_network(RECORD)
        other = NetworkRecord(id=NetworkId("b" * 64), created=RECORD.created, spec=RECORD.spec)
        with pytest.raises(NetworkExistsError, match="already exists"):
            await store.save_network(other)
        await store.close()

    asyncio.run(go())


def test_a_damaged_row_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    async def go() -> None:
        store = Store(tmp_path / "engine.db")
        await store.open("boot")
        await store.save_network(RECORD)
        await store.close()
        with sqlite3.connect(tmp_path / "engine.db") as connection:
            connection.execute("INSERT INTO networks VALUES ('x', 'broken', X'6e6f')")
        connection.close()
        again = Store(tmp_path / "engine.db")
        contents = await again.open("boot")
        assert contents.networks == (RECORD,)
        assert contents.damaged_networks == ("broken",)
        await again.close()

    asyncio.run(go())
