# SPDX-License-Identifier: Apache-2.0
"""The volumes of an instance: a directory each, with what is known of it beside.

On disk, below ``<data>/volumes/<name>/``: ``_data`` is the content, ``volume.json``
what was said when it was made. One without a readable ``volume.json`` is a volume
all the same. Who uses a volume is `toolkit.engine.volume_cases`'; what a new one
gets of the image `toolkit.engine.copyup`'s.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from toolkit.errors import InvalidRequestError, NotFoundError, StorageError
from toolkit.storage.durable import replace_file
from toolkit.storage.opened import opened_directories
from toolkit.storage.trees import remove_entry, tree_size_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ANONYMOUS_LABEL: Final = "com.docker.volume.anonymous"
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
_DATA: Final = "_data"
_NOTES: Final = "volume.json"
_MOST_BYTES: Final = 1024 * 1024


class VolumeNotFoundError(NotFoundError):
    """There is no volume of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"get {name[:80]}: no such volume")


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One volume.

    Attributes:
        place: Where its content is.
    """

    name: str
    place: str
    created: datetime
    labels: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)

    @property
    def is_anonymous(self) -> bool:
        """Whether the engine made up its name."""
        return ANONYMOUS_LABEL in self.labels


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
    """The volumes of an instance. Safe to use from several threads."""

    def __init__(self, data_dir: Path) -> None:
        self._dir = data_dir / "volumes"
        self._lock = threading.Lock()

    def open(self) -> None:
        """Make the directory of them all."""
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)

    def data_dir(self, name: str) -> Path:
        """Return where a volume's content is, whether it exists or not."""
        return self._dir / checked_volume_name(name) / _DATA

    def create(
        self,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> tuple[Path, bool]:
        """Make a volume if it does not exist; return where its content is, and whether it is new.

        Raises:
            StorageError: Something else stands in its place: a link, a file (row S-29).
        """
        data_dir = self.data_dir(name)
        with self._lock:
            self.open()
            data_dir.parent.mkdir(mode=0o700, exist_ok=True)
            if not _is_directory(data_dir.parent):
                raise StorageError(f"volume {name}: its directory was replaced by something else")
            if _is_directory(data_dir):
                return data_dir, False
            notes = Volume(
                name=name,
                place="",
                created=datetime.now(UTC),
                labels=dict(labels or {}),
                options=dict(options or {}),
            )
            _make_volume(data_dir, notes)
            return data_dir, True

    def get(self, name: str) -> Volume:
        """Return a volume.

        Raises:
            VolumeNotFoundError: There is none.
        """
        if not _NAME.fullmatch(name) or not _is_directory(self.data_dir(name)):
            raise VolumeNotFoundError(name)
        return self._read(name)

    def list(self) -> list[Volume]:
        """Return all volumes by name."""
        try:
            names = sorted(os.listdir(self._dir))  # noqa: PTH208 - names are what is wanted
        except FileNotFoundError:
            return []
        return [
            self._read(name)
            for name in names
            if _NAME.fullmatch(name) and _is_directory(self._dir / name / _DATA)
        ]

    def size_bytes(self, name: str) -> int:
        """Return the size of all files in a volume."""
        with opened_directories([self.data_dir(name)]) as (data_fd,):
            return tree_size_bytes(data_fd)

    def remove(self, name: str) -> None:
        """Remove a volume with its content; links in it are removed, not followed (row S-29)."""
        checked_volume_name(name)
        with self._lock:
            try:
                with opened_directories([self._dir]) as (volumes_fd,):
                    remove_entry(volumes_fd, os.fsencode(name))
            except FileNotFoundError:
                return
            except OSError as error:
                raise StorageError(f"cannot remove volume {name}: {error.strerror}") from error

    def _read(self, name: str) -> Volume:
        directory = self._dir / name
        place = str(directory / _DATA)
        try:
            fd = os.open(directory / _NOTES, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(fd, "rb") as file:
                notes = msgspec.json.decode(file.read(_MOST_BYTES), type=Volume)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            made = datetime.fromtimestamp(directory.lstat().st_mtime, UTC)
            return Volume(name=name, place=place, created=made)
        return _placed(notes, name, place)


def _placed(notes: Volume, name: str, place: str) -> Volume:
    return Volume(
        name=name,
        place=place,
        created=notes.created,
        labels=notes.labels,
        options=notes.options,
    )


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _make_volume(data_dir: Path, notes: Volume) -> None:
    """Write what a volume is, and then make where its content is."""
    replace_file(data_dir.parent / _NOTES, msgspec.json.encode(notes))
    try:
        data_dir.mkdir(mode=0o755)
        data_dir.chmod(0o755)
    except FileExistsError as error:
        raise StorageError(
            f"volume {notes.name}: its content was replaced by something else"
        ) from error
