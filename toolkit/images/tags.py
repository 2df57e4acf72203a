# SPDX-License-Identifier: Apache-2.0
"""Which name means which image: a small file, replaced whole at each change.

Also keeps each image's local parent, which no document tells.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import InvalidReferenceError
from toolkit.images.image import ImageId, is_image_id
from toolkit.images.references import Reference
from toolkit.storage.durable import replace_file

if TYPE_CHECKING:
    from pathlib import Path

_LOG: Final = logging.getLogger(__name__)
_MOST_BYTES: Final = 64 * 1024 * 1024


@dataclass
class TagFile:
    """The names of all images.

    Attributes:
        path: The file.
        tags: Canonical references with a tag or a digest, to images.
        parents: Images to the local images that they were made from.
        was_damaged: The file could not be read, and was put aside.
    """

    path: Path
    tags: dict[str, ImageId] = field(default_factory=dict)
    parents: dict[ImageId, ImageId] = field(default_factory=dict)
    was_damaged: bool = False

    @classmethod
    def open(cls, path: Path) -> TagFile:
        """Read the file; a damaged one is put aside and told about in the log."""
        opened = cls(path)
        try:
            with path.open("rb") as file:
                opened._take_over(json.loads(file.read(_MOST_BYTES)))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, RecursionError) as error:
            aside = path.with_name(f"{path.name}.damaged")
            _LOG.warning("the names of images in %s are lost (%s): see %s", path, error, aside)
            path.replace(aside)
            opened.was_damaged = True
        return opened

    def save(self) -> None:
        """Write the file; after a crash it has the old names or the new, whole."""
        document = {"version": 1, "tags": self.tags, "parents": self.parents}
        replace_file(self.path, json.dumps(document, indent=1, sort_keys=True).encode())

    def references(self, image_id: ImageId) -> list[Reference]:
        """Return all names of an image, sorted by their canonical spelling."""
        return [Reference.parse(text) for text, of in sorted(self.tags.items()) if of == image_id]

    def children(self, image_id: ImageId) -> list[ImageId]:
        """Return the images that were made from an image."""
        return [child for child, parent in self.parents.items() if parent == image_id]

    def _take_over(self, document: Any) -> None:
        if not isinstance(document, dict):
            raise TypeError("not a JSON object")
        for text, image_id in dict(document.get("tags") or {}).items():
            try:
                canonical = Reference.parse(text).canonical
            except InvalidReferenceError as error:
                _LOG.warning("name %r in %s is left out: %s", text, self.path, error)
                continue
            if is_image_id(str(image_id)):
                self.tags[canonical] = ImageId(str(image_id))
        for child, parent in dict(document.get("parents") or {}).items():
            if is_image_id(str(child)) and is_image_id(str(parent)):
                self.parents[ImageId(str(child))] = ImageId(str(parent))
