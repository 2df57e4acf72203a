# SPDX-License-Identifier: Apache-2.0
"""A layer while it is being made: in a directory that nobody else knows yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.storage.layer import Layer, chain_id_of
from toolkit.storage.layerfiles import LayerFile, write_layer_file
from toolkit.storage.limits import ArchiveLimits
from toolkit.storage.opened import opened_directories
from toolkit.storage.recipe import RECIPE_NAME, RecipeWriter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from toolkit.storage.compression import ByteSource
    from toolkit.storage.driver import Driver
    from toolkit.storage.layer import ChainId


@dataclass(frozen=True)
class StagedPlace:
    """Where a layer is made.

    Attributes:
        number: Of the directory that it is going to have.
        lower_dirs: The trees of the layers below, topmost first.
    """

    directory: Path
    number: int
    lower_dirs: Sequence[Path]


def limits_for(directory: Path, most_unpacked_bytes: int) -> ArchiveLimits:
    """Return the limits of an archive that is unpacked in a directory."""
    with opened_directories([directory]) as (dir_fd,):
        return ArchiveLimits.for_directory(dir_fd, most_unpacked_bytes)


def fill_layer(
    driver: Driver,
    stream: ByteSource,
    place: StagedPlace,
    *,
    parent: ChainId | None,
    limits: ArchiveLimits,
) -> Layer:
    """Unpack an archive as a layer, with its recipe and its file beside it.

    Raises:
        UnsafeArchiveError: The archive is no archive, or would leave its root.
        StorageError: The machine could not do it.
    """
    tree_dir = place.directory / "t"
    if not tree_dir.exists():
        tree_dir.mkdir(mode=0o755)
        tree_dir.chmod(0o755)
    with RecipeWriter(place.directory / RECIPE_NAME) as recipe:
        unpacked = driver.fill_layer(
            stream, tree_dir, lower_dirs=place.lower_dirs, limits=limits, recipe=recipe
        )
        recipe.finish()
    layer = Layer(
        chain_id=chain_id_of(parent, unpacked.diff_id),
        diff_id=unpacked.diff_id,
        parent=parent,
        size_bytes=unpacked.size_bytes,
        number=place.number,
        hides_all_below=unpacked.hides_all_below,
    )
    content = LayerFile(
        number=place.number,
        chain_id=layer.chain_id,
        diff_id=layer.diff_id,
        parent=parent or "",
        size_bytes=layer.size_bytes,
        hides_all_below=layer.hides_all_below,
    )
    write_layer_file(place.directory, content)
    return layer
