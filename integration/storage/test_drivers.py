# SPDX-License-Identifier: Apache-2.0
"""All drivers as root, through real mounts: the contract, and what needs root."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.storage.shown import shown_root
from tests.storage.archives import archive, directory, member, symlink
from tests.storage.contract import CONTAINER, MADE, OTHER, DriverContract, names_below
from toolkit.errors import KernelFeatureMissingError, StorageError
from toolkit.images.store import ImageStore
from toolkit.storage.layers import LayerStore
from toolkit.storage.opened import opened_directories
from toolkit.storage.pack import pack_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from toolkit.storage.driver import RootfsSource
    from toolkit.storage.layer import ChainId

FILESYSTEMS = Path("/proc/filesystems")
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw+p
pytestmark = pytest.mark.needs_root


class AsRoot(DriverContract):
    """The contract, and what a layer can only keep as root."""

    @pytest.fixture(autouse=True)
    def _target(self, tmp_path: Path) -> None:
        self._target_dir = tmp_path / "mounted"
        self._target_dir.mkdir()

    def shown(self, source: RootfsSource) -> AbstractContextManager[Path]:
        return shown_root(source, self._target_dir)

    def test_owners_modes_devices_and_capabilities_are_kept(self, store: LayerStore) -> None:
        top = self.stack(
            store,
            archive(
                directory("d", uid=100_000, gid=7, mode=0o1777),
                member("d/suid", b"x", uid=5, gid=6, mode=0o6755),
                member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
                member("disk", type=tarfile.BLKTYPE, devmajor=7, devminor=200, mode=0o660, gid=6),
                symlink("l", "nowhere"),
                format=tarfile.GNU_FORMAT,
            ),
            archive(
                member(
                    "capable", b"x", uid=3,
                    pax_headers={
                        "SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1"),
                        "SCHILY.xattr.trusted.overlay.redirect": "/../..",
                    },
                ),
                format=tarfile.PAX_FORMAT,
            ),
        )  # fmt: skip
        store.create_rw(CONTAINER, top)
        with self.shown(store.rootfs(CONTAINER)) as root:
            d, suid = (root / "d").stat(), (root / "d/suid").stat()
            assert (d.st_uid, d.st_gid, stat.S_IMODE(d.st_mode)) == (100_000, 7, 0o1777)
            assert (suid.st_uid, suid.st_gid, stat.S_IMODE(suid.st_mode)) == (5, 6, 0o6755)
            null, disk = (root / "null").stat(), (root / "disk").stat()
            assert (stat.S_ISCHR(null.st_mode), null.st_rdev) == (True, os.makedev(1, 3))
            assert (stat.S_ISBLK(disk.st_mode), disk.st_rdev) == (True, os.makedev(7, 200))
            assert stat.S_IMODE(null.st_mode) == 0o666
            assert os.getxattr(root / "capable", "security.capability") == CAPABILITY
            assert os.listxattr(root / "capable") == ["security.capability"]

    def test_a_hundred_and_twenty_five_layers_stand(self, store: LayerStore) -> None:
        """RT-210, row S-34: every tenth layer deletes its parent's file."""
        top: ChainId | None = None
        for number in range(125):
            members = [member(f"f{number}", b"x")]
            if number and number % 10 == 0:
                members.append(member(f".wh.f{number - 1}"))
            top = store.unpack(archive(*members), top).chain_id
        assert len(self.image_names(store, top)) == 125 - 12
        with pytest.raises(StorageError, match="at most 125"):
            store.unpack(archive(member("one-more")), top)

    def test_a_data_directory_may_have_any_name(self, tmp_path: Path) -> None:
        """Row S-34."""
        store = LayerStore(tmp_path / ("a:b,c\\d e" + "x" * 150) / ("y" * 200), self.driver_name)
        top = self.stack(store, archive(member("a")), archive(member("b")))
        assert self.image_names(store, top) == {"a", "b"}


