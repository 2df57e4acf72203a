# SPDX-License-Identifier: Apache-2.0
"""The image store: importing, finding, naming and removing, on the driver vfs."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.storage.archives import archive, member
from toolkit.errors import (
    ImageInUseError,
    ImageNotFoundError,
    InvalidReferenceError,
    UnsafeArchiveError,
)
from toolkit.images.image import Image, ImageId, id_of
from toolkit.images.references import Reference
from toolkit.images.removal import ImageUser, Removed
from toolkit.images.store import ImageStore
from toolkit.storage.layer import LayerNotFoundError
from toolkit.storage.layers import LayerStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DIGEST = "sha256:" + "d" * 64
CONTAINER = "c" * 64


@dataclass
class Shelf:
    """An image store with its layers, and the containers that use images."""

    data_dir: Path
    containers: list[tuple[ImageId, ImageUser]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        """Open the stores, as an engine that starts does."""
        self.layers = LayerStore(self.data_dir, "vfs")
        self.images = ImageStore(self.data_dir, self.layers)

    def add(self, reference: str | None = None, content: str = "f") -> Image:
        return self.images.import_tar(archive(member(content)), reference=reference)

    def child(self, parent: Image, author: str, reference: str = "") -> Image:
        document = {"author": author, "rootfs": {"diff_ids": list(parent.diff_ids)}}
        name = Reference.parse(reference) if reference else None
        return self.images.create(document, parent=parent.id, reference=name)

    def use(self, image: Image, *, is_running: bool) -> None:
        self.containers.append((image.id, ImageUser(container_id=CONTAINER, is_running=is_running)))

    def users(self, image_id: ImageId) -> Sequence[ImageUser]:
        return [user for used, user in self.containers if used == image_id]

    def remove(self, text: str, *, force: bool = False, noprune: bool = False) -> list[str]:
        removed = self.images.remove(text, force=force, noprune=noprune, users=self.users)
        return [told(one) for one in removed]

    @property
    def ids(self) -> set[str]:
        return {image.id for image in self.images.list()}

    @property
    def blobs_dir(self) -> Path:
        return self.data_dir / "images/vfs/blobs"


def told(removed: Removed) -> str:
    return f"{removed.action} {removed.name}"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_an_imported_image_has_one_layer_and_no_parent(shelf: Shelf) -> None:
    image = shelf.images.import_tar(
        archive(member("f", b"abc")), reference="a/b", config={"Cmd": ["sh"]}
    )
    assert (image.parent, image.comment, image.size_bytes) == (None, "Imported from -", 3)
    assert (image.references, image.config) == (("a/b:latest",), {"Cmd": ["sh"]})
    assert [layer.diff_id for layer in shelf.layers.layers()] == list(image.diff_ids)
    assert image.id == id_of(shelf.images.document(image.id))


def test_an_import_says_what_it_was_asked_to(shelf: Shelf) -> None:
    image = shelf.images.import_tar(archive(member("f")), message="by hand")
    assert (image.comment, image.references) == ("by hand", ())


def test_a_failed_import_leaves_nothing(shelf: Shelf) -> None:
    """RT-166."""
    with pytest.raises(UnsafeArchiveError):
        shelf.images.import_tar(archive(member("../f")), reference="a")
    with pytest.raises(InvalidReferenceError):
        shelf.images.import_tar(archive(member("f")), reference="A")
    with pytest.raises(InvalidReferenceError, match="digest reference"):
        shelf.images.import_tar(archive(member("f")), reference=f"a@{DIGEST}")
    assert (shelf.images.list(), shelf.layers.layers()) == ([], [])
    assert list(shelf.blobs_dir.iterdir()) == []


def test_an_image_is_found_by_every_name(shelf: Shelf) -> None:
    """API-088, RT-172."""
    image = shelf.add("myapp")
    hex_id = image.id.removeprefix("sha256:")
    for text in (
        "myapp", "myapp:latest", "library/myapp", "docker.io/library/myapp:latest",
        image.id, hex_id, hex_id[:12], hex_id[:4], image.id[:20], f"myapp:{hex_id[:12]}",
    ):  # fmt: skip
        assert shelf.images.resolve(text) == image


def test_an_image_is_found_by_a_manifests_digest(shelf: Shelf) -> None:
    image = shelf.add("a:1")
    shelf.images.create(shelf.images.document(image.id), reference=Reference.parse(f"a@{DIGEST}"))
    for text in (f"a@{DIGEST}", f"a:1@{DIGEST}"):
        assert shelf.images.resolve(text).id == image.id
    assert shelf.images.get(image.id).digests == (f"a@{DIGEST}",)


@pytest.mark.parametrize(
    "text",
    ["fail", "myapp:fail", "other:latest", "a/myapp", "0" * 64, "sha256:" + "0" * 64, DIGEST],
)
def test_what_is_not_there_is_not_found(shelf: Shelf, text: str) -> None:
    """API-088, RT-172."""
    shelf.add("myapp")
    with pytest.raises(ImageNotFoundError, match="No such image: "):
        shelf.images.resolve(text)


def test_a_missing_name_is_told_with_its_tag(shelf: Shelf) -> None:
    with pytest.raises(ImageNotFoundError, match=r"^No such image: nosuch:latest$"):
        shelf.images.resolve("docker.io/library/nosuch")


@pytest.mark.parametrize("text", ["", "../x", "A" * 64, "a" * 65 + "\n", "-", "sha256:", "a\n"])
def test_what_is_no_name_is_refused(shelf: Shelf, text: str) -> None:
    """Row S-52."""
    with pytest.raises(InvalidReferenceError):
        shelf.images.resolve(text)


def test_an_ambiguous_beginning_finds_nothing(shelf: Shelf) -> None:
    first: dict[str, Image] = {}
    image = shelf.add()
    for number in range(40):
        child = shelf.child(image, f"author {number}")
        other = first.setdefault(child.id[7], child)
        if other is not child:
            with pytest.raises(ImageNotFoundError):
                shelf.images.resolve(child.id[7])
            return
    pytest.fail("forty ids with different first digits")


def test_the_newest_image_heads_the_list(shelf: Shelf) -> None:
    """API-077, API-078, RT-178, RT-179."""
    images = [shelf.add(f"repo:{number}", f"f{number}") for number in range(3)]
    assert [image.id for image in shelf.images.list()] == [image.id for image in reversed(images)]


def test_a_name_moves_silently(shelf: Shelf) -> None:
    """Api-and-cli 3.3."""
    old, new = shelf.add("a"), shelf.add("b", "g")
    assert shelf.images.tag(new.id, "docker.io/library/a:latest").familiar == "a:latest"
    assert shelf.images.resolve("a").id == new.id
    assert shelf.images.get(old.id).references == ()


def test_names_survive_a_restart(shelf: Shelf) -> None:
    image = shelf.add("a")
    child = shelf.child(image, "me", "b:c")
    shelf.images.tag(image.id, "reg:5000/x/y")
    before = shelf.images.list()
    shelf.open()
    assert shelf.images.list() == before
    assert shelf.images.get(image.id).references == ("a:latest", "reg:5000/x/y:latest")
    assert shelf.images.get(child.id).parent == image.id


def test_an_image_without_its_layers_is_refused(shelf: Shelf) -> None:
    with pytest.raises(LayerNotFoundError):
        shelf.images.create({"rootfs": {"diff_ids": [DIGEST]}})


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"tags": [1]}', "[" * 10**5])
def test_damaged_names_are_put_aside(
    shelf: Shelf, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Row S-55: images and layers stay."""
    image = shelf.add("a")
    names = shelf.data_dir / "images/vfs/repositories.json"
    names.write_text(content)
    with caplog.at_level(logging.WARNING):
        shelf.open()
    assert "names of images" in caplog.text
    assert names.with_name("repositories.json.damaged").read_text() == content
    assert shelf.images.resolve(image.id).references == ()
    assert len(shelf.layers.layers()) == 1


