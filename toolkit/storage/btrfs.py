# SPDX-License-Identifier: Apache-2.0
"""The driver `btrfs`: each layer is a whole tree in a subvolume, begun as a snapshot.

As `vfs`, but a copy costs nothing until something is written, and a removal is
one call. A layer's directory itself is the subvolume, so that its tree and what
is unpacked beside it are one file system to rename(2).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from typing import TYPE_CHECKING, Final

from toolkit.errors import KernelFeatureMissingError, StorageError
from toolkit.storage.layerfiles import LAYER_FILE_NAME
from toolkit.storage.mountpoints import make_mount_points
from toolkit.storage.opened import opened_directories
from toolkit.storage.recipe import RECIPE_NAME
from toolkit.storage.vfs import VfsDriver, note_mount_points

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# linux/btrfs.h: struct btrfs_ioctl_vol_args is a descriptor and a name, one page.
_ARGUMENTS: Final = struct.Struct("=q4088s")
_SNAP_CREATE: Final = 0x50009401
_SUBVOL_CREATE: Final = 0x5000940E
_SNAP_DESTROY: Final = 0x5000940F
_SUBVOLUME_INODE: Final = 256  # of every subvolume's root


class BtrfsDriver(VfsDriver):
    """Layers as snapshots."""

    name = "btrfs"

    def check_host(self, scratch_dir: Path) -> None:
        """Find out whether the data directory is on btrfs.

        Raises:
            KernelFeatureMissingError: It is not.
        """
        probe = scratch_dir / f"probe.{os.getpid()}"
        try:
            self.make_directory(probe, None)
        except OSError as error:
            raise KernelFeatureMissingError(
                f"{scratch_dir} is not on btrfs ({error.strerror}): use the storage driver "
                "overlay, or put the data directory on btrfs"
            ) from error
        self.remove_directory(probe)

    def make_directory(self, directory: Path, on: Path | None) -> None:
        """Make a subvolume: empty, or a snapshot of a layer's without that layer's files."""
        if on is None:
            _control(directory, _SUBVOL_CREATE, -1)
        else:
            with opened_directories([on]) as (source_fd,):
                _control(directory, _SNAP_CREATE, source_fd)
            for name in (LAYER_FILE_NAME, RECIPE_NAME):
                (directory / name).unlink(missing_ok=True)
        directory.chmod(0o700)

    def remove_directory(self, directory: Path) -> bool:
        """Remove a subvolume with all that is in it."""
        try:
            if os.lstat(directory).st_ino != _SUBVOLUME_INODE:
                return False
            _control(directory, _SNAP_DESTROY, -1)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in (errno.EPERM, errno.ENOTTY, errno.EINVAL):
                return False
            raise StorageError(f"cannot remove {directory}: {error.strerror}") from error
        return True

    def copy_lower(self, source_dir: Path, target_fd: int) -> None:
        """Copy nothing: the snapshot has it."""
        del source_dir, target_fd

    def fill_rw(self, rw_dir: Path, *, lower_dirs: Sequence[Path]) -> None:
        """Give the snapshot's tree its name, and make the mount points in it."""
        root_dir = rw_dir / "root"
        if lower_dirs:
            (rw_dir / "t").rename(root_dir)
        else:
            root_dir.mkdir(mode=0o755)
            root_dir.chmod(0o755)
        with opened_directories([root_dir]) as (root_fd,):
            make_mount_points(root_fd)
        with contextlib.suppress(FileNotFoundError):
            (rw_dir / "top").unlink()
        note_mount_points(rw_dir)


def _control(directory: Path, request: int, source_fd: int) -> None:
    """Do something to the subvolume of that name in its parent directory."""
    with opened_directories([directory.parent]) as (parent_fd,):
        arguments = bytearray(_ARGUMENTS.pack(source_fd, os.fsencode(directory.name)))
        fcntl.ioctl(parent_fd, request, arguments)
