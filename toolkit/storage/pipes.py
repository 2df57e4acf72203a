# SPDX-License-Identifier: Apache-2.0
"""What one thread writes and another reads at the same time, without keeping it."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BUFFER_BYTES = 1024 * 1024


@contextmanager
def piped(write: Callable[[BinaryIO], object]) -> Iterator[BinaryIO]:
    """Give a file to read what *write* writes, which runs in a thread of its own.

    A failure of *write* is raised here at the end of the block, before what the
    reader made of a stream that broke off. A reader that stops early ends the writer.
    """
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with os.fdopen(write_fd, "wb", buffering=_BUFFER_BYTES) as out:
                write(out)
        except BrokenPipeError:  # the reader has its own reason
            return
        except BaseException as error:  # noqa: BLE001 - raised again in the reader's thread
            errors.append(error)

    writer = threading.Thread(target=run, name="pipe", daemon=True)
    writer.start()
    try:
        with os.fdopen(read_fd, "rb", buffering=_BUFFER_BYTES) as source:
            yield source
    except BaseException as error:
        writer.join()
        if errors:
            raise errors[0] from error
        raise
    writer.join()
    if errors:
        raise errors[0]
