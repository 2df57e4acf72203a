# SPDX-License-Identifier: Apache-2.0
"""Pushing: what is sent, what is not, and what is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.registry import FakeRegistry, digest_of
from tests.images.registry.conftest import Shelf, big_layer, layer
from tests.storage.archives import archive, member
from toolkit.errors import ImageNotFoundError, RegistryAuthError, RegistryError, StorageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def name(registry: FakeRegistry, shelf: Shelf) -> str:
    """An image of one layer that this registry has never seen."""
    text = f"{registry.host}/a/b:1"
    shelf.images.import_tar(archive(member("f", b"content" * 1000)), reference=text)
    return text


def test_what_was_pushed_can_be_pulled(
    registry: FakeRegistry, shelf: Shelf, name: str, tmp_path: Path
) -> None:
    shelf.push(name)
    other = Shelf(tmp_path / "other")

    pulled = other.pull(name)

    assert pulled.id == shelf.images.resolve(name).id
    assert registry.manifests


def test_a_push_tells_what_docker_tells(registry: FakeRegistry, shelf: Shelf, name: str) -> None:
    (digest,) = shelf.push(name)
    diff_id = shelf.images.resolve(name).diff_ids[0]

    assert shelf.statuses[0] == f"The push refers to repository [{registry.host}/a/b]"
    assert shelf.of(diff_id[7:19]) == ["Preparing", "Pushing", "Pushed"]
    size = len(registry.manifests[f"a/b:{digest}"][1])
    assert shelf.told[-2].status == f"1: digest: {digest} size: {size}"
    assert shelf.told[-1].aux == {"Tag": "1", "Digest": digest, "Size": size}
    assert shelf.images.resolve(name).digests == (f"{registry.host}/a/b@{digest}",)


def test_a_second_push_sends_nothing_and_gives_the_same_digest(
    registry: FakeRegistry, shelf: Shelf, name: str
) -> None:
    first = shelf.push(name)
    registry.requests.clear()

    assert shelf.push(name) == first
    assert registry.asked("/blobs/uploads/", "PATCH") == []
    assert "Layer already exists" in shelf.statuses


def test_a_layer_is_mounted_from_another_repository(
    registry: FakeRegistry, shelf: Shelf, name: str
) -> None:
    shelf.push(name)
    registry.requests.clear()
    shelf.images.tag(shelf.images.resolve(name).id, f"{registry.host}/c:1")

    shelf.push(f"{registry.host}/c:1")

    assert "Mounted from a/b" in shelf.statuses
    assert registry.repositories["c"] >= registry.repositories["a/b"] - {
        shelf.images.resolve(name).id
    }


def test_a_layer_that_cannot_be_mounted_is_sent(
    registry: FakeRegistry, shelf: Shelf, name: str
) -> None:
    """S-59: a registry that does not share is not made to."""
    shelf.push(name)
    registry.repositories.update({"a/b": set(), "c": set()})
    shelf.images.tag(shelf.images.resolve(name).id, f"{registry.host}/c:1")

    shelf.push(f"{registry.host}/c:1")

    assert shelf.statuses.count("Pushed") == 2


def test_a_layer_that_was_pulled_keeps_its_blob(registry: FakeRegistry, shelf: Shelf) -> None:
    registry.add_image("b", "1", [big_layer("a")])
    shelf.pull(f"{registry.host}/b:1")
    registry.requests.clear()

    shelf.push(f"{registry.host}/b:1")

    assert registry.asked("/blobs/uploads/", "POST") == []


def test_the_same_layer_is_compressed_to_the_same_blob(
    registry: FakeRegistry, shelf: Shelf, name: str, tmp_path: Path
) -> None:
    other = Shelf(tmp_path / "other")
    other.images.import_tar(archive(member("f", b"content" * 1000)), reference=name)
    shelf.push(name)
    registry.requests.clear()

    other.push(name)

    assert "Layer already exists" in other.statuses


def test_all_local_tags_are_pushed(registry: FakeRegistry, shelf: Shelf, name: str) -> None:
    shelf.images.tag(shelf.images.resolve(name).id, f"{registry.host}/a/b:2")

    shelf.push(f"{registry.host}/a/b")

    assert {"a/b:1", "a/b:2"} <= set(registry.manifests)


def test_an_upload_that_fails_is_begun_again(
    registry: FakeRegistry, shelf: Shelf, name: str
) -> None:
    registry.faults.statuses = {"/blobs/uploads/u0": [500]}

    shelf.push(name)

    assert len(registry.asked("/blobs/uploads/", "PATCH")) == 3  # twice the layer, and the document


def test_an_unknown_image_is_told_first(registry: FakeRegistry, shelf: Shelf) -> None:
    with pytest.raises(ImageNotFoundError):
        shelf.push(f"{registry.host}/nope:1")
    with pytest.raises(ImageNotFoundError):
        shelf.push(f"{registry.host}/nope")
    assert shelf.told == []


def test_a_registry_that_does_not_take_it_says_why(
    registry: FakeRegistry, shelf: Shelf, name: str
) -> None:
    registry.faults.statuses = {"/manifests/": [403]}

    with pytest.raises(RegistryAuthError, match="push access denied"):
        shelf.push(name)


@pytest.mark.parametrize("location", ["", "ftp://h/x", "file:///etc/passwd", "http://u:p@h/"])
def test_an_upload_to_something_else_is_refused(
    registry: FakeRegistry, shelf: Shelf, name: str, location: str
) -> None:
    """S-59"""
    registry.upload_location = location

    with pytest.raises(RegistryError, match="refused an upload"):
        shelf.push(name)
    assert shelf.downloads == []


def test_a_layer_changed_on_disk_is_not_pushed(
    registry: FakeRegistry, shelf: Shelf, name: str
) -> None:
    number = shelf.layers.layers()[0].number
    (shelf.data_dir / f"layers/vfs/l/{number}/t/f").write_bytes(b"CONTENT" * 1000)

    with pytest.raises(StorageError, match="changed on disk"):
        shelf.push(name)
    assert not registry.manifests
    assert digest_of(layer("a")) not in registry.blobs
