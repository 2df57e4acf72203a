# SPDX-License-Identifier: Apache-2.0
"""COPY and ADD: sources put into an image's tree, as a layer.

The tree is mounted for one thread only. Where a destination leads is decided
inside its root, and everything is written by the guarded unpacker of archives.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from toolkit.build.sources import Source, opened_entry
from toolkit.errors import InvalidRequestError, KernelCallError
from toolkit.kernel.paths import read_small_file_in_root
from toolkit.runtime.native.users import resolve_identity
from toolkit.storage import views
from toolkit.storage.names import printable
from toolkit.storage.pack import pack_entry, pack_tree
from toolkit.storage.pipes import piped
from toolkit.storage.places import resolve_in_scope
from toolkit.storage.trees import open_directory
from toolkit.storage.unpack import Stamp, unpack_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from toolkit.storage.layer import ChainId, Layer
    from toolkit.storage.layers import LayerStore

_O_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE: Final = re.compile(r"0?[0-7]{3,4}")
_NEW_DIRECTORY: Final = 0o755


@dataclass(frozen=True, kw_only=True)
class CopyOrder:
    """What is to be copied where.

    Attributes:
        dest: Absolute; a slash at its end says that it is a directory.
        chown: ``user[:group]`` in the image's words; empty for root.
        chmod: Octal; empty keeps what the sources have.
    """

    word: str
    sources: Sequence[Source]
    dest: str
    chown: str = ""
    chmod: str = ""

    def __post_init__(self) -> None:
        if self.chmod and not _MODE.fullmatch(self.chmod):
            raise InvalidRequestError(f"invalid chmod parameter: '{self.chmod[:20]}'. it should be "
                                      "octal string and between 0 and 07777")  # fmt: skip
        if len(self.sources) > 1 and not self.dest.endswith("/"):
            raise InvalidRequestError(
                f"When using {self.word} with more than one source file, the destination must be "
                "a directory and end with a /"
            )

    @property
    def made_by(self) -> str:
        """What the history says: it names what was copied by its content."""
        label = self.sources[0].label
        if len(self.sources) > 1:
            labels = ",".join(source.label for source in self.sources)
            label = f"multi:{hashlib.sha256(labels.encode()).hexdigest()}"
        flags = f"--chown={self.chown} " if self.chown else ""
        flags += f"--chmod={self.chmod} " if self.chmod else ""
        return f"{self.word} {flags}{label} in {self.dest} "

    def write(self, root_fd: int) -> None:
        """Copy into a tree.

        Raises:
            InvalidRequestError: The destination cannot be what it would have to be.
        """
        owner = _owner(root_fd, self.chown)
        for source in self.sources:
            target = _resolved(root_fd, self.dest)
            if source.is_directory:
                _make_directories(root_fd, target, owner)
                self._write_tree(root_fd, source, target, owner)
            elif source.is_archive():
                _make_directories(root_fd, target, owner)
                self._unpack(root_fd, source, target)
            else:
                self._write_file(root_fd, source, target, owner)

    def _write_tree(
        self, root_fd: int, source: Source, target: bytes, owner: tuple[int, int]
    ) -> None:
        def pack(out: BinaryIO, source_fd: int) -> None:
            dir_fd = open_directory(source_fd, source.path)
            try:
                pack_tree(dir_fd, out, with_root=False)
            finally:
                os.close(dir_fd)

        self._move(root_fd, source, pack, below=target, owner=owner)

    def _write_file(
        self, root_fd: int, source: Source, target: bytes, owner: tuple[int, int]
    ) -> None:
        parent, _, name = target.rpartition(b"/")
        if self.dest.endswith("/") or _is_directory(root_fd, target):
            parent, name = target, source.name
        if not name:
            raise InvalidRequestError(f"{self.word} failed: no name for the file in {self.dest}")
        _make_directories(root_fd, parent, owner)

        def pack(out: BinaryIO, source_fd: int) -> None:
            with opened_entry(source_fd, source.path) as entry:
                pack_entry(replace(entry, path=b""), name, out)

        self._move(root_fd, source, pack, below=parent, owner=owner)

    def _unpack(self, root_fd: int, source: Source, target: bytes) -> None:
        def send(out: BinaryIO, source_fd: int) -> None:
            with opened_entry(source_fd, source.path) as entry:
                file_fd = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=entry.parent_fd)
            with os.fdopen(file_fd, "rb") as file:
                while chunk := file.read(1024 * 1024):
                    out.write(chunk)

        self._move(root_fd, source, send, below=target, owner=None)

    def _move(
        self,
        root_fd: int,
        source: Source,
        pack: Callable[[BinaryIO, int], None],
        *,
        below: bytes,
        owner: tuple[int, int] | None,
    ) -> None:
        with piped(lambda out: source.tree.read(lambda fd: pack(out, fd))) as stream:
            mode = int(self.chmod, 8) if self.chmod else None
            unpack_tree(stream, root_fd, below=below, stamp=Stamp(owner, mode))


def destination(dest: str, working_dir: str) -> str:
    """Return where a destination is in the tree, with the slash that it may end with.

    Raises:
        InvalidRequestError: It is empty, or no path.
    """
    if not dest or "\0" in dest:
        raise InvalidRequestError("the destination is not a path")
    is_directory = dest.endswith("/") or posixpath.basename(dest) in {".", ".."}
    path = "/" + posixpath.normpath(posixpath.join("/", working_dir, dest)).lstrip("/")
    return f"{path}/" if is_directory and path != "/" else path


def change_tree(
    layers: LayerStore, top: ChainId | None, act: Callable[[int], None], *, may_be_empty: bool
) -> Layer | None:
    """Return what a change makes of an image's tree, as a layer that is held.

    Args:
        layers: Where the image's layers are; `settle` the new one when it is referred to.
        top: The image's uppermost layer.
        act: Is given the tree's root, to change it.
        may_be_empty: False returns None where nothing has changed.
    """
    scratch_id = secrets.token_hex(32)
    layers.create_rw(scratch_id, top)
    try:
        source = layers.rootfs(scratch_id)

        def change() -> None:
            with views.changeable_root(source) as root_fd:
                act(root_fd)

        views.run_privately(change)
        if not may_be_empty and not layers.changes(scratch_id):
            return None
        return layers.commit(scratch_id)
    finally:
        layers.remove_rw(scratch_id)


def make_working_dir(root_fd: int, path: str) -> None:
    """Make a directory where there is none."""
    _make_directories(root_fd, _resolved(root_fd, path), (0, 0))


def _resolved(root_fd: int, path: str) -> bytes:
    try:
        return resolve_in_scope(root_fd, os.fsencode(path))
    except KernelCallError as error:
        raise InvalidRequestError(f"the destination {path[:80]!r}: {error}") from error


def _is_directory(root_fd: int, path: bytes) -> bool:
    try:
        os.close(open_directory(root_fd, path))
    except KernelCallError:
        return False
    return True


def _make_directories(root_fd: int, path: bytes, owner: tuple[int, int]) -> None:
    """Make a path without links; what is there already stays as it is."""
    at_fd = os.open(b".", _O_DIRECTORY, dir_fd=root_fd)
    try:
        for name in filter(None, path.split(b"/")):
            is_new = True
            try:
                os.mkdir(name, _NEW_DIRECTORY, dir_fd=at_fd)
            except FileExistsError:
                is_new = False
            next_fd = os.open(name, _O_DIRECTORY, dir_fd=at_fd)
            os.close(at_fd)
            at_fd = next_fd
            if is_new:
                os.fchown(at_fd, *owner)
                os.fchmod(at_fd, _NEW_DIRECTORY)
    except OSError as error:
        raise InvalidRequestError(
            f"cannot make the directory /{printable(path)}: {error.strerror}"
        ) from error
    finally:
        os.close(at_fd)


def _owner(root_fd: int, text: str) -> tuple[int, int]:
    """Return whom things are given to; without a group, the one of the user's name or number."""
    if not text:
        return 0, 0
    user, colon, group = text.partition(":")
    identity = resolve_identity(
        f"{user}:{group if colon and group else user}",
        read_small_file_in_root(root_fd, "/etc/passwd"),
        read_small_file_in_root(root_fd, "/etc/group"),
    )
    return identity.uid, identity.gid
