# SPDX-License-Identifier: Apache-2.0
"""What every storage driver does: run by `tests/` with vfs, by `integration/` with all.

A subclass gives `driver_name` and `shown`: the tree that a container would see.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.storage.archives import archive, directory, hard_link, member, symlink
from toolkit.errors import InvalidRequestError, KernelCallError, StorageError, UnsafeArchiveError
from toolkit.storage.layer import ChainId, LayerInUseError, LayerNotFoundError, chain_id_of
from toolkit.storage.layers import LayerStore

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from toolkit.storage.driver import RootfsSource

CONTAINER, OTHER = "a" * 64, "b" * 64
MISSING = ChainId("sha256:" + "0" * 64)


def names_below(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


class DriverContract(ABC):
    """A layer store on one driver."""

    driver_name: str

    @abstractmethod
    def shown(self, source: RootfsSource) -> AbstractContextManager[Path]:
        """Show what *source* mounts, for the length of a block."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> LayerStore:
        return LayerStore(tmp_path / "data", self.driver_name)

    def stack(self, store: LayerStore, *archives: object) -> ChainId:
        top: ChainId | None = None
        for content in archives:
            top = store.unpack(content, top).chain_id  # type: ignore[arg-type] # from `archive`
        assert top is not None
        return top

    def image_names(self, store: LayerStore, top: ChainId | None) -> set[str]:
        """Return what a new container on *top* sees, mount points aside."""
        store.create_rw(OTHER, top)
        with self.shown(store.rootfs(OTHER)) as root:
            found = {name for name in names_below(root) if name.split("/")[0] not in MADE}
        store.remove_rw(OTHER)
        return found

    def test_a_layer_is_named_by_its_content(self, store: LayerStore) -> None:
        content = archive(member("f", b"abc"))
        base = store.unpack(content, None)
        content.seek(0)
        again = store.unpack(content, base.chain_id)
        assert base.chain_id == base.diff_id == again.diff_id
        assert again.chain_id == chain_id_of(base.chain_id, base.diff_id)
        assert base.size_bytes == 3
        assert store.layers() == [base, again]

    def test_the_same_layer_is_kept_once(self, store: LayerStore) -> None:
        content = archive(member("f"))
        first = store.unpack(content, None)
        content.seek(0)
        assert store.unpack(content, None) == first
        assert len(store.layers()) == 1

    def test_upper_layers_add_change_and_delete(self, store: LayerStore) -> None:
        top = self.stack(
            store,
            archive(directory("d"), member("d/a"), member("d/b"), member("x", b"old")),
            archive(directory("d"), member("d/.wh.a"), member("d/c"), member("x", b"new")),
        )
        assert self.image_names(store, top) == {"d", "d/b", "d/c", "x"}

    def test_an_opaque_directory_hides_what_is_below(self, store: LayerStore) -> None:
        top = self.stack(
            store,
            archive(directory("d"), member("d/a"), member("e")),
            archive(directory("d"), member("d/new"), member("d/.wh..wh..opq")),
        )
        assert self.image_names(store, top) == {"d", "d/new", "e"}

    def test_an_opaque_root_hides_all_lower_layers(self, store: LayerStore) -> None:
        top = self.stack(store, archive(member("a")), archive(member(".wh..wh..opq"), member("b")))
        assert self.image_names(store, top) == {"b"}

    @pytest.mark.parametrize("first", ["whiteout", "directory"])
    def test_a_whiteout_hides_only_lower_layers(self, store: LayerStore, first: str) -> None:
        """Whatever the order in the archive (OCI image specification, "Whiteouts")."""
        new = [member(".wh.d"), directory("d"), member("d/new")]
        members = new if first == "whiteout" else [*new[1:], new[0]]
        top = self.stack(store, archive(directory("d"), member("d/old")), archive(*members))
        assert self.image_names(store, top) == {"d", "d/new"}

    def test_a_directory_may_become_a_file_and_back(self, store: LayerStore) -> None:
        """RT-187, rule 9.41: the type change that 0.7.2 could not apply."""
        base = archive(directory("d"), member("d/a"))
        changed = self.stack(store, base, archive(member("d", b"file")))
        assert self.image_names(store, changed) == {"d"}
        back = store.unpack(archive(directory("d"), member("d/b")), changed).chain_id
        assert self.image_names(store, back) == {"d", "d/b"}

    def test_a_whiteout_of_what_is_not_there_is_no_error(self, store: LayerStore) -> None:
        top = self.stack(store, archive(member("a")), archive(member(".wh.b")))
        assert self.image_names(store, top) == {"a"}

    def test_hard_links_stay_hard_links(self, store: LayerStore) -> None:
        top = self.stack(
            store, archive(member("a", b"x"), hard_link("b", "a")), archive(member("c"))
        )
        store.create_rw(CONTAINER, top)
        with self.shown(store.rootfs(CONTAINER)) as root:
            assert (root / "a").stat().st_ino == (root / "b").stat().st_ino

    def test_the_root_looks_as_the_image_says(self, store: LayerStore) -> None:
        top = self.stack(store, archive(directory(".", mode=0o711)), archive(member("f")))
        store.create_rw(CONTAINER, top)
        with self.shown(store.rootfs(CONTAINER)) as root:
            assert root.stat().st_mode & 0o7777 == 0o711

    def test_mount_points_are_there_without_an_image(self, store: LayerStore) -> None:
        """Rule 9.42."""
        store.create_rw(CONTAINER, None)
        with self.shown(store.rootfs(CONTAINER)) as root:
            assert set(names_below(root)) == MOUNT_POINTS
            assert (root / "etc/mtab").readlink() == Path("/proc/mounts")

    def test_mount_points_replace_links_and_files_of_the_image(self, store: LayerStore) -> None:
        """Rule 9.42, row S-24."""
        top = self.stack(
            store,
            archive(
                directory("real"), directory("real/pts"), symlink("dev", "/real"),
                directory("etc", mode=0o711), symlink("etc/resolv.conf", "/real/r"),
                member("etc/hosts", b"image"), member("etc/passwd", b"kept"),
                member("proc", b"file"),
            ),
        )  # fmt: skip
        store.create_rw(CONTAINER, top)
        with self.shown(store.rootfs(CONTAINER)) as root:
            assert set(names_below(root)) == MOUNT_POINTS | {"real", "real/pts", "etc/passwd"}
            assert (root / "dev").is_dir()
            assert not (root / "dev").is_symlink()
            assert (root / "etc/hosts").read_bytes() == b""
            assert (root / "etc/passwd").read_bytes() == b"kept"
            assert (root / "etc").stat().st_mode & 0o7777 == 0o711

    def test_a_directory_at_a_files_mount_point_stays(self, store: LayerStore) -> None:
        """Rule 9.42: unlink does not remove directories."""
        top = self.stack(store, archive(directory("etc"), directory("etc/hosts")))
        store.create_rw(CONTAINER, top)
        with self.shown(store.rootfs(CONTAINER)) as root:
            assert (root / "etc/hosts").is_dir()

    def test_containers_do_not_see_each_others_changes(self, store: LayerStore) -> None:
        top = self.stack(store, archive(member("f", b"image")))
        store.create_rw(CONTAINER, top)
        store.create_rw(OTHER, top)
        with self.shown(store.rootfs(CONTAINER)) as root:
            (root / "f").write_text("changed")
        with self.shown(store.rootfs(OTHER)) as root:
            assert (root / "f").read_text() == "image"

    def test_a_container_weighs_what_it_has_written(self, store: LayerStore) -> None:
        """RT-205 and RT-206, rule 9.48."""
        top = self.stack(store, archive(member("f", bytes(5000))))
        store.create_rw(CONTAINER, top)
        assert store.rw_size_bytes(CONTAINER) == 0
        with self.shown(store.rootfs(CONTAINER)) as root:
            (root / "new").write_bytes(bytes(1024))
        assert store.rw_size_bytes(CONTAINER) == 1024

    def test_a_new_container_has_no_changes(self, store: LayerStore) -> None:
        """RT-155, RT-204: before the first run there is nothing, and that is no error."""
        for container_id, top in ((CONTAINER, self.stack(store, archive(member("f")))),):
            store.create_rw(container_id, top)
            assert store.changes(container_id) == []
        store.create_rw(OTHER, None)
        assert store.changes(OTHER) == []

    def test_changes_are_told_by_kind(self, store: LayerStore) -> None:
        """RT-155, RT-161, RT-186; rules 9.28 to 9.30."""
        store.create_rw(CONTAINER, self.changed_image(store))
        with self.shown(store.rootfs(CONTAINER)) as root:
            change(root)
        told = [str(change) for change in store.changes(CONTAINER)]
        assert told == [
            "D /.dockerenv",
            "A /new",
            "A /new/below",
            "C /tree",
            "D /tree/gone",
            "C /tree/kind",
            "A /tree/kind/inside",
            "C /tree/kind2",
            "D /tree/link",
            "A /tree/link2",
            "C /tree/mode",
            "C /tree/text",
        ]

    def test_a_directory_made_again_shows_what_it_lost(self, store: LayerStore) -> None:
        top = self.stack(
            store, archive(directory("d"), member("d/a", b"1"), member("d/b"), member("d/c/deep"))
        )
        store.create_rw(CONTAINER, top)
        with self.shown(store.rootfs(CONTAINER)) as root:
            shutil.rmtree(root / "d")
            (root / "d").mkdir()
            (root / "d/a").write_text("22")
        told = [str(change) for change in store.changes(CONTAINER)]
        assert told == ["C /d", "C /d/a", "D /d/b", "D /d/c"]

    def test_a_tree_can_be_read_without_a_mount_of_its_own(self, store: LayerStore) -> None:
        store.create_rw(CONTAINER, self.changed_image(store))
        with self.shown(store.rootfs(CONTAINER)) as root:
            change(root)
        found: list[list[str]] = []
        mounts = Path("/proc/self/mountinfo").read_text()
        try:
            store.read_tree(CONTAINER, lambda root_fd: found.append(sorted(os.listdir(root_fd))))  # noqa: PTH208 - a descriptor
        except KernelCallError as error:
            assert error.errno == errno.EPERM  # noqa: PT017 - only root has mount namespaces
            return
        assert found == [["dev", "etc", "new", "proc", "sys", "tree"]]
        assert Path("/proc/self/mountinfo").read_text() == mounts

    def test_an_image_s_tree_is_read_without_what_a_container_gets_in_it(
        self, store: LayerStore
    ) -> None:
        top = self.changed_image(store)
        assert top is not None
        store.hold(top)
        found: list[list[str]] = []
        try:
            store.read_image(top, lambda root_fd: found.append(sorted(os.listdir(root_fd))))  # noqa: PTH208 - a descriptor
        except KernelCallError as error:
            assert error.errno == errno.EPERM  # noqa: PT017 - only root has mount namespaces
        else:
            assert found == [["tree"]]
        store.settle(top)

    def test_a_commit_gives_the_same_tree_and_no_changes(self, store: LayerStore) -> None:
        """RT-155, RT-187: what was changed, applied to the image, leaves no difference."""
        store.create_rw(CONTAINER, self.changed_image(store))
        with self.shown(store.rootfs(CONTAINER)) as root:
            change(root)
            wanted = described(root)
        top = store.commit(CONTAINER).chain_id
        store.create_rw(OTHER, top)
        assert store.changes(OTHER) == []
        with self.shown(store.rootfs(OTHER)) as root:
            assert described(root) == wanted

    def test_a_commit_without_a_change_has_the_same_digest_again(self, store: LayerStore) -> None:
        store.create_rw(CONTAINER, self.changed_image(store))
        with self.shown(store.rootfs(CONTAINER)) as root:
            change(root)
        assert store.commit(CONTAINER) == store.commit(CONTAINER)

    def changed_image(self, store: LayerStore) -> ChainId | None:
        return self.stack(
            store,
            archive(
                directory("tree"), member("tree/text", b"old"), member("tree/gone"),
                member("tree/mode", b"m", mode=0o644), member("tree/kind"),
                directory("tree/kind2"), member("tree/kind2/lost"), symlink("tree/link", "text"),
            ),
            archive(member("tree/kept", b"kept")),
        )  # fmt: skip

    def test_removing_a_container_leaves_nothing(self, store: LayerStore, tmp_path: Path) -> None:
        top = self.stack(store, archive(member("f")))
        self.image_names(store, top)  # makes what is shared
        before = names_below(tmp_path)
        store.create_rw(CONTAINER, top)
        store.remove_rw(CONTAINER)
        store.remove_rw(CONTAINER)
        assert names_below(tmp_path) == before
        with pytest.raises(LayerNotFoundError):
            store.rootfs(CONTAINER)

    def test_a_container_is_made_once(self, store: LayerStore) -> None:
        """Rule 9.14."""
        store.create_rw(CONTAINER, None)
        with pytest.raises(StorageError, match="already"):
            store.create_rw(CONTAINER, None)
        assert store.rootfs(CONTAINER).base_dir

    @pytest.mark.parametrize(
        "container_id", ["", "a" * 63, "a" * 65, "A" * 64, "../" + "a" * 61, "a" * 63 + "\n", "-"]
    )
    def test_only_whole_ids_are_containers(self, store: LayerStore, container_id: str) -> None:
        """Row S-52."""
        for act in (
            lambda: store.create_rw(container_id, None),
            lambda: store.remove_rw(container_id),
            lambda: store.rootfs(container_id),
        ):
            with pytest.raises(InvalidRequestError, match="not a container id"):
                act()

    def test_a_failed_layer_leaves_nothing(self, store: LayerStore, tmp_path: Path) -> None:
        """RT-166."""
        before = names_below(tmp_path)
        with pytest.raises(UnsafeArchiveError):
            store.unpack(archive(member("a"), member("../b")), None)
        assert names_below(tmp_path) == before
        assert store.unpack(archive(member("a")), None) in store.layers()

    def test_unknown_layers_are_told(self, store: LayerStore) -> None:
        """RT-202."""
        for act in (
            lambda: store.get(MISSING),
            lambda: store.remove(MISSING),
            lambda: store.unpack(archive(member("a")), MISSING),
            lambda: store.create_rw(CONTAINER, MISSING),
        ):
            with pytest.raises(LayerNotFoundError):
                act()

    def test_a_layer_in_use_is_not_removed(self, store: LayerStore) -> None:
        base = store.unpack(archive(member("a")), None)
        top = store.unpack(archive(member("b")), base.chain_id)
        store.settle(base.chain_id)
        store.settle(top.chain_id)
        store.create_rw(CONTAINER, top.chain_id)
        for layer in (base, top):
            with pytest.raises(LayerInUseError):
                store.remove(layer.chain_id)
        store.remove_rw(CONTAINER)
        store.remove(top.chain_id)
        store.remove(base.chain_id)
        assert store.layers() == []

    def test_collecting_spares_what_is_needed(self, store: LayerStore) -> None:
        kept, used, unused, held = (
            store.unpack(archive(member(name)), None).chain_id for name in "abcd"
        )
        for chain_id in (kept, used, unused):
            store.settle(chain_id)
        store.create_rw(CONTAINER, used)
        assert store.collect([kept]) == [unused]
        assert {layer.chain_id for layer in store.layers()} == {kept, used, held}

    def test_a_store_opened_again_is_the_same(self, store: LayerStore, tmp_path: Path) -> None:
        top = self.stack(store, archive(member("a")), archive(member("b")))
        store.create_rw(CONTAINER, top)
        again = LayerStore(tmp_path / "data", self.driver_name)
        assert again.layers() == store.layers()
        assert again.rootfs(CONTAINER) == store.rootfs(CONTAINER)
        assert again.unpack(archive(member("c")), top).number > 2

    def test_sweeping_removes_what_a_crash_left(self, store: LayerStore, tmp_path: Path) -> None:
        store.create_rw(CONTAINER, None)
        store.create_rw(OTHER, None)
        base = tmp_path / "data/layers" / self.driver_name
        (base / "staging/7/t").mkdir(parents=True)
        (base / "trash/8.0/t/deep").mkdir(parents=True)
        again = LayerStore(tmp_path / "data", self.driver_name)
        assert again.sweep({CONTAINER}) == ["staging/7", "trash/8.0", f"rw/{OTHER}"]
        assert again.rootfs(CONTAINER).base_dir
        assert [path.name for path in (base / "rw").iterdir()] == [CONTAINER]

    def test_damage_does_not_keep_the_store_from_opening(
        self, store: LayerStore, tmp_path: Path
    ) -> None:
        first = store.unpack(archive(member("a")), None)
        second = store.unpack(archive(member("b")), None)
        base = tmp_path / "data/layers" / self.driver_name / "l"
        (base / str(second.number) / "layer.json").write_text("{")
        again = LayerStore(tmp_path / "data", self.driver_name)
        assert again.layers() == [first]
        assert again.unpack(archive(member("c")), None).number > second.number

    def test_a_layer_with_another_layers_name_is_not_used(
        self, store: LayerStore, tmp_path: Path
    ) -> None:
        """Rows S-53 and S-54: no name but that of the content, so no layer below itself."""
        layer = store.unpack(archive(member("a")), None)
        path = tmp_path / "data/layers" / self.driver_name / "l" / str(layer.number) / "layer.json"
        document = json.loads(path.read_text())
        path.write_text(json.dumps({**document, "parent": layer.chain_id}))
        assert LayerStore(tmp_path / "data", self.driver_name).layers() == []

    def test_what_cannot_be_swept_does_not_keep_the_engine_from_starting(
        self, store: LayerStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "data/layers" / self.driver_name / "staging/7").mkdir()

        def refuse(*_: object) -> None:
            raise OSError(errno.EBUSY, "Device or resource busy")

        monkeypatch.setattr("toolkit.storage.layerdirs.remove_entry", refuse)
        assert store.sweep(set()) == []


