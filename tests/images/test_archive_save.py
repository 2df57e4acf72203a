# SPDX-License-Identifier: Apache-2.0
"""What `docker save` writes: one archive in two layouts, the same bytes each time."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.registry import digest_of
from tests.storage.archives import archive, member
from toolkit.errors import ImageNotFoundError
from toolkit.images.archive_load import ImageArchives
from toolkit.images.references import Reference
from toolkit.images.store import ImageStore
from toolkit.storage.layers import LayerStore

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.images.image import Image


class Shelf:
    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.layers = LayerStore(data_dir, "vfs")
        self.images = ImageStore(data_dir, self.layers)
        self.archives = ImageArchives(data_dir, self.images, self.layers)

    def add(self, reference: str, *names: str) -> Image:
        """Keep an image of one layer a name."""
        first, *rest = (archive(member(name, name.encode() * 50)) for name in names)
        image = self.images.import_tar(first, reference=reference)
        document = json.loads(self.images.document(image.id))
        top = image.top
        for stream in rest:
            layer = self.layers.unpack(stream, top)
            top = layer.chain_id
            document["rootfs"]["diff_ids"].append(layer.diff_id)
            document["history"].append({"created_by": "test"})
        return self.images.create(document, reference=Reference.parse(reference))

    def save(self, *names: str) -> bytes:
        return b"".join(self.archives.save(names).chunks())


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def files(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        return {
            one.name: file.read() for one in opened if (file := opened.extractfile(one)) is not None
        }


def document(found: dict[str, bytes], name: str) -> Any:
    return json.loads(found[name])


def test_an_archive_is_a_docker_archive(shelf: Shelf) -> None:
    image = shelf.add("a/b:1", "x", "y")

    found = files(shelf.save("a/b:1"))

    (entry,) = document(found, "manifest.json")
    assert entry["RepoTags"] == ["a/b:1"]
    assert digest_of(found[entry["Config"]]) == image.id
    assert tuple(digest_of(found[name]) for name in entry["Layers"]) == image.diff_ids
    assert document(found, "repositories") == {"a/b": {"1": image.diff_ids[-1][7:]}}


def test_an_archive_is_an_oci_layout(shelf: Shelf) -> None:
    image = shelf.add("a/b:1", "x", "y")

    found = files(shelf.save("a/b:1"))

    assert document(found, "oci-layout") == {"imageLayoutVersion": "1.0.0"}
    (entry,) = document(found, "index.json")["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/a/b:1"
    manifest = found["blobs/sha256/" + entry["digest"][7:]]
    assert digest_of(manifest) == entry["digest"]
    assert len(manifest) == entry["size"]
    assert [one["digest"] for one in json.loads(manifest)["layers"]] == list(image.diff_ids)


def test_the_same_images_give_the_same_bytes(shelf: Shelf) -> None:
    shelf.add("a:1", "x", "y")
    shelf.add("b:1", "x", "z")

    assert shelf.save("a:1", "b:1") == shelf.save("a:1", "b:1")


def test_a_shared_layer_is_written_once(shelf: Shelf) -> None:
    shelf.add("a:1", "x", "y")
    shelf.add("b:1", "x", "z")
    content = shelf.save("a:1", "b:1")

    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        names = opened.getnames()

    assert len(names) == len(set(names))
    assert len(document(files(content), "manifest.json")) == 2


def test_a_repository_without_tag_means_all_of_its_tags(shelf: Shelf) -> None:
    image = shelf.add("a:1", "x")
    shelf.images.tag(image.id, "a:2")
    shelf.images.tag(image.id, "other:2")

    (entry,) = document(files(shelf.save("a")), "manifest.json")

    assert entry["RepoTags"] == ["a:1", "a:2"]


def test_an_id_is_saved_without_a_name(shelf: Shelf) -> None:
    image = shelf.add("a:1", "x")

    found = files(shelf.save(image.id[7:19]))

    assert document(found, "manifest.json")[0]["RepoTags"] is None
    assert "repositories" not in found


def test_an_unknown_name_is_told_before_the_first_byte(shelf: Shelf) -> None:
    with pytest.raises(ImageNotFoundError):
        shelf.archives.save(["nope:1"])


def test_what_was_saved_is_loaded_as_the_same_image(shelf: Shelf, tmp_path: Path) -> None:
    image = shelf.add("a/b:1", "x", "y")
    other = Shelf(tmp_path / "other")
    told: list[str] = []

    loaded = other.archives.load(
        io.BytesIO(shelf.save("a/b:1")), lambda message: told.append(message.stream), quiet=True
    )

    assert [one.id for one in loaded] == [image.id]
    assert told == ["Loaded image: a/b:1\n"]
    assert other.save("a/b:1") == shelf.save("a/b:1")
