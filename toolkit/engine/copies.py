# SPDX-License-Identifier: Apache-2.0
"""The copy of its record that each container's directory keeps, in case the store is lost.

It is written once, a moment after create, so that a container that lives for
milliseconds never pays for it. Names and limits that changed later are lost with
the store; the container is not.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from toolkit.engine.store import decode_record, encode_record
from toolkit.errors import StorageError
from toolkit.storage.durable import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.engine.model import ContainerRecord

COPY_NAME: Final = "container.json"
COPY_DELAY_SECONDS: Final = 0.2
_LARGEST_BYTES: Final = 16 * 1024 * 1024


def write_copy(container_dir: Path, record: ContainerRecord) -> None:
    """Write a record beside the container's files, durably and at once or not at all."""
    replace_file(container_dir / COPY_NAME, encode_record(record))


def read_copy(container_dir: Path) -> ContainerRecord | None:
    """Return the record that a container's directory keeps; None if it never had one.

    Raises:
        StorageError: There is one, and it cannot be used.
    """
    path = container_dir / COPY_NAME
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise StorageError(f"{path}: not a regular file")
        return decode_record(file.read(_LARGEST_BYTES), container_dir.name)
