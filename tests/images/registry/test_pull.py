# SPDX-License-Identifier: Apache-2.0
"""Pulling from a registry that may misbehave."""

from __future__ import annotations

import gzip
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from tests.fakes.registry import FakeRegistry, digest_of, manifest_of
from tests.images.registry.conftest import Shelf, big_layer, layer
from toolkit.errors import (
    DigestMismatchError,
    InvalidRequestError,
    RegistryError,
    RegistryUnreachableError,
    RemoteImageNotFoundError,
    StorageError,
    ToolkitError,
    UnsafeArchiveError,
)
from toolkit.images.image import InvalidImageError
from toolkit.images.references import Reference

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.images.progress import ProgressMessage


def short(content: bytes) -> str:
    return digest_of(content)[7:19]


def test_a_pull_tells_what_docker_tells_in_its_order(registry: FakeRegistry, shelf: Shelf) -> None:
    layers = [layer(name) for name in "abcd"]
    digest = registry.add_image("a/b", "1", layers)

    image = shelf.pull(f"{registry.host}/a/b:1")

    assert shelf.told[0].status == "Pulling from a/b"
    assert shelf.told[0].id == "1"
    assert shelf.of(short(layers[0])) == [
        "Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete",
        "Extracting", "Pull complete",
    ]  # fmt: skip
    assert shelf.of(short(layers[3]))[:2] == ["Pulling fs layer", "Waiting"]
    assert shelf.statuses[-2:] == [
        f"Digest: {digest}",
        f"Status: Downloaded newer image for {registry.host}/a/b:1",
    ]
    assert image.diff_ids == tuple(digest_of(one) for one in layers)
    assert image.references == (f"{registry.host}/a/b:1",)
    assert image.digests == (f"{registry.host}/a/b@{digest}",)
    assert shelf.downloads == []


def test_what_is_up_to_date_is_not_fetched(registry: FakeRegistry, shelf: Shelf) -> None:
    registry.add_image("b", "1", [layer("a")])
    shelf.pull(f"{registry.host}/b:1")
    registry.requests.clear()

    shelf.pull(f"{registry.host}/b:1")

    assert shelf.statuses[-1] == f"Status: Image is up to date for {registry.host}/b:1"
    assert registry.asked("/blobs/") == []


def test_a_layer_that_is_here_is_not_fetched(registry: FakeRegistry, shelf: Shelf) -> None:
    registry.add_image("b", "1", [layer("a")])
    registry.add_image("b", "2", [layer("a"), layer("b")])
    shelf.pull(f"{registry.host}/b:1")
    registry.requests.clear()

    shelf.pull(f"{registry.host}/b:2")

    assert shelf.of(short(layer("a")))[-1] == "Already exists"
    assert registry.asked(digest_of(layer("a"))) == []


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_compressed_layers_are_unpacked(
    registry: FakeRegistry, shelf: Shelf, compress: Any
) -> None:
    plain = layer("a")
    registry.add_image("b", "1", [plain])
    config = next(content for content in registry.blobs.values() if b"rootfs" in content)
    packed = compress(plain)
    registry.add_blob(packed)
    registry.add_manifest("b", "1", manifest_of(config, [packed]))

    assert shelf.pull(f"{registry.host}/b:1").diff_ids == (digest_of(plain),)


def test_a_list_is_chosen_from_by_platform(registry: FakeRegistry, shelf: Shelf) -> None:
    ours = registry.add_image("b", "x", [layer("a")])
    theirs = registry.add_image("b", "y", [layer("b")], architecture="s390x")
    registry.add_list("b", "1", [("s390x", theirs), ("amd64", ours)])

    assert shelf.pull(f"{registry.host}/b:1", platform="linux/amd64").architecture == "amd64"
    assert shelf.pull(f"{registry.host}/b:1", platform="linux/s390x").architecture == "s390x"
    with pytest.raises(RemoteImageNotFoundError, match="no matching manifest for linux/mips"):
        shelf.pull(f"{registry.host}/b:1", platform="linux/mips")


def test_an_image_for_another_platform_is_refused_when_one_is_asked_for(
    registry: FakeRegistry, shelf: Shelf
) -> None:
    registry.add_image("b", "1", [layer("a")])

    with pytest.raises(RemoteImageNotFoundError, match="does not match the specified platform"):
        shelf.pull(f"{registry.host}/b:1", platform="linux/s390x")
    assert shelf.is_clean


