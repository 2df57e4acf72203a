# SPDX-License-Identifier: Apache-2.0
"""What `build` sends: a directory without what its ignore file names, or standard input."""

from __future__ import annotations

import io
import os
import secrets
import stat
import sys
import tarfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from toolkit.cli.localtree import plain_member, streamed
from toolkit.dockerignore import FILE_NAME, BadPatternError, IgnoreRules
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_DOCKERFILE: Final = "Dockerfile"
_HEAD_BYTES: Final = 512
_USTAR_AT: Final = 257
_COMPRESSED: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
_REMOTE: Final = ("http://", "https://", "git://", "git@", "github.com/", "ssh://")


@contextmanager
def opened_context(path: str, dockerfile: str) -> Iterator[tuple[BinaryIO, str]]:
    """Give a context as a tar, and the Dockerfile's name in it.

    Args:
        path: A directory, or ``-`` for standard input: a tar, or a Dockerfile alone.
        dockerfile: As a person names it: in the directory, elsewhere, ``-`` for standard input;
            empty for the usual one.

    Raises:
        InvalidRequestError: Something is not there, or cannot be read.
    """
    if path.startswith(_REMOTE):
        raise InvalidRequestError(
            f"{path}: fetch it first (git clone, or curl) and build what was fetched"
        )
    if path == "-":
        with _from_stdin(dockerfile) as found:
            yield found
        return
    if not os.path.isdir(path):  # noqa: PTH112 - pathlib costs an import
        raise InvalidRequestError(f"unable to prepare context: path {path!r} is no directory")
    inside, extra = _dockerfile(path, dockerfile)
    rules = _rules(path)

    def fill(archive: tarfile.TarFile) -> None:
        for name in _names(path, rules):
            if name in {inside, FILE_NAME} or not rules.hides(name):
                _add(archive, path, name)
        for name in (inside, FILE_NAME):  # the engine needs them; it takes them away itself
            if rules.hides(name) and os.path.lexists(f"{path}/{name}"):
                _add(archive, path, name)
        if extra is not None:
            _add_text(archive, inside, extra)

    with streamed(fill, path) as stream:
        yield stream, inside


@contextmanager
def _from_stdin(dockerfile: str) -> Iterator[tuple[BinaryIO, str]]:
    stdin = sys.stdin.buffer
    head = stdin.peek(_HEAD_BYTES)[:_HEAD_BYTES] if hasattr(stdin, "peek") else b""
    is_archive = head.startswith(_COMPRESSED) or head[_USTAR_AT : _USTAR_AT + 5] == b"ustar"
    if is_archive:
        yield stdin, dockerfile or DEFAULT_DOCKERFILE
        return
    if dockerfile:
        raise InvalidRequestError("standard input is the Dockerfile: -f says otherwise")
    text = stdin.read()
    with streamed(lambda archive: _add_text(archive, DEFAULT_DOCKERFILE, text), "stdin") as stream:
        yield stream, DEFAULT_DOCKERFILE


def _dockerfile(path: str, dockerfile: str) -> tuple[str, bytes | None]:
    """Return the Dockerfile's name in the context, and its text if it comes from elsewhere."""
    if dockerfile == "-":
        return _made_up_name(), sys.stdin.buffer.read()
    if not dockerfile:
        return DEFAULT_DOCKERFILE, None
    top = os.path.realpath(path)
    place = os.path.join(os.path.realpath(os.path.dirname(dockerfile) or "."),  # noqa: PTH118, PTH120
                         os.path.basename(dockerfile))  # noqa: PTH119  # fmt: skip
    if not os.path.lexists(place):
        in_context = os.path.normpath(dockerfile)
        if os.path.lexists(os.path.join(top, in_context)):  # noqa: PTH118
            return in_context, None
        raise InvalidRequestError(f"unable to prepare context: no Dockerfile at {dockerfile!r}")
    inside = os.path.relpath(place, top)
    if not inside.startswith("../"):
        return inside, None
    try:
        with open(place, "rb") as file:  # noqa: PTH123
            return _made_up_name(), file.read()
    except OSError as error:
        raise InvalidRequestError(f"{dockerfile}: {error.strerror}") from error


def _made_up_name() -> str:
    return f".dockerfile.{secrets.token_hex(10)}"


def _rules(path: str) -> IgnoreRules:
    try:
        with open(f"{path}/{FILE_NAME}", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return IgnoreRules.parse(file.read())
    except FileNotFoundError:
        return IgnoreRules(())
    except OSError as error:
        raise InvalidRequestError(f"{FILE_NAME}: {error.strerror}") from error
    except BadPatternError as error:
        raise InvalidRequestError(f"{FILE_NAME}: {error}") from None


def _names(path: str, rules: IgnoreRules) -> Iterator[str]:
    """Yield what is in a directory, directories before what they hold, names sorted."""
    pending = [""]
    while pending:
        directory = pending.pop()
        below = []
        for entry in sorted(os.scandir(f"{path}/{directory}"), key=lambda entry: entry.name):
            name = f"{directory}/{entry.name}" if directory else entry.name
            if entry.is_dir(follow_symlinks=False):
                if rules.hides(name) and not rules.has_exceptions:
                    continue
                below.append(name)
            yield name
        pending += reversed(below)


def _add(archive: tarfile.TarFile, path: str, name: str) -> None:
    place = f"{path}/{name}"
    if stat.S_ISSOCK(os.lstat(place).st_mode):
        return
    member = plain_member(archive.gettarinfo(place, name), with_owner=False)
    if member.isreg():
        with open(place, "rb") as file:  # noqa: PTH123
            archive.addfile(member, file)
    else:
        archive.addfile(member)


def _add_text(archive: tarfile.TarFile, name: str, text: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(text)
    archive.addfile(member, cast("BinaryIO", io.BytesIO(text)))
