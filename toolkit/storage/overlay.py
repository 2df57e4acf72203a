# SPDX-License-Identifier: Apache-2.0
"""The driver `overlay`: each layer holds its own difference; overlayfs merges them.

Whiteouts and opaque directories are stored as overlayfs wants them in a lower
layer (Documentation/filesystems/overlayfs.rst). The mounter sets
``redirect_dir=nofollow,metacopy=off`` beside: no archive can bring such
attributes (row S-33), and none are made by a container.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolkit.errors import KernelFeatureMissingError
from toolkit.storage.changes import upper_changes
from toolkit.storage.driver import PlainDirectories, RootfsSource
from toolkit.storage.metadata import OPAQUE_XATTR
from toolkit.storage.mountpoints import make_mount_point_layer
from toolkit.storage.names import Whiteouts
from toolkit.storage.opened import opened_directories
from toolkit.storage.pack import pack_tree
from toolkit.storage.trees import tree_size_bytes
from toolkit.storage.unpack import Unpacked, unpack_tree
from toolkit.storage.views import run_privately, viewed_layers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.storage.changes import Change
    from toolkit.storage.compression import ByteSource
    from toolkit.storage.limits import ArchiveLimits
    from toolkit.storage.pack import ByteSink
    from toolkit.storage.recipe import RecipeWriter

_FILESYSTEMS: Final = Path("/proc/filesystems")


class OverlayDriver(PlainDirectories):
    """Layers as overlayfs merges them."""

    name = "overlay"
    shares_init_layer = True

    def check_host(self, scratch_dir: Path) -> None:
        """Find out whether overlayfs is there, and whether this file system can carry it.

        Raises:
            KernelFeatureMissingError: One of them cannot.
        """
        if "\toverlay\n" not in _FILESYSTEMS.read_text(encoding="ascii"):
            raise KernelFeatureMissingError(
                "this kernel has no overlay file system: try 'modprobe overlay', "
                "or use the storage driver vfs"
            )
        try:
            os.setxattr(scratch_dir, OPAQUE_XATTR, b"n")
        except OSError as error:
            raise KernelFeatureMissingError(
                f"{scratch_dir} cannot hold layers of the storage driver overlay "
                f"({error.strerror}): use another file system, be root, or use the driver vfs"
            ) from error

    def fill_layer(
        self,
        source: ByteSource,
        tree_dir: Path,
        *,
        lower_dirs: Sequence[Path],
        limits: ArchiveLimits | None,
        recipe: RecipeWriter | None = None,
    ) -> Unpacked:
        """Unpack a layer; what it deletes of lower layers becomes whiteouts."""
        if lower_dirs:  # until the archive says otherwise, its root is as the one below
            below = lower_dirs[0].stat()
            os.chown(tree_dir, below.st_uid, below.st_gid)
            tree_dir.chmod(stat.S_IMODE(below.st_mode))
        with opened_directories([tree_dir]) as (tree_fd,):
            return unpack_tree(
                source, tree_fd, whiteouts=Whiteouts.OVERLAY, limits=limits, recipe=recipe
            )

    def fill_init(self, tree_dir: Path, *, lower_dirs: Sequence[Path]) -> None:
        """Fill an init layer by looking through the layers below."""
        with opened_directories([tree_dir, *lower_dirs]) as (tree_fd, *lower_fds):
            make_mount_point_layer(tree_fd, lower_fds)

    def fill_rw(self, rw_dir: Path, *, lower_dirs: Sequence[Path]) -> None:
        """Make the upper and the work directory; the root looks like the one below."""
        upper = rw_dir / "upper"
        upper.mkdir(0o755)
        (rw_dir / "work").mkdir(0o700)
        below = lower_dirs[0].stat()
        if below.st_uid or below.st_gid:
            os.chown(upper, below.st_uid, below.st_gid)
        upper.chmod(stat.S_IMODE(below.st_mode))

    def rootfs(self, base_dir: Path, rw: str, lowers: Sequence[str]) -> RootfsSource:
        """Return the overlay to mount."""
        return RootfsSource(
            kind="overlay",
            base_dir=str(base_dir),
            lower_dirs=tuple(lowers),
            upper_dir=f"{rw}/upper",
            work_dir=f"{rw}/work",
        )

    def changes(self, source: RootfsSource) -> list[Change]:
        """Walk the upper directory; what was below it is asked of overlayfs itself."""
        return run_privately(lambda: _changes(source))

    def pack_changes(self, source: RootfsSource, out: ByteSink) -> None:
        """Write the upper directory."""
        with opened_directories([Path(source.base_dir) / source.upper_dir]) as (upper_fd,):
            pack_tree(upper_fd, out, whiteouts=True)

    def rw_size_bytes(self, rw_dir: Path, *, lower_dirs: Sequence[Path]) -> int:
        """Return the size of what is in the upper directory; whiteouts weigh nothing."""
        del lower_dirs
        with opened_directories([rw_dir / "upper"]) as (upper_fd,):
            return tree_size_bytes(upper_fd)


def _changes(source: RootfsSource) -> list[Change]:
    upper_dir = Path(source.base_dir) / source.upper_dir
    with (
        opened_directories([upper_dir]) as (upper_fd,),
        viewed_layers(source.base_dir, source.lower_dirs) as old_fd,
    ):
        return upper_changes(upper_fd, old_fd)