def test_a_digest_can_be_pulled(registry: FakeRegistry, shelf: Shelf) -> None:
    digest = registry.add_image("b", "1", [layer("a")])

    image = shelf.pull(f"{registry.host}/b@{digest}")

    assert image.references == ()
    assert image.digests == (f"{registry.host}/b@{digest}",)


def test_all_tags_are_pulled_page_by_page(registry: FakeRegistry, shelf: Shelf) -> None:
    for tag in "abcde":
        registry.add_image("b", tag, [layer("a")], author=tag)
    registry.page = 2

    shelf.pull(f"{registry.host}/b", every_tag=True)

    assert len(shelf.images.list()) == 5


def test_a_connection_that_breaks_is_taken_up_where_it_broke(
    registry: FakeRegistry, shelf: Shelf
) -> None:
    big = big_layer("a")
    registry.add_image("b", "1", [big])
    registry.faults.cut_after[digest_of(big)] = 120_000
    registry.faults.cuts = 2

    shelf.pull(f"{registry.host}/b:1")

    ranges = [headers.get("Range") for headers in registry.asked(digest_of(big))]
    assert ranges == [None, "bytes=120000-", "bytes=240000-"]


def test_a_registry_that_ignores_ranges_is_coped_with(registry: FakeRegistry, shelf: Shelf) -> None:
    big = big_layer("a")
    registry.add_image("b", "1", [big])
    registry.faults.cut_after[digest_of(big)] = 120_000
    registry.faults.cuts = 1
    registry.faults.ignores_range = True

    assert shelf.pull(f"{registry.host}/b:1").diff_ids == (digest_of(big),)


def test_a_pull_that_failed_is_resumed_by_the_next(registry: FakeRegistry, shelf: Shelf) -> None:
    big = big_layer("a")
    registry.add_image("b", "1", [big])
    registry.faults.cut_after[digest_of(big)] = 50_000
    with pytest.raises(RegistryUnreachableError):
        shelf.pull(f"{registry.host}/b:1")
    assert shelf.is_clean
    registry.faults.cut_after.clear()
    registry.requests.clear()
    shelf.open()

    shelf.pull(f"{registry.host}/b:1")

    assert [one.get("Range") for one in registry.asked(digest_of(big))] == ["bytes=150000-"]
    assert shelf.downloads == []


@pytest.mark.parametrize("tag", ["1", "2"])
def test_what_is_left_of_layers_that_are_here_is_removed(
    registry: FakeRegistry, shelf: Shelf, tag: str
) -> None:
    """A pull that was killed between its last layer and its end leaves their blobs whole."""
    below = layer("a")
    registry.add_image("b", "1", [below])
    registry.add_image("b", "2", [below, layer("b")])
    shelf.pull(f"{registry.host}/b:1")
    left = shelf.data_dir / "downloads" / f"{digest_of(below)[7:]}.{len(below)}"
    left.write_bytes(below)

    shelf.pull(f"{registry.host}/b:{tag}")

    assert shelf.downloads == []


def test_what_is_left_and_bad_is_fetched_again(registry: FakeRegistry, shelf: Shelf) -> None:
    """S-54: nothing on disk is believed."""
    big = big_layer("a")
    registry.add_image("b", "1", [big])
    name = f"{digest_of(big)[7:]}.{len(big)}"
    (shelf.data_dir / "downloads" / name).write_bytes(b"z" * 1000)

    assert shelf.pull(f"{registry.host}/b:1").diff_ids == (digest_of(big),)


def test_a_blob_that_is_not_what_its_digest_says_is_refused(
    registry: FakeRegistry, shelf: Shelf
) -> None:
    """S-54 S-59"""
    good, bad = layer("a"), layer("b")
    registry.add_image("b", "1", [good])
    registry.blobs[digest_of(good)] = bad

    with pytest.raises(DigestMismatchError, match="filesystem layer verification failed"):
        shelf.pull(f"{registry.host}/b:1")
    assert shelf.is_clean
    assert shelf.downloads == []


