# SPDX-License-Identifier: Apache-2.0
"""The directories behind volumes: made when a container asks, kept until removed.

Content of the image is not copied into a new volume yet.
"""

from __future__ import annotations

import re
import secrets
import shutil
from typing import TYPE_CHECKING, Final

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")


def checked_volume_name(name: str) -> str:
    """Return a volume's name.

    Raises:
        InvalidRequestError: It is not one.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            f"{name!r} includes invalid characters for a local volume name, only "
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, '
            "use absolute path"
        )
    return name


def made_up_volume_name() -> str:
    """Return the name of an anonymous volume."""
    return secrets.token_hex(32)


class VolumeDirectories:
    """The volumes of an instance, each a directory that holds ``_data``."""

    def __init__(self, data_dir: Path) -> None:
        self._dir = data_dir / "volumes"

    def data_dir(self, name: str) -> Path:
        """Return where a volume's content is, whether it exists or not."""
        return self._dir / checked_volume_name(name) / "_data"

    def create(self, name: str) -> Path:
        """Make a volume if it does not exist, and return where its content is."""
        data_dir = self.data_dir(name)
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        data_dir.parent.mkdir(mode=0o700, exist_ok=True)
        data_dir.mkdir(mode=0o755, exist_ok=True)
        return data_dir

    def remove(self, name: str) -> None:
        """Remove a volume with its content; links in it are removed, not followed."""
        volume_dir = self.data_dir(name).parent
        if volume_dir.is_symlink():
            volume_dir.unlink()
        elif volume_dir.exists():
            shutil.rmtree(volume_dir)