def change(root: Path) -> None:
    """Change a tree of `changed_image` in every way."""
    (root / "new").mkdir()
    (root / "new/below").write_text("below")
    tree = root / "tree"
    (tree / "text").write_text("newer")
    (tree / "mode").chmod(0o600)
    (tree / "gone").unlink()
    (tree / "kind").unlink()
    (tree / "kind").mkdir()
    (tree / "kind/inside").touch()
    shutil.rmtree(tree / "kind2")
    (tree / "kind2").write_text("now a file")
    (tree / "link").rename(tree / "link2")
    (root / ".dockerenv").unlink()


def described(root: Path) -> dict[str, object]:
    """Return what a tree is, mount points of ours aside."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name, status = path.relative_to(root).as_posix(), path.lstat()
        if name in MOUNT_POINTS:
            continue
        content: object = None
        if path.is_symlink():
            content = path.readlink()
        elif path.is_file():
            content = path.read_bytes()
        found[name] = (status.st_mode, status.st_uid, status.st_mtime_ns, content)
    return found


MADE = {".dockerenv", "dev", "etc", "proc", "sys"}
MOUNT_POINTS = MADE | {
    "dev/console",
    "dev/pts",
    "dev/shm",
    "etc/hostname",
    "etc/hosts",
    "etc/mtab",
    "etc/resolv.conf",
}
