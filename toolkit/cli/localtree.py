# SPDX-License-Identifier: Apache-2.0
"""Files of this machine as a tar for a container, and a container's tar as files here.

The tar comes from a container, so from somebody who is not trusted: nothing is
written outside the place that was asked for, and no link in it is followed.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from toolkit.cli.output import warn
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _typeshed import WriteableBuffer

_CHUNK_BYTES: Final = 256 * 1024


@contextmanager
def packed(source: str, name: str, *, with_owner: bool, follow: bool) -> Iterator[BinaryIO]:
    """Give a file or a tree as a tar whose top is called *name*."""

    def own(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return plain_member(member, with_owner=with_owner)

    def fill(archive: tarfile.TarFile) -> None:
        top = os.path.realpath(source) if follow or source.endswith(("/", "/.")) else source
        archive.add(top, arcname=name, filter=own)

    with streamed(fill, source) as stream:
        yield stream


def plain_member(member: tarfile.TarInfo, *, with_owner: bool) -> tarfile.TarInfo:
    """Return a member without this machine's names of its owners, or without owners."""
    if not with_owner:
        member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


@contextmanager
def streamed(fill: Callable[[tarfile.TarFile], None], source: str) -> Iterator[BinaryIO]:
    """Give a tar to read while *fill* writes it, in a thread of its own.

    Raises:
        InvalidRequestError: Something of *source* cannot be read.
    """
    read_fd, write_fd = os.pipe()
    errors: list[BaseException] = []

    def write() -> None:
        try:
            with (
                os.fdopen(write_fd, "wb") as out,
                tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive,
            ):
                fill(archive)
        except BrokenPipeError:  # the engine does not want more: it says why
            return
        except BaseException as error:  # noqa: BLE001 - raised again by the reader
            errors.append(error)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    with os.fdopen(read_fd, "rb") as stream:
        yield stream
    writer.join()
    if errors:
        raise InvalidRequestError(f"cannot read {source}: {errors[0]}") from errors[0]


def unpack(chunks: Iterator[bytes], directory: str, top: str, *, with_owner: bool) -> None:
    """Write a tar below a directory; its top gets another name, or none: then its content.

    Raises:
        InvalidRequestError: A member would go elsewhere, or cannot be written.
    """
    stream = cast("BinaryIO", io.BufferedReader(_Chunks(chunks), _CHUNK_BYTES))
    times: list[tuple[str, tarfile.TarInfo]] = []
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                path = _target(member.name, directory, top)
                if path is None:
                    continue
                _make(archive, member, path, (directory, top))
                _finish(member, path, with_owner=with_owner)
                if member.isdir():
                    times.append((path, member))
    except tarfile.TarError as error:
        raise InvalidRequestError(f"the engine's archive cannot be read: {error}") from error
    except OSError as error:
        raise InvalidRequestError(f"{error.filename or directory}: {error.strerror}") from error
    for path, member in reversed(times):
        os.utime(path, (member.mtime, member.mtime))


def _target(name: str, directory: str, top: str) -> str | None:
    """Return where a member goes; None for the top itself where only its content is wanted."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise InvalidRequestError(f"{name!r} would be written outside of {directory}")
    below = parts if name.startswith(("./", "/")) or name == "." else parts[1:]
    wanted = [part for part in (top, *below) if part]
    if not wanted:
        return None
    path = directory
    for part in wanted[:-1]:
        path = os.path.join(path, part)  # noqa: PTH118  # pathlib costs an import
        if os.path.islink(path):  # noqa: PTH114  # as above
            raise InvalidRequestError(f"{name!r} would be written through the link {path}")
    return os.path.join(path, wanted[-1])  # noqa: PTH118  # as above


def _make(
    archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, base: tuple[str, str]
) -> None:
    if member.isdir():
        if os.path.islink(path) or not os.path.isdir(path):  # noqa: PTH112, PTH114  # as above
            os.mkdir(path, 0o700)  # noqa: PTH102  # as above
        return
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            raise InvalidRequestError(f"{path} is a directory: it is not replaced by a file")
        os.unlink(path)  # noqa: PTH108  # as above
    if member.issym():
        os.symlink(member.linkname, path)  # noqa: PTH211  # as above
    elif member.islnk():
        source = _target(member.linkname, *base)
        if source is None:
            raise InvalidRequestError(f"{member.name!r} is a hard link to no file")
        os.link(source, path, follow_symlinks=False)  # as above
    elif member.isreg():
        _write_file(archive, member, path)
    else:
        _make_special(member, path)


def _write_file(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    content = archive.extractfile(member)
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        while content is not None and (piece := content.read(_CHUNK_BYTES)):
            if piece.strip(b"\0"):
                file.write(piece)
            else:  # holes stay holes
                file.seek(len(piece), os.SEEK_CUR)
        file.truncate(member.size)


def _make_special(member: tarfile.TarInfo, path: str) -> None:
    try:
        if member.isfifo():
            os.mkfifo(path, 0o600)
        else:
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            os.mknod(path, kind | 0o600, os.makedev(member.devmajor, member.devminor))
    except PermissionError:
        warn(f"{path}: only root can make a device; left out")


def _finish(member: tarfile.TarInfo, path: str, *, with_owner: bool) -> None:
    if not os.path.lexists(path):
        return
    if with_owner:
        with suppress(PermissionError):
            os.chown(path, member.uid, member.gid, follow_symlinks=False)
    if not member.issym():
        os.chmod(path, member.mode & (0o7777 if with_owner else 0o777))  # noqa: PTH101  # as above
    os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)


class _Chunks(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        while not self._rest:
            piece = next(self._chunks, None)
            if piece is None:
                return 0
            self._rest = piece
        target = memoryview(buffer).cast("B")
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