def test_a_layer_that_is_not_what_the_document_says_is_refused(
    registry: FakeRegistry, shelf: Shelf
) -> None:
    """S-54: the blob is right, and is not the layer that the image names."""
    registry.add_image("b", "1", [layer("a")])
    config = next(content for content in registry.blobs.values() if b"rootfs" in content)
    registry.add_blob(layer("b"))
    registry.add_manifest("b", "1", manifest_of(config, [layer("b")]))

    with pytest.raises(DigestMismatchError, match="layer content"):
        shelf.pull(f"{registry.host}/b:1")
    assert shelf.is_clean


def test_a_manifest_that_is_not_what_was_asked_for_is_refused(
    registry: FakeRegistry, shelf: Shelf
) -> None:
    digest = registry.add_image("b", "1", [layer("a")])
    other = registry.add_image("b", "2", [layer("b")])
    registry.manifests[f"b:{digest}"] = registry.manifests[f"b:{other}"]

    with pytest.raises(DigestMismatchError, match="manifest verification failed"):
        shelf.pull(f"{registry.host}/b@{digest}")


def test_a_document_that_is_not_what_its_digest_says_is_refused(
    registry: FakeRegistry, shelf: Shelf
) -> None:
    registry.add_image("b", "1", [layer("a")])
    digest = next(digest for digest, content in registry.blobs.items() if b"rootfs" in content)
    registry.blobs[digest] = registry.blobs[digest].replace(b"amd64", b"amd65")

    with pytest.raises(DigestMismatchError, match="image config verification failed"):
        shelf.pull(f"{registry.host}/b:1")


@pytest.mark.parametrize("difference", [-10, 10])
def test_a_layer_of_another_size_than_told_is_refused(
    registry: FakeRegistry, shelf: Shelf, difference: int
) -> None:
    """S-59: larger or smaller than declared."""
    content = layer("a")
    registry.add_image("b", "1", [content])
    config = next(content for content in registry.blobs.values() if b"rootfs" in content)
    manifest = manifest_of(config, [content])
    manifest["layers"][0]["size"] += difference
    registry.add_manifest("b", "1", manifest)

    with pytest.raises(RegistryError):
        shelf.pull(f"{registry.host}/b:1")
    assert shelf.is_clean


def test_a_wrong_part_of_a_blob_is_refused(registry: FakeRegistry, shelf: Shelf) -> None:
    big = big_layer("a")
    registry.add_image("b", "1", [big])
    registry.faults.cut_after[digest_of(big)] = 100_000
    registry.faults.cuts = 1
    registry.faults.wrong_range = True

    with pytest.raises(DigestMismatchError, match="bytes from 100000 on"):
        shelf.pull(f"{registry.host}/b:1")


@pytest.mark.parametrize("part", ["/v2/", "/manifests/", "/blobs/"])
def test_an_endless_answer_is_refused(registry: FakeRegistry, shelf: Shelf, part: str) -> None:
    """S-59"""
    registry.add_image("b", "1", [layer("a")])
    registry.faults.endless = part

    with pytest.raises(RegistryError):
        shelf.pull(f"{registry.host}/b:1")
    assert shelf.is_clean


def test_an_answer_that_drips_is_given_up(registry: FakeRegistry, tmp_path: Path) -> None:
    """S-59"""
    shelf = Shelf(tmp_path, {"slow_seconds": 0.3, "attempts": 1})
    registry.add_image("b", "1", [layer("a")])
    registry.faults.drips = "/manifests/"

    with pytest.raises(RegistryUnreachableError, match="too slowly"):
        shelf.pull(f"{registry.host}/b:1")


def test_a_busy_registry_is_asked_again(registry: FakeRegistry, shelf: Shelf) -> None:
    registry.add_image("b", "1", [layer("a")])
    registry.faults.statuses = {"/manifests/": [503, 429], "/blobs/": [500]}

    shelf.pull(f"{registry.host}/b:1")

    assert len(registry.asked("/manifests/")) == 3


def test_nobody_asks_for_ever(registry: FakeRegistry, shelf: Shelf) -> None:
    registry.faults.statuses = {"/manifests/": [503] * 9}

    with pytest.raises(RegistryUnreachableError, match="503"):
        shelf.pull(f"{registry.host}/b:1")
    assert len(registry.asked("/manifests/")) == 3


