# SPDX-License-Identifier: Apache-2.0
"""What survives the engine: a SQLite row for each container and network, a JSON document a row.

Owns the encoding, the durability of each write, and how a damaged store is put
right. What a record means is `toolkit.engine.model`'s.

Durability: with ``durable`` a write has reached the disk when it returns (WAL,
synchronous=FULL). Without, it has reached the kernel: it survives the engine's
SIGKILL, and reaches the disk within `SYNC_DELAY_SECONDS`. Intents and results of
starts go the second way, since nothing runs after a power cut, and an exit
status is on the disk as the shim's file before the engine hears of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sqlite3
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from toolkit.engine.model import ContainerId, ContainerRecord, NetworkId, NetworkRecord
from toolkit.engine.names import checked_name
from toolkit.errors import InvalidNameError, NameInUseError, NetworkExistsError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORMAT_VERSION: Final = 1
SYNC_DELAY_SECONDS: Final = 0.05
_FILL_DELAY_SECONDS: Final = 0.5
_LOG_BYTES: Final = 32 + 1024 * (24 + 4096)  # a little more than SQLite lets it grow: 1000 pages

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS containers (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, document BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS networks (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, document BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""
_SAVE: Final = (
    "INSERT INTO containers (id, name, document) VALUES (?, ?, ?) "
    "ON CONFLICT (id) DO UPDATE SET name = excluded.name, document = excluded.document"
)

_SAVE_NETWORK: Final = (
    "INSERT INTO networks (id, name, document) VALUES (?, ?, ?) "
    "ON CONFLICT (id) DO UPDATE SET name = excluded.name, document = excluded.document"
)

_ID: Final = re.compile(r"[0-9a-f]{64}")

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ContainerRecord)
_network_decoder = msgspec.json.Decoder(NetworkRecord)

_Result = TypeVar("_Result")


def encode_record(record: ContainerRecord) -> bytes:
    """Return a record as JSON."""
    return _encoder.encode(record)


def decode_record(document: bytes, container_id: str) -> ContainerRecord:
    """Return the record of a container from its JSON; unknown fields are passed over.

    Raises:
        StorageError: It is no record, or another container's.
    """
    try:
        record = _decoder.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"container record: {error}") from error
    if record.id != container_id:
        raise StorageError(f"container record: it says that it is {record.id[:80]!r}")
    return record


@dataclass(frozen=True, kw_only=True)
class DamagedRow:
    """A row that holds no record any more.

    Attributes:
        reason: What is wrong with it.
    """

    id: ContainerId
    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a store held when it was opened.

    Attributes:
        boot_id: The boot in which it was last open; empty for a new one.
        moved_aside: Where a damaged database was put; None if it was well.
        has_garbage: It held rows that name no container.
        damaged_networks: Names of networks whose row holds no record any more.
    """

    records: tuple[ContainerRecord, ...] = ()
    networks: tuple[NetworkRecord, ...] = ()
    damaged_networks: tuple[str, ...] = ()
    damaged: tuple[DamagedRow, ...] = ()
    boot_id: str = ""
    moved_aside: Path | None = None
    has_garbage: bool = False


