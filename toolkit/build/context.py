# SPDX-License-Identifier: Apache-2.0
"""A build's own directory: the context as it came, and what was fetched or written for it.

Everything lies below one directory that nobody else uses, and goes with it. What
stands in the builds' directory when an engine opens is a crash's.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from toolkit.build.sources import DirectoryTree, cleaned_source
from toolkit.dockerignore import FILE_NAME, BadPatternError, IgnoreRules
from toolkit.errors import DockerfileError, InvalidRequestError, KernelCallError
from toolkit.kernel.paths import open_in_root, read_small_file_in_root
from toolkit.storage.places import resolve_in_scope
from toolkit.storage.trees import open_directory, remove_entry
from toolkit.storage.unpack import unpack_tree

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

DEFAULT_DOCKERFILE: Final = "Dockerfile"
LARGEST_DOCKERFILE: Final = 1024 * 1024
_O_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class BuildContext:
    """What one build has on this host."""

    dir: Path

    @property
    def tree(self) -> DirectoryTree:
        """The context, as a tree to copy from."""
        return DirectoryTree(self.dir / "context")

    def receive(self, stream: BinaryIO) -> None:
        """Unpack the context.

        Raises:
            UnsafeArchiveError: It is no archive, or one of its members must not be made.
        """
        root_fd = os.open(self.tree.path, _O_DIRECTORY)
        try:
            unpack_tree(stream, root_fd, devices=False, with_owner=False)
        finally:
            os.close(root_fd)

    def new_dir(self) -> Path:
        """Return a new directory for what a step fetches or writes."""
        directory = self.dir / secrets.token_hex(8)
        directory.mkdir(mode=0o700)
        return directory

    def read_dockerfile(self, name: str) -> str:
        """Return the Dockerfile's text; it and the ignore file go where they are ignored.

        Raises:
            InvalidRequestError: It is not there, no regular file, or outside.
            DockerfileError: It is too long.
        """
        name = cleaned_source(name or DEFAULT_DOCKERFILE)
        text = self.tree.read(lambda root_fd: _read(root_fd, name))
        self.tree.read(lambda root_fd: _hide(root_fd, name))
        return text

    def remove(self) -> None:
        """Remove all of it."""
        _remove(self.dir.parent, self.dir.name)


def new_context(builds_dir: Path) -> BuildContext:
    """Return a new build's directory; `BuildContext.remove` takes it away."""
    builds_dir.mkdir(mode=0o700, exist_ok=True)
    directory = builds_dir / secrets.token_hex(16)
    directory.mkdir(mode=0o700)
    (directory / "context").mkdir(mode=0o755)
    return BuildContext(directory)


def sweep_builds(builds_dir: Path) -> list[str]:
    """Remove what builds left that a crash ended; return its names."""
    try:
        names = sorted(path.name for path in builds_dir.iterdir())
    except FileNotFoundError:
        return []
    for name in names:
        _remove(builds_dir, name)
    return names


def _remove(parent_dir: Path, name: str) -> None:
    parent_fd = os.open(parent_dir, _O_DIRECTORY)
    try:
        remove_entry(parent_fd, os.fsencode(name))
    finally:
        os.close(parent_fd)


def _read(root_fd: int, name: str) -> str:
    wanted = [name, name.lower()] if name == DEFAULT_DOCKERFILE else [name]
    for one in wanted:
        content = read_small_file_in_root(root_fd, one, LARGEST_DOCKERFILE + 1)
        if content is not None:
            if len(content) > LARGEST_DOCKERFILE:
                raise DockerfileError(f"it is longer than {LARGEST_DOCKERFILE} bytes", 0)
            return content.decode("utf-8", "replace")
    if _exists(root_fd, name):
        raise InvalidRequestError(f"the Dockerfile {name} is no regular file of the build context")
    raise InvalidRequestError(f"Cannot locate specified Dockerfile: {name}")


def _exists(root_fd: int, name: str) -> bool:
    try:
        os.close(open_in_root(root_fd, name, os.O_PATH))
    except KernelCallError:
        return False
    return True


def _hide(root_fd: int, dockerfile: str) -> None:
    """Take away the two files that a client sends because the build needs them."""
    content = read_small_file_in_root(root_fd, FILE_NAME)
    if content is None:
        return
    try:
        rules = IgnoreRules.parse(content.decode("utf-8", "replace"))
    except BadPatternError as error:
        raise InvalidRequestError(f"{FILE_NAME}: {error}") from None
    for name in (dockerfile, FILE_NAME):
        if rules.hides(name):
            directory, _, last = resolve_in_scope(root_fd, os.fsencode(name)).rpartition(b"/")
            dir_fd = open_directory(root_fd, directory)
            try:
                remove_entry(dir_fd, last)
            finally:
                os.close(dir_fd)
