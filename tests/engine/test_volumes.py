# SPDX-License-Identifier: Apache-2.0
"""The directories behind volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from toolkit.engine.volumes import VolumeDirectories, VolumeNotFoundError, made_up_volume_name
from toolkit.errors import InvalidRequestError, StorageError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_volume_is_made_once_and_keeps_its_content(tmp_path: Path) -> None:
    volumes = VolumeDirectories(tmp_path)
    place, is_new = volumes.create("v", labels={"k": "v"})
    (place / "file").write_text("kept")
    assert is_new
    assert volumes.create("v", labels={"other": ""}) == (place, False)
    assert (place / "file").read_text() == "kept"
    assert volumes.get("v").labels == {"k": "v"}
    assert volumes.data_dir("v") == tmp_path / "volumes" / "v" / "_data"
    volumes.remove("v")
    volumes.remove("v")
    assert not volumes.data_dir("v").parent.exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\0", "-x", "x" * 256, "a\n"])
def test_a_name_never_leaves_the_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="local volume name"):
        VolumeDirectories(tmp_path).create(name)


def test_removal_does_not_follow_links(tmp_path: Path) -> None:
    """Row S-29."""
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "file").touch()
    volumes = VolumeDirectories(tmp_path)
    (volumes.create("v")[0] / "link").symlink_to(canary)
    (tmp_path / "volumes" / "w").symlink_to(canary)
    volumes.remove("v")
    volumes.remove("w")
    assert (canary / "file").exists()
    assert list((tmp_path / "volumes").iterdir()) == []


def test_a_volume_replaced_by_a_link_is_not_used(tmp_path: Path) -> None:
    """Rows S-26 and S-29: neither its directory nor its content."""
    (tmp_path / "canary").mkdir()
    volumes = VolumeDirectories(tmp_path)
    volumes.create("v")[0].rmdir()
    volumes.data_dir("v").symlink_to(tmp_path / "canary")
    (tmp_path / "volumes" / "w").symlink_to(tmp_path / "canary")
    for name in ("v", "w"):
        with pytest.raises(StorageError, match="replaced"):
            volumes.create(name)
        with pytest.raises(VolumeNotFoundError):
            volumes.get(name)
    assert volumes.list() == []


def test_a_volume_without_its_notes_is_one_all_the_same(tmp_path: Path) -> None:
    volumes = VolumeDirectories(tmp_path)
    volumes.create("v", labels={"k": "v"})
    (tmp_path / "volumes/v/volume.json").write_text("{")
    (volume,) = volumes.list()
    assert (volume.name, volume.labels) == ("v", {})
    assert volume.place == str(volumes.data_dir("v"))


def test_anonymous_names_are_64_hex_digits() -> None:
    name = made_up_volume_name()
    assert len(bytes.fromhex(name)) == 32
    assert name != made_up_volume_name()
