# SPDX-License-Identifier: Apache-2.0
"""The directories behind volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from toolkit.engine.volumes import VolumeDirectories, made_up_volume_name
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_volume_is_made_once_and_keeps_its_content(tmp_path: Path) -> None:
    volumes = VolumeDirectories(tmp_path)
    (volumes.create("v") / "file").write_text("kept")
    assert (volumes.create("v") / "file").read_text() == "kept"
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
    (volumes.create("v") / "link").symlink_to(canary)
    (tmp_path / "volumes" / "w").symlink_to(canary)
    volumes.remove("v")
    volumes.remove("w")
    assert (canary / "file").exists()
    assert list((tmp_path / "volumes").iterdir()) == []


def test_anonymous_names_are_64_hex_digits() -> None:
    name = made_up_volume_name()
    assert len(bytes.fromhex(name)) == 32
    assert name != made_up_volume_name()
