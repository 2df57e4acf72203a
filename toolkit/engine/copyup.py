# SPDX-License-Identifier: Apache-2.0
"""What a new volume gets of the image: its content, owner and mode there (rules 8.12, 8.13).

As docker does today, at create, and the owner also of an empty directory. Only
what is inside the image's tree is copied: it is found by descriptor, and links
are copied as links (row S-28).
"""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack
from typing import TYPE_CHECKING

from toolkit.errors import KernelCallError, StorageError
from toolkit.kernel.paths import open_in_root
from toolkit.storage.copies import copy_tree
from toolkit.storage.opened import opened_directories
from toolkit.storage.trees import remove_entry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from toolkit.engine.model import Mount
    from toolkit.engine.ports import Layers


def fill_new_volumes(
    layers: Layers, container_id: str, targets: Sequence[tuple[Mount, Path]]
) -> None:
    """Copy what the image has at the targets of empty volumes into them.

    Args:
        layers: What knows the container's root.
        container_id: Whose.
        targets: Mounts of volumes, and where the content of each is.

    Raises:
        StorageError: Something cannot be copied; a volume is either filled or empty.
    """
    wanted = [(mount, data_dir) for mount, data_dir in targets if _is_empty(data_dir)]
    if not wanted:
        return

    def fill(root_fd: int) -> None:
        for mount, data_dir in wanted:
            _fill(root_fd, mount.target, data_dir)

    layers.read_tree(container_id, fill)


def _fill(root_fd: int, target: str, data_dir: Path) -> None:
    try:
        image_fd = open_in_root(root_fd, target, os.O_RDONLY | os.O_DIRECTORY)
    except KernelCallError:  # not there, or no directory: the start tells
        return
    with ExitStack() as opened:
        opened.callback(os.close, image_fd)
        (volume_fd,) = opened.enter_context(opened_directories([data_dir.parent]))
        name = f".filling.{secrets.token_hex(8)}".encode()
        os.mkdir(name, 0o700, dir_fd=volume_fd)
        opened.callback(remove_entry, volume_fd, name)
        new_fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=volume_fd)
        opened.callback(os.close, new_fd)
        copy_tree(image_fd, new_fd)
        try:
            # Whole or not at all; what has come into the volume meanwhile is kept.
            os.rename(name, os.fsencode(data_dir.name), src_dir_fd=volume_fd, dst_dir_fd=volume_fd)
        except FileExistsError:
            return
        except OSError as error:
            if data_dir.is_dir() and not _is_empty(data_dir):
                return
            raise StorageError(f"cannot fill the volume at {target}: {error.strerror}") from error


def _is_empty(data_dir: Path) -> bool:
    with os.scandir(data_dir) as entries:
        return next(entries, None) is None
