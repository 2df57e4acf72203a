# SPDX-License-Identifier: Apache-2.0
"""The file ``layer.json`` in a layer's directory: what the directory is.

A directory without a readable one is left alone and told about in the log: it
never keeps the store from opening.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from toolkit.storage.durable import write_file
from toolkit.storage.mountpoints import INIT_VERSION

if TYPE_CHECKING:
    from pathlib import Path

_LOG: Final = logging.getLogger(__name__)
LAYER_FILE_NAME: Final = "layer.json"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_MOST_BYTES: Final = 65_536


@dataclass(frozen=True, kw_only=True)
class LayerFile:
    """What is known of one numbered directory.

    Attributes:
        init_of: Of an init layer, the image top that it is for; None for a layer.
    """

    number: int
    chain_id: str = ""
    diff_id: str = ""
    parent: str = ""
    size_bytes: int = 0
    hides_all_below: bool = False
    init_of: str | None = None
    init_version: int = INIT_VERSION


def write_layer_file(layer_dir: Path, content: LayerFile) -> None:
    """Write the file of a directory that is still being made."""
    write_file(layer_dir / LAYER_FILE_NAME, json.dumps(asdict(content)).encode())


def read_layer_files(layers_dir: Path) -> tuple[list[LayerFile], list[int]]:
    """Return what all directories are, and the numbers of those that cannot be told."""
    found, damaged = [], []
    for directory in layers_dir.iterdir():
        if not directory.name.isdecimal():
            continue
        number = int(directory.name)
        try:
            found.append(_read(directory / LAYER_FILE_NAME, number))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            _LOG.warning("layer directory %s cannot be used: %s", directory, error)
            damaged.append(number)
    current = [entry for entry in found if entry.init_of is None or _is_current(entry)]
    damaged += [entry.number for entry in found if entry not in current]
    return sorted(current, key=lambda entry: entry.number), damaged


def _is_current(init_layer: LayerFile) -> bool:
    return init_layer.init_version == INIT_VERSION


def _read(path: Path, number: int) -> LayerFile:
    with path.open("rb") as file:
        document = json.loads(file.read(_MOST_BYTES))
    if not isinstance(document, dict):
        raise TypeError("not a JSON object")
    content = LayerFile(**{**document, "number": number})
    if content.init_of is None:
        for digest in (content.chain_id, content.diff_id):
            if not _DIGEST.fullmatch(digest):
                raise ValueError("not a layer's digest")
    return content
