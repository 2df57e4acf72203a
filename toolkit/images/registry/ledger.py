# SPDX-License-Identifier: Apache-2.0
"""Which blobs, in which repositories, a layer is known as: to push it without sending it again.

A help, not a truth: it is asked of the registry before it is used, and a file
that cannot be read is as good as none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from toolkit.images.image import InvalidImageError, is_image_id
from toolkit.images.strictjson import parse
from toolkit.storage.durable import write_file

if TYPE_CHECKING:
    from pathlib import Path

_MOST_BYTES: Final = 64 * 1024
_MOST_BLOBS: Final = 50


@dataclass(frozen=True, kw_only=True)
class KnownBlob:
    """One blob that holds a layer.

    Attributes:
        repository: Canonical name without tag, ``docker.io/library/busybox``.
    """

    digest: str
    size: int
    media_type: str
    repository: str


class Ledger:
    """The blobs of each layer, by the digest of its archive."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def blobs(self, diff_id: str) -> list[KnownBlob]:
        """Return the blobs, the latest first."""
        try:
            with self._path(diff_id).open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
            entries = parse(content, "the ledger", limit_bytes=_MOST_BYTES)
            return [KnownBlob(**entry) for entry in entries if _is_sound(entry)]
        except (OSError, TypeError, KeyError, InvalidImageError):
            return []

    def add(self, diff_id: str, blob: KnownBlob) -> None:
        """Note a blob; the oldest are forgotten."""
        known = [blob, *(other for other in self.blobs(diff_id) if other != blob)]
        content = json.dumps([vars(entry) for entry in known[:_MOST_BLOBS]]).encode()
        path = self._path(diff_id)
        new_path = path.with_name(f".{path.name}.{id(blob):x}")
        write_file(new_path, content)
        new_path.rename(path)

    def _path(self, diff_id: str) -> Path:
        return self._dir / f"{diff_id.removeprefix('sha256:')}.json"


def _is_sound(entry: Any) -> bool:
    texts = (entry["digest"], entry["media_type"], entry["repository"])
    return (
        all(isinstance(text, str) for text in texts)
        and is_image_id(entry["digest"])
        and type(entry["size"]) is int
    )