def test_hostile_names_in_the_file_are_left_out(shelf: Shelf) -> None:
    """Rows S-52 and S-55."""
    image = shelf.add("a")
    names = shelf.data_dir / "images/vfs/repositories.json"
    document = json.loads(names.read_text())
    document["tags"] |= {"../../x": image.id, "a:b\n": image.id, "b": "../../x", "c": 5}
    names.write_text(json.dumps(document))
    shelf.open()
    assert shelf.images.get(image.id).references == ("a:latest",)


@pytest.mark.parametrize("content", [b"", b"{}", b"garbage"])
def test_a_damaged_document_is_put_aside(
    shelf: Shelf, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Row S-54: a document that does not have its digest is not that image."""
    damaged, sound = shelf.add("a"), shelf.add("b", "g")
    name = damaged.id.removeprefix("sha256:")
    (shelf.blobs_dir / name).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        shelf.open()
    assert "damaged" in caplog.text
    assert shelf.ids == {sound.id}
    assert (shelf.blobs_dir.parent / "damaged" / name).exists()
    assert len(shelf.layers.layers()) == 2  # nothing is thrown away on a guess
    with pytest.raises(ImageNotFoundError):
        shelf.images.resolve("a")


def test_a_document_that_a_crash_left_half_written_is_removed(shelf: Shelf) -> None:
    """F-01."""
    name = shelf.add("a").id.removeprefix("sha256:")
    (shelf.blobs_dir / f".{'e' * 64}.new").write_text("{")
    shelf.open()
    assert [path.name for path in shelf.blobs_dir.iterdir()] == [name]


def test_layers_that_a_crash_orphaned_are_removed_at_the_next_start(shelf: Shelf) -> None:
    shelf.layers.unpack(archive(member("orphan")), None)
    image = shelf.add("a")
    shelf.open()
    assert [layer.chain_id for layer in shelf.layers.layers()] == [image.top]


def test_imports_from_many_threads_are_all_kept(shelf: Shelf) -> None:
    threads = [
        threading.Thread(target=shelf.add, args=(f"r:{number}", f"f{number % 3}"))
        for number in range(9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [name for image in shelf.images.list() for name in image.references]
    assert sorted(names) == [f"r:{number}" for number in range(9)]
    assert len(shelf.layers.layers()) == 3


def test_removing_a_container_frees_its_images_layers(shelf: Shelf) -> None:
    image = shelf.add("a")
    shelf.layers.create_rw(CONTAINER, image.top)
    shelf.use(image, is_running=False)
    shelf.remove("a", force=True)
    assert len(shelf.layers.layers()) == 1
    shelf.layers.remove_rw(CONTAINER)
    assert shelf.images.release_layers() == [image.top]


class TestRemoval:
    """Api-and-cli 3.8, "now"."""

    def test_the_last_name_takes_the_image_with_it(self, shelf: Shelf) -> None:
        image = shelf.add("a/b:c")
        assert shelf.remove("a/b:c") == [
            "untagged a/b:c", f"deleted {image.id}", f"deleted {image.top}",
        ]  # fmt: skip
        assert (shelf.ids, shelf.layers.layers()) == (set(), [])
        assert list(shelf.blobs_dir.iterdir()) == []

    def test_one_of_several_names_is_all_that_goes(self, shelf: Shelf) -> None:
        """API-027, RT-174: three names come and go."""
        image = shelf.add("base")
        for name in ("utest:tag1", "utest/docker:tag2", "utest:5000/docker:tag3"):
            shelf.images.tag(image.id, name)
        assert shelf.remove("utest/docker:tag2") == ["untagged utest/docker:tag2"]
        assert shelf.remove("utest:5000/docker:tag3") == ["untagged utest:5000/docker:tag3"]
        assert shelf.remove("utest:tag1") == ["untagged utest:tag1"]
        assert shelf.images.list() == [image]

    def test_a_second_name_of_a_used_image_may_go(self, shelf: Shelf) -> None:
        """API-036, RT-175."""
        image = shelf.add("base")
        shelf.images.tag(image.id, "utest:tag1")
        shelf.use(image, is_running=True)
        assert shelf.remove("utest:tag1") == ["untagged utest:tag1"]

    def test_the_last_name_of_a_used_image_needs_force(self, shelf: Shelf) -> None:
        image = shelf.add("a")
        shelf.use(image, is_running=False)
        with pytest.raises(ImageInUseError) as refused:
            shelf.remove("a")
        assert str(refused.value) == (
            'conflict: unable to remove repository reference "a" (must force) - '
            f"container {CONTAINER[:12]} is using its referenced image {image.id[7:19]}"
        )
        assert shelf.remove("a", force=True)[:2] == ["untagged a:latest", f"deleted {image.id}"]

    def test_force_takes_the_last_name_of_a_running_containers_image_only(
        self, shelf: Shelf
    ) -> None:
        image = shelf.add("a")
        shelf.use(image, is_running=True)
        assert shelf.remove("a", force=True) == ["untagged a:latest"]
        assert shelf.ids == {image.id}

    def test_an_id_removes_an_image_with_its_one_name(self, shelf: Shelf) -> None:
        image = shelf.add("a")
        assert shelf.remove(image.id[7:19])[:2] == ["untagged a:latest", f"deleted {image.id}"]

    def test_an_id_with_several_names_needs_force(self, shelf: Shelf) -> None:
        """API-025, RT-176."""
        image = shelf.add("a")
        shelf.images.tag(image.id, "test:test")
        with pytest.raises(ImageInUseError) as refused:
            shelf.remove(image.id)
        assert str(refused.value) == (
            f"conflict: unable to delete {image.id[7:19]} (must be forced) - "
            "image is referenced in multiple repositories"
        )
        assert shelf.remove("test:test") == ["untagged test:test"]
        shelf.images.tag(image.id, "b")
        assert shelf.remove(image.id, force=True)[:3] == [
            "untagged a:latest", "untagged b:latest", f"deleted {image.id}",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("is_running", "how"), [(True, "cannot be forced"), (False, "must be forced")]
    )
    def test_a_used_image_is_not_removed_by_id(
        self, shelf: Shelf, *, is_running: bool, how: str
    ) -> None:
        image = shelf.add("a")
        shelf.use(image, is_running=is_running)
        state = "running" if is_running else "stopped"
        with pytest.raises(ImageInUseError) as refused:
            shelf.remove(image.id)
        assert str(refused.value) == (
            f"conflict: unable to delete {image.id[7:19]} ({how}) - "
            f"image is being used by {state} container {CONTAINER[:12]}"
        )
        assert shelf.images.list() == [image]

    def test_force_removes_a_stopped_containers_image_and_keeps_its_layers(
        self, shelf: Shelf
    ) -> None:
        image = shelf.add("a")
        shelf.layers.create_rw(CONTAINER, image.top)
        shelf.use(image, is_running=False)
        assert shelf.remove(image.id, force=True) == ["untagged a:latest", f"deleted {image.id}"]
        assert shelf.layers.rootfs(CONTAINER).bind_dir

    def test_a_child_stands_against_it_even_with_force(self, shelf: Shelf) -> None:
        image = shelf.add("a")
        shelf.child(image, "me", "b")
        with pytest.raises(ImageInUseError) as refused:
            shelf.remove(image.id, force=True)
        assert str(refused.value) == (
            f"conflict: unable to delete {image.id[7:19]} (cannot be forced) - "
            "image has dependent child images"
        )
        assert shelf.remove("a") == ["untagged a:latest"]

    def test_parents_without_a_name_go_too(self, shelf: Shelf) -> None:
        """API-033, RT-173."""
        base = shelf.add("base")
        middle = shelf.child(base, "middle")
        top = shelf.child(middle, "top", "test")
        assert shelf.remove("test") == [
            "untagged test:latest", f"deleted {top.id}", f"deleted {middle.id}",
        ]  # fmt: skip
        assert shelf.ids == {base.id}

    def test_parents_can_be_kept(self, shelf: Shelf) -> None:
        base = shelf.add("base")
        middle = shelf.child(base, "middle")
        shelf.child(middle, "top", "test")
        shelf.remove("test", noprune=True)
        assert shelf.ids == {base.id, middle.id}

    def test_a_repositorys_digests_go_with_its_last_tag(self, shelf: Shelf) -> None:
        image = shelf.add("a:1")
        shelf.images.create(
            shelf.images.document(image.id), reference=Reference.parse(f"a@{DIGEST}")
        )
        assert shelf.remove("a:1")[:3] == [
            "untagged a:1", f"untagged a@{DIGEST}", f"deleted {image.id}",
        ]  # fmt: skip

    def test_what_is_not_there_cannot_be_removed(self, shelf: Shelf) -> None:
        """RT-170."""
        image = shelf.add("a")
        with pytest.raises(ImageNotFoundError):
            shelf.remove("not-foo")
        assert shelf.ids == {image.id}

    def test_removals_survive_a_restart(self, shelf: Shelf) -> None:
        shelf.add("a")
        kept = shelf.add("b", "g")
        shelf.remove("a")
        shelf.open()
        assert shelf.ids == {kept.id}
        assert [layer.chain_id for layer in shelf.layers.layers()] == [kept.top]
