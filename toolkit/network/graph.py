# SPDX-License-Identifier: Apache-2.0
"""Names of containers as paths: `/webapp`, and `/webapp/db` for a link (rules 7.15 to 7.25).

An entity has an id and stands where its edges lead to it; entity ``0`` is the root. Owns the two
tables and nothing else of the database. Which names are allowed is `toolkit.engine.names`'s.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from toolkit.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

ROOT_ID: Final = "0"
UNLIMITED: Final = -1

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entity (id text NOT NULL PRIMARY KEY);
CREATE TABLE IF NOT EXISTS edge (
    entity_id text NOT NULL, parent_id text NULL, name text NOT NULL,
    CONSTRAINT parent_fk FOREIGN KEY (parent_id) REFERENCES entity (id),
    CONSTRAINT entity_fk FOREIGN KEY (entity_id) REFERENCES entity (id)
);
CREATE UNIQUE INDEX IF NOT EXISTS name_parent_ix ON edge (parent_id, name);
CREATE INDEX IF NOT EXISTS entity_ix ON edge (entity_id);
"""
_BUSY_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Edge:
    """One name of an entity; the root's own edge has no parent."""

    entity_id: str
    parent_id: str | None
    name: str


@dataclass(frozen=True)
class Child:
    """An entity where it was found.

    Attributes:
        path: Its full path there.
    """

    parent_id: str
    entity_id: str
    path: str
    edge: Edge


