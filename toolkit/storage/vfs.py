# SPDX-License-Identifier: Apache-2.0
"""The driver `vfs`: each layer is a whole tree of its own, copied from the one below.

Slow and large, but needs nothing of the kernel, and no privilege for trees of
one owner.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from toolkit.storage.changes import Metadata, changed_bytes, directory_changes
from toolkit.storage.copies import copy_tree
from toolkit.storage.driver import PlainDirectories, RootfsSource
from toolkit.storage.merge import merge_tree
from toolkit.storage.mountpoints import TOUCHED_PATHS, make_mount_points
from toolkit.storage.names import Whiteouts
from toolkit.storage.opened import opened_directories
from toolkit.storage.pack import pack_changes
from toolkit.storage.trees import remove_entry
from toolkit.storage.unpack import Unpacked, unpack_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.storage.changes import Change
    from toolkit.storage.compression import ByteSource
    from toolkit.storage.limits import ArchiveLimits
    from toolkit.storage.pack import ByteSink
    from toolkit.storage.recipe import RecipeWriter

_NOTES: Final = "made.json"


class VfsDriver(PlainDirectories):
    """Layers as whole copies."""

    name = "vfs"
    shares_init_layer = False

    def check_host(self, scratch_dir: Path) -> None:
        """Find nothing missing: plain directories are all it takes."""

    def fill_layer(
        self,
        source: ByteSource,
        tree_dir: Path,
        *,
        lower_dirs: Sequence[Path],
        limits: ArchiveLimits | None,
        recipe: RecipeWriter | None = None,
    ) -> Unpacked:
        """Copy the layer below, and apply the archive to the copy."""
        difference_dir = tree_dir.with_name("difference")
        difference_dir.mkdir(mode=0o755)
        difference_dir.chmod(0o755)
        with opened_directories([tree_dir, difference_dir]) as (tree_fd, difference_fd):
            if lower_dirs:
                self.copy_lower(lower_dirs[0], tree_fd)
                status = os.fstat(tree_fd)
                if os.geteuid() == 0:
                    os.fchown(difference_fd, status.st_uid, status.st_gid)
                os.fchmod(difference_fd, status.st_mode & 0o7777)
            unpacked = unpack_tree(
                source, difference_fd, whiteouts=Whiteouts.KEEP, limits=limits, recipe=recipe
            )
            merge_tree(difference_fd, tree_fd)
        with opened_directories([tree_dir.parent]) as (parent_fd,):
            remove_entry(parent_fd, b"difference")
        return unpacked

    def copy_lower(self, source_dir: Path, target_fd: int) -> None:
        """Copy the tree below into an empty one."""
        with opened_directories([source_dir]) as (source_fd,):
            copy_tree(source_fd, target_fd)

    def fill_init(self, tree_dir: Path, *, lower_dirs: Sequence[Path]) -> None:
        """Copy the layer below, and make the mount points in the copy."""
        with opened_directories([tree_dir]) as (tree_fd,):
            if lower_dirs:
                self.copy_lower(lower_dirs[0], tree_fd)
            make_mount_points(tree_fd)

    def fill_rw(self, rw_dir: Path, *, lower_dirs: Sequence[Path]) -> None:
        """Copy the image's tree, and make the mount points in the copy; note them down."""
        root_dir = rw_dir / "root"
        root_dir.mkdir(mode=0o755)
        root_dir.chmod(0o755)
        self.fill_init(root_dir, lower_dirs=lower_dirs)
        note_mount_points(rw_dir)

    def rootfs(self, base_dir: Path, rw: str, lowers: Sequence[str]) -> RootfsSource:
        """Return the tree to bind, and what it is a copy of."""
        return RootfsSource(
            kind="bind",
            base_dir=str(base_dir),
            bind_dir=f"{rw}/root",
            lower_dirs=tuple(lowers[:1]),
        )

    def changes(self, source: RootfsSource) -> list[Change]:
        """Compare the container's tree with the image's."""
        rw_dir = (Path(source.base_dir) / source.bind_dir).parent
        lower_dirs = [Path(source.base_dir) / lower for lower in source.lower_dirs]
        return _changes(rw_dir, lower_dirs)

    def pack_changes(self, source: RootfsSource, out: ByteSink) -> None:
        """Write what differs from the image's tree."""
        changes = self.changes(source)
        with opened_directories([Path(source.base_dir) / source.bind_dir]) as (root_fd,):
            pack_changes(root_fd, changes, out)

    def rw_size_bytes(self, rw_dir: Path, *, lower_dirs: Sequence[Path]) -> int:
        """Return the size of what differs from the image, mount points aside."""
        return changed_bytes(_changes(rw_dir, lower_dirs))


def note_mount_points(rw_dir: Path) -> None:
    """Note what the mount points are like, so that they do not show up as changes."""
    made = {}
    with opened_directories([rw_dir / "root"]) as (root_fd,):
        for path in TOUCHED_PATHS:
            status = os.stat(path, dir_fd=root_fd, follow_symlinks=False)
            made[path.decode()] = Metadata.of(status)
    (rw_dir / _NOTES).write_text(json.dumps(made), encoding="utf-8")


def _read_notes(rw_dir: Path) -> dict[bytes, Metadata]:
    try:
        notes = json.loads((rw_dir / _NOTES).read_text(encoding="utf-8"))
    except FileNotFoundError:  # of a container made before there were any
        return {}
    return {path.encode(): Metadata(*values) for path, values in notes.items()}


def _changes(rw_dir: Path, lower_dirs: Sequence[Path]) -> list[Change]:
    made = _read_notes(rw_dir)
    with ExitStack() as opened:
        if not lower_dirs:  # an image without layers: everything was added
            lower_dirs = [Path(opened.enter_context(TemporaryDirectory()))]
        root_fd, lower_fd = opened.enter_context(
            opened_directories([rw_dir / "root", lower_dirs[0]])
        )
        return directory_changes(root_fd, lower_fd, made)
