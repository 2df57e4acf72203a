# SPDX-License-Identifier: Apache-2.0
"""A layer's archive comes out of the store byte for byte as it went in."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.storage.archives import archive, directory, hard_link, member, symlink
from toolkit.errors import StorageError
from toolkit.storage.layers import LayerStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def layers(tmp_path: Path) -> LayerStore:
    return LayerStore(tmp_path, "vfs")


def made_again(layers: LayerStore, content: bytes) -> bytes:
    layer = layers.unpack(io.BytesIO(content), None)
    with layers.opened_archive(layer.chain_id) as opened:
        again = b"".join(opened.chunks())
        assert opened.size_bytes == len(again)
    layers.settle(layer.chain_id)
    return again


def many_kinds(**options: object) -> bytes:
    return archive(
        directory("./d"),
        member("./d/file", b"content" * 1000),
        member("./empty"),
        symlink("./link", "d/file"),
        hard_link("./hard", "./d/file"),
        member("./link-parent/../d/" + "n" * 120, b"long name"),
        **options,  # type: ignore[arg-type] # whatever tarfile takes
    ).getvalue()


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_comes_back_byte_for_byte(layers: LayerStore, form: int) -> None:
    content = many_kinds(format=form)

    assert made_again(layers, content) == content


def test_a_compressed_archive_comes_back_uncompressed(layers: LayerStore) -> None:
    content = many_kinds()

    assert made_again(layers, gzip.compress(content)) == content


def test_what_follows_the_end_of_an_archive_comes_back(layers: LayerStore) -> None:
    content = many_kinds() + b"\0" * 4096 + b"trailing"

    assert made_again(layers, content) == content


def test_whiteouts_come_back(layers: LayerStore) -> None:
    content = archive(member(".wh.gone"), member("d/.wh..wh..opq"), member("d/f", b"x")).getvalue()

    assert made_again(layers, content) == content


def test_a_file_that_was_changed_on_disk_is_told(layers: LayerStore, tmp_path: Path) -> None:
    layer = layers.unpack(archive(member("f", b"right")), None)
    (tmp_path / f"layers/vfs/l/{layer.number}/t/f").write_bytes(b"wrong")

    with (
        layers.opened_archive(layer.chain_id) as opened,
        pytest.raises(StorageError, match="were changed on disk"),
    ):
        list(opened.chunks())


def test_a_file_that_is_gone_is_named(layers: LayerStore, tmp_path: Path) -> None:
    layer = layers.unpack(archive(member("f", b"right")), None)
    (tmp_path / f"layers/vfs/l/{layer.number}/t/f").unlink()

    with layers.opened_archive(layer.chain_id) as opened, pytest.raises(StorageError, match="'f'"):
        list(opened.chunks())


@pytest.mark.parametrize("damage", [b"", b"TKR1", b"TKR1" + bytes(8), b"nonsense" * 9])
def test_a_damaged_recipe_is_told(layers: LayerStore, tmp_path: Path, damage: bytes) -> None:
    layer = layers.unpack(archive(member("f", b"right")), None)
    (tmp_path / f"layers/vfs/l/{layer.number}/recipe").write_bytes(damage)

    with pytest.raises(StorageError), layers.opened_archive(layer.chain_id) as opened:
        list(opened.chunks())


def test_an_open_archive_keeps_its_layer(layers: LayerStore) -> None:
    layer = layers.unpack(archive(member("f", b"right")), None)
    layers.settle(layer.chain_id)

    with layers.opened_archive(layer.chain_id) as opened:
        assert layers.collect(()) == []
        assert list(opened.chunks())
    assert layers.collect(()) == [layer.chain_id]


@settings(max_examples=25)
@given(contents=st.lists(st.binary(max_size=2000), max_size=8), tail=st.binary(max_size=600))
def test_any_files_and_any_tail_come_back(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], tail: bytes
) -> None:
    layers = LayerStore(tmp_path_factory.mktemp("store"), "vfs")
    files = [member(f"f{number}", content) for number, content in enumerate(contents)]
    content = archive(*files).getvalue() + tail

    again = made_again(layers, content)

    assert hashlib.sha256(again).digest() == hashlib.sha256(content).digest()