class Graph:
    """The graph in a database; safe in threads and beside other processes.

    Args:
        path: The file, or ``":memory:"``.
    """

    def __init__(self, path: Path | str) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.execute("PRAGMA synchronous = FULL")
        with self._exclusive():
            for statement in _SCHEMA.split(";"):
                self._connection.execute(statement)
            if not self._rows("SELECT 1 FROM entity WHERE id = ?", ROOT_ID):
                self._connection.execute("INSERT INTO entity VALUES (?)", (ROOT_ID,))
                self._connection.execute("INSERT INTO edge VALUES (?, NULL, '/')", (ROOT_ID,))

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    def set(self, path: str, entity_id: str) -> str:
        """Add a path to an entity, which is made if it is new; return its id.

        Raises:
            NotFoundError: The parent's path leads nowhere.
            ConflictError: The path exists, or would put the entity below itself.
        """
        parent_path, name = split_path(path)
        with self._exclusive():
            self._connection.execute("INSERT OR IGNORE INTO entity VALUES (?)", (entity_id,))
            parent_id = self._find(parent_path)
            if parent_id is None:
                raise NotFoundError(f"Cannot find child for {parent_path}")
            if parent_id == entity_id:
                raise ConflictError("Cannot set self as child")
            try:
                self._connection.execute(
                    "INSERT INTO edge VALUES (?, ?, ?)", (entity_id, parent_id, name)
                )
            except sqlite3.IntegrityError as error:
                raise ConflictError(f"Conflict, {join_path(parent_path, name)} exists") from error
        return entity_id

    def get(self, path: str) -> str | None:
        """Return the id of the entity at a path, if there is one."""
        with self._lock:
            return self._find(path)

    def exists(self, path: str) -> bool:
        """Return whether a path leads to an entity."""
        return self.get(path) is not None

    def children(self, path: str, depth: int = 0) -> list[Child]:
        """Return what is below a path, nearest first in each branch.

        Args:
            path: Where to begin.
            depth: 0 for direct children, n for n further levels, -1 for all.

        Raises:
            NotFoundError: The path leads nowhere.
        """
        with self._lock:
            start = self._find(path)
            if start is None:
                raise NotFoundError(f"Could not find entity for {path}")
            return list(self._below(start, "/".join(["", *_elements(path)]), depth, (start,)))

    def descendants(self, path: str, depth: int = UNLIMITED) -> dict[str, str]:
        """Return the ids below a path by their full paths; nothing where it leads nowhere."""
        try:
            return {child.path: child.entity_id for child in self.children(path, depth)}
        except NotFoundError:
            return {}

    def walk(self, path: str, visit: Callable[[str, str], None], depth: int = UNLIMITED) -> None:
        """Call *visit* with path and id of each child, unlocked; its first error ends it."""
        for child in self.children(path, depth):
            visit(child.path, child.entity_id)

    def refs(self, entity_id: str) -> int:
        """Return how many paths lead to an entity."""
        return len(self.ref_paths(entity_id))

    def ref_paths(self, entity_id: str) -> list[Edge]:
        """Return the edges that lead to an entity."""
        with self._lock:
            return [
                Edge(*row)
                for row in self._rows(
                    "SELECT entity_id, parent_id, name FROM edge WHERE entity_id = ?",
                    entity_id,
                )
            ]

    def delete(self, path: str) -> None:
        """Remove one path; the entity stays, and a missing path is no error.

        Raises:
            ConflictError: It is the root.
            NotFoundError: The parent's path leads nowhere.
        """
        if not _elements(path):
            raise ConflictError("Cannot delete root entity")
        parent_path, name = split_path(path)
        with self._exclusive():
            parent_id = self._find(parent_path)
            if parent_id is None:
                raise NotFoundError(f"Cannot find parent for {parent_path}")
            self._connection.execute(
                "DELETE FROM edge WHERE parent_id = ? AND name = ?", (parent_id, name)
            )

    def purge(self, entity_id: str) -> int:
        """Remove an entity and all paths to it; return how many there were.

        Its own links go too: in 0.7.2 they stayed as rows that nothing led to.

        Raises:
            ConflictError: It is the root.
        """
        if entity_id == ROOT_ID:
            raise ConflictError("Cannot delete root entity")
        with self._exclusive():
            count = self._connection.execute(
                "DELETE FROM edge WHERE entity_id = ?", (entity_id,)
            ).rowcount
            self._connection.execute("DELETE FROM edge WHERE parent_id = ?", (entity_id,))
            self._connection.execute("DELETE FROM entity WHERE id = ?", (entity_id,))
        return count

    def rename(self, old_path: str, new_path: str) -> None:
        """Give a path another last element.

        Raises:
            ConflictError: The parents differ, or the new path exists.
            NotFoundError: There is no such path.
        """
        old_parent, old_name = split_path(old_path)
        new_parent, new_name = split_path(new_path)
        if old_parent != new_parent:
            raise ConflictError(
                f"Cannot rename when root paths do not match {old_parent} != {new_parent}"
            )
        with self._exclusive():
            parent_id = self._find(old_parent)
            try:
                renamed = self._connection.execute(
                    "UPDATE edge SET name = ? WHERE parent_id = ? AND name = ?",
                    (new_name, parent_id, old_name),
                )
            except sqlite3.IntegrityError as error:
                raise ConflictError(
                    f"Conflict, {join_path(new_parent, new_name)} exists"
                ) from error
            if renamed.rowcount != 1:
                raise NotFoundError(f"Cannot locate edge for {parent_id} {old_name}")

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Hold the database alone; an error undoes everything."""
        with self._lock:
            self._connection.execute("BEGIN EXCLUSIVE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _rows(self, query: str, *values: str) -> list[tuple[str, ...]]:
        return self._connection.execute(query, values).fetchall()

    def _find(self, path: str) -> str | None:
        entity_id = ROOT_ID
        for name in _elements(path):
            rows = self._rows(
                "SELECT entity_id FROM edge WHERE parent_id = ? AND name = ?", entity_id, name
            )
            if not rows:
                return None
            entity_id = rows[0][0]
        return entity_id

    def _below(
        self, parent_id: str, parent_path: str, depth: int, above: tuple[str, ...]
    ) -> Iterator[Child]:
        rows = self._rows(
            "SELECT entity_id, name FROM edge WHERE parent_id = ? ORDER BY rowid", parent_id
        )
        for entity_id, name in rows:
            path = f"{parent_path.rstrip('/')}/{name}"
            yield Child(parent_id, entity_id, path, Edge(entity_id, parent_id, name))
            if (
                depth and entity_id not in above
            ):  # two that are linked to each other: once is enough
                yield from self._below(entity_id, path, depth - 1, (*above, entity_id))


def split_path(path: str) -> tuple[str, str]:
    """Return the parent's path and the last element."""
    elements = _elements(path)
    if not elements:
        return "/", ""
    return "/" + "/".join(elements[:-1]), elements[-1]


def join_path(parent_path: str, name: str) -> str:
    """Return the path of a name below a path."""
    return f"{parent_path.rstrip('/')}/{name}"


def depth_of(path: str) -> int:
    """Return how many parts a path has: ``/`` one, ``/a/b`` three (rule 7.24)."""
    return 1 if path == "/" else len(path.split("/"))


def sorted_by_depth(paths: Iterable[str]) -> list[str]:
    """Return paths, the deepest first, those of one depth in the order given."""
    return sorted(paths, key=depth_of, reverse=True)


def _elements(path: str) -> list[str]:
    """Return the names of a path; empty ones are skipped, a first slash may lack (D-13)."""
    return [element for element in path.split("/") if element]
