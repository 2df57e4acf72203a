# SPDX-License-Identifier: Apache-2.0
"""What a storage driver does: it fills directories, and says what to mount.

Names, numbers, staging and durability are `toolkit.storage.layers`'. A driver
mounts nothing: the shim does, inside the container's own mount namespace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from toolkit.storage.changes import Change
    from toolkit.storage.compression import ByteSource
    from toolkit.storage.limits import ArchiveLimits
    from toolkit.storage.pack import ByteSink
    from toolkit.storage.recipe import RecipeWriter
    from toolkit.storage.unpack import Unpacked


@dataclass(frozen=True, kw_only=True)
class RootfsSource:
    """What to mount as a container's root.

    All paths are relative to *base_dir*: the mounter changes into it first and
    gives the kernel relative names, because the data of a mount must fit into
    one page of 4096 bytes whatever the instance's directory is called. They are
    numbers and ids, so nothing in them needs escaping (row S-34).

    Attributes:
        lower_dirs: Of an overlay, topmost first; of a bind, what it began as, if anything.
        bind_dir: Of a bind mount, the whole root.
    """

    kind: Literal["overlay", "bind"]
    base_dir: str
    lower_dirs: tuple[str, ...] = ()
    upper_dir: str = ""
    work_dir: str = ""
    bind_dir: str = ""


class Driver(Protocol):
    """One way to stack layers. All directories given exist and are the store's.

    Attributes:
        name: As in docker's `Driver`.
        shares_init_layer: The store keeps one init layer for each image top
            (rule 9.42); else `fill_rw` makes the mount points itself.
    """

    name: str
    shares_init_layer: bool

    def check_host(self, scratch_dir: Path) -> None:
        """Find out whether this machine can do it.

        Raises:
            KernelFeatureMissingError: It cannot; the text says what is missing.
        """

    def make_directory(self, directory: Path, on: Path | None) -> None:
        """Make the directory that a layer or a container's own tree is put into.

        With *on*, the directory of a layer: it may begin as a copy of that.
        """

    def remove_directory(self, directory: Path) -> bool:
        """Remove such a directory at once if this driver can; False leaves it to the store."""

    def fill_layer(
        self,
        source: ByteSource,
        tree_dir: Path,
        *,
        lower_dirs: Sequence[Path],
        limits: ArchiveLimits | None,
        recipe: RecipeWriter | None = None,
    ) -> Unpacked:
        """Unpack a layer into an empty directory, on the layers below (topmost first)."""

    def fill_init(self, tree_dir: Path, *, lower_dirs: Sequence[Path]) -> None:
        """Fill an init layer: what a container's mounts need on top of an image."""

    def fill_rw(self, rw_dir: Path, *, lower_dirs: Sequence[Path]) -> None:
        """Fill a container's own directory."""

    def rootfs(self, base_dir: Path, rw: str, lowers: Sequence[str]) -> RootfsSource:
        """Return what to mount for a container's own directory, both relative to *base_dir*."""

    def changes(self, source: RootfsSource) -> list[Change]:
        """Return what a container has changed of its image, mount points of ours aside."""

    def pack_changes(self, source: RootfsSource, out: ByteSink) -> None:
        """Write what a container has changed as the archive of a layer."""

    def rw_size_bytes(self, rw_dir: Path, *, lower_dirs: Sequence[Path]) -> int:
        """Return how many bytes of files a container has added or changed."""


class PlainDirectories:
    """Directories that are nothing but that: the store removes them."""

    def make_directory(self, directory: Path, on: Path | None) -> None:
        """Make a plain directory."""
        del on
        directory.mkdir(mode=0o700)

    def remove_directory(self, directory: Path) -> bool:
        """Leave it to the store."""
        del directory
        return False