def test_an_unknown_tag_is_told_before_anything_else(registry: FakeRegistry, shelf: Shelf) -> None:
    with pytest.raises(RemoteImageNotFoundError, match=r"manifest for .* not found") as caught:
        shelf.pull(f"{registry.host}/b:1")
    assert caught.value.status == 404
    assert shelf.told == []


def test_a_hostile_layer_leaves_nothing(registry: FakeRegistry, shelf: Shelf) -> None:
    """S-50"""
    registry.add_image("b", "1", [layer("good"), layer("../escape")])

    with pytest.raises(UnsafeArchiveError):
        shelf.pull(f"{registry.host}/b:1")
    assert shelf.is_clean
    assert not (shelf.data_dir.parent / "escape").exists()


def test_a_listener_that_is_gone_ends_the_pull(registry: FakeRegistry, shelf: Shelf) -> None:
    big = big_layer("a")
    registry.add_image("b", "1", [big])

    class GoneError(Exception):
        pass

    def listen(message: ProgressMessage) -> None:
        if message.status == "Downloading":
            raise GoneError

    with pytest.raises(GoneError):
        shelf.registries.pull(Reference.parse(f"{registry.host}/b:1"), listen)
    assert shelf.is_clean


def test_two_pulls_of_one_layer_fetch_it_once(registry: FakeRegistry, shelf: Shelf) -> None:
    big = big_layer("a")
    registry.add_image("b", "1", [big])
    registry.add_image("c", "1", [big], author="other")
    held = registry.faults.pause[digest_of(big)] = threading.Event()
    failures: list[BaseException] = []

    def pull(name: str) -> None:
        try:
            shelf.pull(f"{registry.host}/{name}:1")
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=pull, args=(name,)) for name in "bc"]
    for thread in threads:
        thread.start()
    while sum(status == "Pulling fs layer" for status in shelf.statuses) < 2:
        assert not failures
    held.set()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(registry.asked(digest_of(big))) == 1
    assert len(shelf.images.list()) == 2
    assert shelf.downloads == []


@pytest.mark.parametrize(
    "change",
    [
        {"layers": "none"},
        {"layers": [{"digest": "../../x", "size": 1}]},
        {"layers": [{"digest": "sha256:" + "a" * 64, "size": -1}]},
        {"layers": [{"digest": "sha256:" + "a" * 64, "size": True}]},
        {"layers": [{"digest": "sha256:" + "a" * 64, "size": 1, "mediaType": "text/html"}]},
        {"layers": []},
        {"config": None},
        {"manifests": []},
        {"mediaType": "application/vnd.docker.distribution.manifest.v1+json"},
        {"deep": json.loads("[" * 90 + "]" * 90)},
    ],
)
def test_a_manifest_that_is_none_is_refused(
    registry: FakeRegistry, shelf: Shelf, change: dict[str, Any]
) -> None:
    """S-55"""
    registry.add_image("b", "1", [layer("a")])
    config = next(content for content in registry.blobs.values() if b"rootfs" in content)
    registry.add_manifest("b", "1", {**manifest_of(config, [layer("a")]), **change})

    with pytest.raises(InvalidImageError):
        shelf.pull(f"{registry.host}/b:1")
    assert shelf.is_clean


def test_a_layer_longer_than_allowed_is_refused_unseen(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path, {"most_layer_bytes": 1000})
    registry.add_image("b", "1", [big_layer("a")])

    with pytest.raises(InvalidRequestError):
        shelf.pull(f"{registry.host}/b:1")
    assert registry.asked(digest_of(big_layer("a"))) == []


def test_layers_that_cannot_fit_are_refused_unseen(registry: FakeRegistry, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, {"most_layer_bytes": 1 << 62})
    registry.add_image("b", "1", [layer("a")])
    config = next(content for content in registry.blobs.values() if b"rootfs" in content)
    manifest = manifest_of(config, [layer("a")])
    manifest["layers"][0]["size"] = 1 << 60
    registry.add_manifest("b", "1", manifest)

    with pytest.raises(StorageError, match="not enough space"):
        shelf.pull(f"{registry.host}/b:1")


def test_a_registry_that_is_not_there_is_named(shelf: Shelf) -> None:
    with pytest.raises(ToolkitError, match=r"127.0.0.1:1/") as caught:
        shelf.pull("127.0.0.1:1/b:1")
    assert "toolkit image bootstrap" in caught.value.hint