class Store:
    """The records, in a database that one thread of their own reads and writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._connection: sqlite3.Connection | None = None
        self._wal_fd = -1
        self._is_full = False
        self._sync_timer: asyncio.TimerHandle | None = None
        self._fill_timer: asyncio.TimerHandle | None = None

    async def open(self, boot_id: str) -> Contents:
        """Open or make the database, and return what it held.

        A database that SQLite cannot read is moved aside and begun anew: the
        caller rebuilds it from the containers' own copies.
        """
        contents = await self._run(lambda: self._open(boot_id))
        loop = asyncio.get_running_loop()
        self._fill_timer = loop.call_later(_FILL_DELAY_SECONDS, self._thread.submit, self._fill_log)
        return contents

    async def close(self) -> None:
        """Write everything out and close; a second call does nothing."""
        for timer in (self._sync_timer, self._fill_timer):
            if timer is not None:
                timer.cancel()
        self._sync_timer = self._fill_timer = None
        if self._connection is not None:
            await self._run(self._close)
        self._thread.shutdown(wait=False)

    async def save(self, record: ContainerRecord, *, durable: bool = True) -> None:
        """Insert or replace a record.

        Raises:
            NameInUseError: Another container has its name.
            StorageError: The database refuses, e.g. because the disk is full.
        """
        document = encode_record(record)
        await self._run(lambda: self._save(record, document, durable=durable))
        if not durable:
            self._sync_soon()

    async def delete(self, container_id: ContainerId) -> None:
        """Forget a container; its files must be gone already."""
        await self._run(
            lambda: self._write("DELETE FROM containers WHERE id = ?", (container_id,), full=False)
        )
        self._sync_soon()

    async def save_network(self, record: NetworkRecord, *, durable: bool = True) -> None:
        """Insert or replace a network.

        Raises:
            NetworkExistsError: Another network has its name.
            StorageError: The database refuses.
        """
        document = _encoder.encode(record)
        await self._run(lambda: self._save_network(record, document, durable=durable))
        if not durable:
            self._sync_soon()

    async def delete_network(self, network_id: NetworkId) -> None:
        """Forget a network; its bridge must be gone already."""
        await self._run(
            lambda: self._write("DELETE FROM networks WHERE id = ?", (network_id,), full=False)
        )
        self._sync_soon()

    async def _run(self, act: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)

    def _sync_soon(self) -> None:
        if self._sync_timer is None:
            loop = asyncio.get_running_loop()
            self._sync_timer = loop.call_later(SYNC_DELAY_SECONDS, self._begin_sync)

    def _begin_sync(self) -> None:
        self._sync_timer = None
        self._thread.submit(self._sync)

    def _open(self, boot_id: str) -> Contents:
        moved_aside = None
        try:
            connection = _connect(self._path)
            contents = _read(connection)
        except (sqlite3.DatabaseError, StorageError):
            contents = Contents()
            moved_aside = _move_aside(self._path)
        if contents.has_garbage:
            connection.close()
            moved_aside = _move_aside(self._path)
        if moved_aside is not None:
            connection = _connect(self._path)
        self._connection = connection
        self._wal_fd = os.open(f"{self._path}-wal", os.O_RDWR | os.O_CLOEXEC)
        if moved_aside is not None:
            for record in contents.records:
                self._save(record, encode_record(record), durable=False)
            for network in contents.networks:
                self._save_network(network, _encoder.encode(network), durable=False)
        for pair in (("boot_id", boot_id), ("format", str(FORMAT_VERSION))):
            self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", pair, full=False)
        return replace(contents, moved_aside=moved_aside)

    def _close(self) -> None:
        if self._connection is None:
            return
        os.close(self._wal_fd)
        self._connection.close()  # the last connection writes the WAL back and syncs
        self._connection = None

    def _save(self, record: ContainerRecord, document: bytes, *, durable: bool) -> None:
        try:
            self._write(_SAVE, (record.id, record.name, document), full=durable)
        except sqlite3.IntegrityError:
            query = "SELECT id FROM containers WHERE name = ?"
            row = self._opened().execute(query, (record.name,)).fetchone()
            raise NameInUseError(record.name, row[0] if row else "") from None

    def _save_network(self, record: NetworkRecord, document: bytes, *, durable: bool) -> None:
        try:
            self._write(_SAVE_NETWORK, (record.id, record.name, document), full=durable)
        except sqlite3.IntegrityError:
            raise NetworkExistsError(record.name) from None

    def _write(self, statement: str, values: tuple[object, ...], *, full: bool) -> None:
        connection = self._opened()
        try:
            if full != self._is_full:
                connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
                self._is_full = full
            connection.execute(statement, values)
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise StorageError(f"{self._path}: {error}") from error

    def _fill_log(self) -> None:
        """Give the write-ahead log its whole size, in zeros, which SQLite takes for its end.

        A commit that makes a file longer waits for the file system's journal as well.
        """
        if self._connection is None:
            return
        end = os.fstat(self._wal_fd).st_size
        with contextlib.suppress(OSError):  # a full disk: each commit will say so itself
            while end < _LOG_BYTES:
                end += os.pwrite(self._wal_fd, bytes(_LOG_BYTES - end), end)
            os.fdatasync(self._wal_fd)

    def _sync(self) -> None:
        if self._connection is not None:
            os.fdatasync(self._wal_fd)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StorageError(f"{self._path}: the store is closed")
        return self._connection


def _connect(path: Path) -> sqlite3.Connection:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise StorageError(f"{path}: not a regular file")
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        path.chmod(0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        _check(connection)
        connection.executescript(_SCHEMA)
        connection.execute("SELECT id, name, document FROM containers LIMIT 1").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection) -> None:
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != ("ok",):
        raise StorageError(f"the store is damaged: {verdict}")


def _move_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside


def _read(connection: sqlite3.Connection) -> Contents:
    records: list[ContainerRecord] = []
    damaged: list[DamagedRow] = []
    has_garbage = False
    for container_id, name, document in connection.execute(
        "SELECT id, name, document FROM containers"
    ):
        if not isinstance(container_id, str) or not _ID.fullmatch(container_id):
            has_garbage = True  # it names no container, and never a path
            continue
        try:
            records.append(decode_record(document, container_id))
        except StorageError as error:
            row_id = ContainerId(container_id)
            damaged.append(DamagedRow(id=row_id, name=_name(name), reason=str(error)))
    row = connection.execute("SELECT value FROM meta WHERE key = 'boot_id'").fetchone()
    networks, damaged_networks = _read_networks(connection)
    return Contents(
        records=tuple(records),
        networks=networks,
        damaged_networks=damaged_networks,
        damaged=tuple(damaged),
        boot_id=row[0] if row else "",
        has_garbage=has_garbage,
    )


def _read_networks(
    connection: sqlite3.Connection,
) -> tuple[tuple[NetworkRecord, ...], tuple[str, ...]]:
    """Return the networks, and the names of those of which nothing can be read."""
    networks, damaged = [], []
    for network_id, name, document in connection.execute("SELECT id, name, document FROM networks"):
        try:
            record = _network_decoder.decode(document)
        except (msgspec.DecodeError, UnicodeDecodeError):
            damaged.append(_name(name))
            continue
        if record.id == network_id and _ID.fullmatch(record.id) and record.name == name:
            networks.append(record)
        else:
            damaged.append(_name(name))
    return tuple(networks), tuple(damaged)


def _name(text: object) -> str:
    """Return a stored name if it still is one."""
    try:
        return checked_name(str(text))
    except InvalidNameError:
        return ""
