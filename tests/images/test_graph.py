# SPDX-License-Identifier: Apache-2.0
"""What docker 0.7.2's graph promised, held by images that are named by their content."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from tests.images.test_archive_save import Shelf
from tests.storage.archives import archive, directory, member
from toolkit.errors import ImageNotFoundError, UnsafeArchiveError

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.images.image import Image


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "data")


def small_tar(content: bytes = b"Hello world!\n") -> io.BytesIO:
    """Return an archive of three absolute names, as 0.7.2's tests had it."""
    names = ("/etc/passwd", "/etc/postgres/postgres.conf", "/var/log/postgres/postgres.conf")
    return archive(*(member(name, content) for name in names))


def made(shelf: Shelf, content: bytes = b"x") -> Image:
    return shelf.images.import_tar(small_tar(content), message="Testing")


def remove(shelf: Shelf, text: str) -> None:
    shelf.images.remove(text, force=False, noprune=False, users=lambda _: ())


def test_a_new_graph_is_empty_and_has_its_directory(shelf: Shelf) -> None:
    """RT-165, API-070."""
    assert (shelf.data_dir / "images").is_dir()
    assert shelf.images.list() == []


def test_an_image_keeps_its_comment_and_can_be_had_again(shelf: Shelf) -> None:
    """RT-167, RT-168, API-072, API-073."""
    image = made(shelf)
    assert [one.id for one in shelf.images.list()] == [image.id]
    assert shelf.images.get(image.id) == image
    assert image.comment == "Testing"
    assert image.history[0]["comment"] == "Testing"


def test_an_images_tree_is_that_of_its_archive(shelf: Shelf) -> None:
    """RT-164, API-069: three absolute names, and where the driver has them."""
    image = made(shelf)
    container_id = "a" * 64
    shelf.layers.create_rw(container_id, image.top)
    source = shelf.layers.rootfs(container_id)
    root = shelf.data_dir / "layers/vfs" / source.bind_dir
    assert (root / "etc/postgres/postgres.conf").read_bytes() == b"x"


def test_the_beginning_of_an_id_is_enough_to_delete(shelf: Shelf) -> None:
    """RT-169, API-074."""
    remove(shelf, made(shelf).id.removeprefix("sha256:")[:12])
    assert shelf.images.list() == []
    assert shelf.layers.layers() == []


def test_images_come_and_go(shelf: Shelf) -> None:
    """API-075; two that are the same are one here."""
    first = made(shelf)
    remove(shelf, first.id)
    assert shelf.images.list() == []
    first, second = made(shelf), made(shelf, b"y")
    remove(shelf, first.id)
    assert [one.id for one in shelf.images.list()] == [second.id]
    with pytest.raises(ImageNotFoundError):
        remove(shelf, "not_foo")
    again = made(shelf)
    assert again.diff_ids == first.diff_ids
    remove(shelf, again.id)
    assert [one.id for one in shelf.images.list()] == [second.id]


def test_a_registration_that_breaks_off_leaves_nothing_in_the_way(shelf: Shelf) -> None:
    """API-071: the stream breaks, and the same image is registered afterwards."""
    content = small_tar().getvalue()
    with pytest.raises(UnsafeArchiveError):
        shelf.images.import_tar(io.BytesIO(content[:1500]))
    assert shelf.images.list() == []
    assert shelf.layers.layers() == []
    image = shelf.images.import_tar(io.BytesIO(content))
    assert [one.id for one in shelf.images.list()] == [image.id]


def test_children_know_their_parent(shelf: Shelf) -> None:
    """RT-171, API-076."""
    parent = made(shelf)
    for name in ("one", "two"):
        layer = shelf.layers.unpack(archive(directory(name)), parent.top)
        document = {
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [*parent.diff_ids, layer.diff_id]},
        }
        shelf.images.create(document, parent=parent.id)
        shelf.layers.settle(layer.chain_id)
    children = [one for one in shelf.images.list() if one.parent == parent.id]
    assert len(children) == 2
