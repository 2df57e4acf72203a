# SPDX-License-Identifier: Apache-2.0
"""Fakes of what an engine stands on beside the supervisor: layers and control groups."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import StorageError
from toolkit.kernel.cgroup_stats import CgroupStats
from toolkit.storage.layer import LayerNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, kw_only=True)
class FakeRootfs:
    """What a container would be mounted from."""

    kind: str = "bind"
    bind_dir: Path = Path("/nowhere")
    lower_dirs: tuple[Path, ...] = ()


class FakeLayers:
    """Containers' own layers, as a set of ids."""

    driver_name = "fake"

    def __init__(self) -> None:
        self.rw: set[str] = set()
        self.is_full = False
        self.is_broken = False
        self.tree_dir: Path | None = None

    def create_rw(self, container_id: str, top: Any) -> None:
        del top
        if self.is_full:
            raise StorageError("no space left on device")
        self.rw.add(container_id)

    def remove_rw(self, container_id: str) -> None:
        if self.is_broken:
            raise StorageError("device or resource busy")
        self.rw.discard(container_id)

    def rootfs(self, container_id: str) -> FakeRootfs:
        if container_id not in self.rw:
            raise LayerNotFoundError(container_id)
        return FakeRootfs(bind_dir=Path("/nowhere") / container_id)

    def read_tree(self, container_id: str, act: Callable[[int], None]) -> None:
        """Show the tree that a test has put together; none shows nothing."""
        del container_id
        if self.tree_dir is not None:
            tree_fd = os.open(self.tree_dir, os.O_RDONLY | os.O_DIRECTORY)
            try:
                act(tree_fd)
            finally:
                os.close(tree_fd)

    def changes(self, container_id: str) -> list[Any]:
        del container_id
        return []

    def commit(self, container_id: str) -> Any:
        raise StorageError(f"container {container_id} has no layer to commit")

    def settle(self, chain_id: Any) -> None:
        del chain_id

    def rw_size_bytes(self, container_id: str) -> int:
        return 1 if container_id in self.rw else 0

    def sweep(self, known: set[str]) -> list[str]:
        unknown = sorted(self.rw - known)
        self.rw &= known
        return unknown


@dataclass
class FakeCgroup:
    """One control group: what was done to it."""

    calls: list[str] = field(default_factory=list)
    applied: list[dict[str, Any]] = field(default_factory=list)
    on_kill: Callable[[], object] = lambda: None

    def apply(self, resources: Mapping[str, Any]) -> None:
        self.applied.append(dict(resources))

    def freeze(self) -> None:
        self.calls.append("freeze")

    def thaw(self) -> None:
        self.calls.append("thaw")

    def kill(self) -> None:
        self.calls.append("kill")
        self.on_kill()

    def pids(self) -> list[int]:
        return []

    def stats(self) -> CgroupStats:
        return CgroupStats(pids_current=1)

    def remove(self) -> None:
        self.calls.append("remove")


class FakeCgroups:
    """Control groups that support what a test says."""

    version = 2

    def __init__(self) -> None:
        self.missing: set[str] = set()
        self.groups: dict[str, FakeCgroup] = {}

    def supports(self, feature: str) -> bool:
        return feature not in self.missing

    def cgroup(self, path: str) -> FakeCgroup:
        return self.groups.setdefault(path, FakeCgroup())
