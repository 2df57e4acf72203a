# SPDX-License-Identifier: Apache-2.0
"""Names of containers as paths: `/webapp`, and `/webapp/db` for a link (rules 7.15 to 7.25).

An entity has an id and stands where its edges lead to it; entity ``0`` is the root. In memory:
the store has every name and link in its records. Which names are allowed is
`toolkit.engine.names`'s.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from toolkit.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT_ID: Final = "0"
UNLIMITED: Final = -1


@dataclass(frozen=True)
class Edge:
    """One name of an entity."""

    entity_id: str
    parent_id: str
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
    """The graph; safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._below_of: dict[str, dict[str, str]] = {ROOT_ID: {}}  # entity, name: entity
        self._edges_to: dict[str, dict[tuple[str, str], Edge]] = {ROOT_ID: {}}  # entity, place

    def set(self, path: str, entity_id: str) -> str:
        """Add a path to an entity, which is made if it is new; return its id.

        Raises:
            NotFoundError: The parent's path leads nowhere.
            ConflictError: The path exists, or would put the entity below itself.
        """
        parent_path, name = split_path(path)
        with self._lock:
            parent_id = self._find(parent_path)
            if parent_id is None:
                raise NotFoundError(f"Cannot find child for {parent_path}")
            if parent_id == entity_id:
                raise ConflictError("Cannot set self as child")
            if not name or name in self._below_of[parent_id]:
                raise ConflictError(f"Conflict, {join_path(parent_path, name)} exists")
            self._below_of.setdefault(entity_id, {})
            self._add(Edge(entity_id, parent_id, name))
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
        """Return the edges that lead to an entity, in the order in which they came."""
        with self._lock:
            return list(self._edges_to.get(entity_id, {}).values())

    def delete(self, path: str) -> None:
        """Remove one path; the entity stays, and a missing path is no error.

        Raises:
            ConflictError: It is the root.
            NotFoundError: The parent's path leads nowhere.
        """
        if not _elements(path):
            raise ConflictError("Cannot delete root entity")
        parent_path, name = split_path(path)
        with self._lock:
            parent_id = self._find(parent_path)
            if parent_id is None:
                raise NotFoundError(f"Cannot find parent for {parent_path}")
            self._drop(parent_id, name)

    def purge(self, entity_id: str) -> int:
        """Remove an entity and all paths to it; return how many there were.

        Its own links go too: in 0.7.2 they stayed as rows that nothing led to.

        Raises:
            ConflictError: It is the root.
        """
        if entity_id == ROOT_ID:
            raise ConflictError("Cannot delete root entity")
        with self._lock:
            edges = self.ref_paths(entity_id)
            for edge in edges:
                self._drop(edge.parent_id, edge.name)
            for name in list(self._below_of.get(entity_id, ())):
                self._drop(entity_id, name)
            self._below_of.pop(entity_id, None)
            self._edges_to.pop(entity_id, None)
        return len(edges)

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
        with self._lock:
            parent_id = self._find(old_parent) or ""
            names = self._below_of.get(parent_id, {})
            if old_name not in names:
                raise NotFoundError(f"Cannot locate edge for {parent_id} {old_name}")
            if new_name in names and new_name != old_name:
                raise ConflictError(f"Conflict, {join_path(new_parent, new_name)} exists")
            entity_id = names[old_name]
            self._drop(parent_id, old_name)
            self._add(Edge(entity_id, parent_id, new_name))

    def _add(self, edge: Edge) -> None:
        self._below_of[edge.parent_id][edge.name] = edge.entity_id
        self._edges_to.setdefault(edge.entity_id, {})[edge.parent_id, edge.name] = edge

    def _drop(self, parent_id: str, name: str) -> None:
        entity_id = self._below_of[parent_id].pop(name, None)
        if entity_id is not None:
            del self._edges_to[entity_id][parent_id, name]

    def _find(self, path: str) -> str | None:
        entity_id = ROOT_ID
        for name in _elements(path):
            found = self._below_of[entity_id].get(name)
            if found is None:
                return None
            entity_id = found
        return entity_id

    def _below(
        self, parent_id: str, parent_path: str, depth: int, above: tuple[str, ...]
    ) -> Iterator[Child]:
        for name, entity_id in self._below_of[parent_id].items():
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
