# SPDX-License-Identifier: Apache-2.0
"""Where layers and containers' own directories are on disk, and how they come and go.

Below ``<data>/layers/<driver>/``:

- ``l/<n>/layer.json`` and ``l/<n>/t``: a layer, or an init layer, with ``recipe``
  for a layer's archive; the number is short because the kernel takes one page
  of mount data for all of them
- ``rw/<container id>/``: a container's own directory; ``top`` is a link whose
  text names the layer that it stands on
- ``staging``, ``trash``: what is being made or removed. Anything in there after
  a crash is nobody's.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
from typing import TYPE_CHECKING, Final

from toolkit.errors import InvalidRequestError, StorageError
from toolkit.kernel.directories import sync_directory
from toolkit.storage.layer import ChainId, Layer, chain_id_of, chain_id_or_none
from toolkit.storage.layerfiles import read_layer_files
from toolkit.storage.trees import remove_entry

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.storage.driver import Driver
    from toolkit.storage.layer import LayerIndex

_LOG: Final = logging.getLogger(__name__)
_CONTAINER_ID: Final = re.compile(r"[0-9a-f]{64}")
_NO_LAYER: Final = "none"
_TOP: Final = "top"


class LayerDirectories:
    """The directories of one driver's layers and containers.

    Args:
        base_dir: Where all of them are; made if it is not there.
        driver: Makes and removes them.

    Attributes:
        staging_dir: Where something is made before it is renamed into its place.
    """

    def __init__(self, base_dir: Path, driver: Driver) -> None:
        self.base_dir = base_dir
        self.staging_dir = base_dir / "staging"
        self._driver = driver
        self._last_number = 0
        self._scratch = itertools.count()
        for name in ("l", "rw", "staging", "trash"):
            (base_dir / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    def load(self, index: LayerIndex) -> None:
        """Find out which layers and containers there are."""
        found, damaged = read_layer_files(self.base_dir / "l")
        self._last_number = max([0, *(entry.number for entry in found), *damaged])
        for entry in found:
            if entry.init_of is not None:
                index.inits[chain_id_or_none(entry.init_of)] = entry.number
                continue
            parent = chain_id_or_none(entry.parent)
            if entry.chain_id != chain_id_of(parent, entry.diff_id):
                _LOG.warning("layer directory %d has another layer's name", entry.number)
                continue
            layer = Layer(
                chain_id=ChainId(entry.chain_id),
                diff_id=entry.diff_id,
                parent=parent,
                size_bytes=entry.size_bytes,
                number=entry.number,
                hides_all_below=entry.hides_all_below,
            )
            index.layers[layer.chain_id] = layer
        for directory in (self.base_dir / "rw").iterdir():
            try:
                top = str((directory / _TOP).readlink())
            except OSError:  # half removed; `sweep` or a new start deals with it
                continue
            index.tops[directory.name] = chain_id_or_none(top)

    def next_number(self) -> int:
        """Return a number that no layer's directory has had."""
        self._last_number += 1
        return self._last_number

    def layer_dir(self, number: int) -> Path:
        """Return a layer's directory."""
        return self.base_dir / "l" / str(number)

    def rw_dir(self, container_id: str) -> Path:
        """Return a container's own directory."""
        return self.base_dir / "rw" / container_id

    def scratch_name(self, name: str) -> str:
        """Return a name that nothing in ``staging`` and ``trash`` has."""
        return f"{name}.{next(self._scratch)}"

    def publish_layer(self, staged_dir: Path, number: int) -> None:
        """Put a layer that is on disk into its place, to be found after a power cut."""
        staged_dir.rename(self.layer_dir(number))
        sync_directory(self.base_dir / "l")

    def publish_rw(self, staged_dir: Path, container_id: str, top: ChainId | None) -> None:
        """Put a container's directory into its place, with what it stands on."""
        (staged_dir / _TOP).symlink_to(top or _NO_LAYER)
        staged_dir.rename(self.rw_dir(container_id))

    def trash(self, directory: Path) -> Path:
        """Take a directory out of sight; return where it is now.

        Raises:
            FileNotFoundError: There is none.
        """
        trashed = self.base_dir / "trash" / self.scratch_name(directory.name)
        directory.rename(trashed)
        return trashed

    def remove(self, directory: Path) -> None:
        """Remove a directory with all that is in it; none is no error.

        Raises:
            StorageError: It cannot be removed.
        """
        if self._driver.remove_directory(directory):
            return
        parent_fd = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_entry(parent_fd, os.fsencode(directory.name))
        except OSError as error:
            raise StorageError(f"cannot remove {directory}: {error.strerror}") from error
        finally:
            os.close(parent_fd)

    def left_over(self, known: set[str]) -> list[Path]:
        """Return what a crash left: all that is staged or trashed, and unknown containers'."""
        return [
            *sorted((self.base_dir / "staging").iterdir()),
            *sorted((self.base_dir / "trash").iterdir()),
            *(path for path in sorted((self.base_dir / "rw").iterdir()) if path.name not in known),
        ]


def check_container_id(container_id: str) -> None:
    """Refuse what is no full id, before it becomes part of a path (row S-52).

    Raises:
        InvalidRequestError: It is none.
    """
    if not _CONTAINER_ID.fullmatch(container_id):
        raise InvalidRequestError(f"not a container id: {container_id[:80]!r}")
