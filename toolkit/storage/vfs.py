# SPDX-License-Identifier: Apache-2.0
"""The driver `vfs`: each layer is a whole tree of its own, copied from the one below.

Slow and large, but needs nothing of the kernel, and no privilege for trees of
one owner.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from toolkit.storage.changes import changed_bytes, directory_changes
from toolkit.storage.copies import copy_tree
from toolkit.storage.driver import RootfsSource
from toolkit.storage.merge import merge_tree
from toolkit.storage.mountpoints import MOUNT_POINTS, make_mount_points
from toolkit.storage.names import Whiteouts
from toolkit.storage.opened import opened_directories
from toolkit.storage.trees import remove_entry, tree_size_bytes
from toolkit.storage.unpack import Unpacked, unpack_tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from toolkit.storage.compression import ByteSource
    from toolkit.storage.limits import ArchiveLimits
    from toolkit.storage.recipe import RecipeWriter


class VfsDriver:
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
                _copy(lower_dirs[0], tree_fd)
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

    def fill_init(self, tree_dir: Path, *, lower_dirs: Sequence[Path]) -> None:
        """Copy the layer below, and make the mount points in the copy."""
        with opened_directories([tree_dir]) as (tree_fd,):
            if lower_dirs:
                _copy(lower_dirs[0], tree_fd)
            make_mount_points(tree_fd)

    def fill_rw(self, rw_dir: Path, *, lower_dirs: Sequence[Path]) -> None:
        """Copy the image's tree, and make the mount points in the copy."""
        root_dir = rw_dir / "root"
        root_dir.mkdir(mode=0o755)
        root_dir.chmod(0o755)
        self.fill_init(root_dir, lower_dirs=lower_dirs)

    def rootfs(self, base_dir: Path, rw: str, lowers: Sequence[str]) -> RootfsSource:
        """Return the tree to bind."""
        del lowers
        return RootfsSource(kind="bind", base_dir=str(base_dir), bind_dir=f"{rw}/root")

    def rw_size_bytes(self, rw_dir: Path, *, lower_dirs: Sequence[Path]) -> int:
        """Return the size of what differs from the image, mount points aside."""
        if not lower_dirs:
            with opened_directories([rw_dir / "root"]) as (root_fd,):
                return tree_size_bytes(root_fd)
        with opened_directories([rw_dir / "root", lower_dirs[0]]) as (root_fd, lower_fd):
            changes = directory_changes(root_fd, lower_fd)
        return changed_bytes(change for change in changes if change.path not in MOUNT_POINTS)


def _copy(source_dir: Path, target_fd: int) -> None:
    with opened_directories([source_dir]) as (source_fd,):
        copy_tree(source_fd, target_fd)
