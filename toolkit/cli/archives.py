# SPDX-License-Identifier: Apache-2.0
"""`save` and `load`: images as archives; and how any archive gets into a file."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, BinaryIO

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.command import command, switch
from toolkit.cli.progress import show_progress
from toolkit.cli.terminal import is_terminal
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable


@command("save")
@click.option("-o", "--output", default="", help="Write to a file instead of standard output.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@pass_access
def save(access: EngineAccess, images: tuple[str, ...], output: str) -> None:
    """Write images, with their names, as one archive."""
    check_output(output)
    with access.client.images.save(images) as answer:
        write_archive(output, answer)


@command("load")
@click.option("-i", "--input", "source", default="", help="Read a file instead of standard input.")
@switch("-q", "--quiet", help="Show the outcome only.")
@pass_access
def load(access: EngineAccess, source: str, *, quiet: bool) -> None:
    """Take over the images of an archive that save has written, here or elsewhere."""
    if not source and is_terminal(0):
        raise InvalidRequestError("requested load from stdin, but stdin is empty: use -i FILE")
    with ExitStack() as undo:
        stream: BinaryIO = sys.stdin.buffer
        if source:
            try:
                stream = undo.enter_context(open(source, "rb"))  # noqa: PTH123  # pathlib costs an import
            except OSError as error:
                raise InvalidRequestError(f"{source}: {error.strerror}") from error
        show_progress(access.client.images.load(stream, quiet=quiet or not is_terminal(1)))


def check_output(output: str) -> None:
    """Check that an archive will not fill somebody's screen.

    Raises:
        InvalidRequestError: It would.
    """
    if not output and is_terminal(1):
        raise InvalidRequestError("cowardly refusing to save to a terminal: use -o, or redirect")


def write_archive(output: str, chunks: Iterable[bytes]) -> None:
    """Write an archive to a file, which is whole or not there, or to standard output.

    Raises:
        InvalidRequestError: The file cannot be written.
    """
    if not output:
        sys.stdout.flush()
        sys.stdout.buffer.writelines(chunks)
        sys.stdout.buffer.flush()
        return
    if os.path.lexists(output) and not os.path.isfile(output):  # noqa: PTH113  # pathlib costs an import
        with _opened(output) as target:  # a pipe, a device
            target.writelines(chunks)
        return
    temporary = f"{output}.{os.getpid()}.tmp"
    try:
        with _opened(temporary) as target:
            target.writelines(chunks)
        os.replace(temporary, output)  # noqa: PTH105  # as above
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108  # as above
        raise


def _opened(path: str) -> BinaryIO:
    try:
        return open(path, "wb")  # noqa: PTH123  # as above; the caller closes it
    except OSError as error:
        raise InvalidRequestError(f"{path}: {error.strerror}") from error