@pytest.fixture(scope="module")
def btrfs_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory on a btrfs of its own, in a file."""
    if shutil.which("mkfs.btrfs") is None or "btrfs\n" not in FILESYSTEMS.read_text():
        pytest.skip("no btrfs here: apt-get install btrfs-progs")
    place = tmp_path_factory.mktemp("btrfs")
    image, mounted = place / "image", place / "mounted"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(512 * 1024 * 1024)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mounted], check=True)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", mounted], check=True)
        image.unlink()


class TestBtrfs(AsRoot):
    """On a loop-mounted image: snapshots need the real thing."""

    driver_name = "btrfs"

    @pytest.fixture
    def tmp_path(self, btrfs_dir: Path) -> Path:
        own = btrfs_dir / uuid.uuid4().hex
        own.mkdir()
        return own

    def test_a_snapshot_is_removed_at_once(self, store: LayerStore) -> None:
        top = self.stack(store, archive(*(member(f"f{number}") for number in range(50))))
        store.create_rw(CONTAINER, top)
        rw_dir = Path(store.rootfs(CONTAINER).base_dir) / "rw" / CONTAINER
        assert rw_dir.stat().st_ino == 256
        store.remove_rw(CONTAINER)
        assert not rw_dir.exists()

    def test_another_file_system_is_refused(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        with pytest.raises(KernelFeatureMissingError, match="not on btrfs"):
            LayerStore(tmp_path_factory.mktemp("plain"), "btrfs")


class TestOverlay(AsRoot):
    driver_name = "overlay"

    def test_whiteouts_are_those_of_overlayfs(self, store: LayerStore, tmp_path: Path) -> None:
        """Row S-51: only names inside the directory, as devices 0:0 and opaque directories."""
        layer = store.unpack(
            archive(directory("d"), member("d/.wh.gone"), directory("o"), member("o/.wh..wh..opq")),
            None,
        )
        tree = tmp_path / "data/layers/overlay/l" / str(layer.number) / "t"
        assert names_below(tree) == ["d", "d/gone", "o"]
        gone = (tree / "d/gone").lstat()
        assert (stat.S_ISCHR(gone.st_mode), gone.st_rdev) == (True, 0)
        assert os.getxattr(tree / "o", "trusted.overlay.opaque") == b"y"

    def test_a_containers_changes_can_become_a_layer(
        self, store: LayerStore, tmp_path: Path
    ) -> None:
        """RT-187 and RT-209: what was deleted and replaced is so in the new layer too."""
        top = self.stack(
            store,
            archive(directory("d"), member("d/a"), directory("e"), member("e/b"), member("f")),
        )
        store.create_rw(CONTAINER, top)
        with self.shown(store.rootfs(CONTAINER)) as root:
            (root / "f").unlink()
            (root / "d/a").unlink()
            (root / "e/b").unlink()
            (root / "e").rmdir()
            (root / "e").mkdir()
            (root / "e/new").write_text("x")
        content = io.BytesIO()
        upper = tmp_path / "data/layers/overlay/rw" / CONTAINER / "upper"
        with opened_directories([upper]) as (upper_fd,):
            pack_tree(upper_fd, content, whiteouts=True)
        content.seek(0)
        committed = store.unpack(content, top).chain_id
        assert self.image_names(store, committed) == {"d", "e", "e/new"}

    def test_the_init_layer_is_shared(self, store: LayerStore) -> None:
        top = self.stack(store, archive(member("f")))
        store.create_rw(CONTAINER, top)
        store.create_rw(OTHER, top)
        assert store.rootfs(CONTAINER).lower_dirs == store.rootfs(OTHER).lower_dirs

    def test_mount_points_hide_a_link_below_a_whiteout(self, store: LayerStore) -> None:
        """Row S-24: layers are looked through as overlayfs does."""
        top = self.stack(
            store,
            archive(directory("etc"), member("etc/a"), symlink("dev", "/etc")),
            archive(member(".wh.dev"), directory("etc"), member("etc/.wh..wh..opq")),
            archive(directory("etc"), symlink("etc/hosts", "/run/canary")),
        )
        store.create_rw(CONTAINER, top)
        with self.shown(store.rootfs(CONTAINER)) as root:
            assert {name.split("/")[0] for name in names_below(root)} == MADE
            assert (root / "etc/hosts").read_bytes() == b""
            assert not (root / "etc/hosts").is_symlink()
            assert not (root / "etc/a").exists()


class TestVfs(AsRoot):
    driver_name = "vfs"


def test_images_are_seen_by_the_driver_that_has_their_layers(tmp_path: Path) -> None:
    """Rule 9.13."""
    stores = {name: ImageStore(tmp_path, LayerStore(tmp_path, name)) for name in ("overlay", "vfs")}
    image = stores["overlay"].import_tar(archive(member("f")), reference="a")
    assert stores["overlay"].list() == [image]
    assert stores["vfs"].list() == []
