# SPDX-License-Identifier: Apache-2.0
"""The directories of an untrusted tree that are open while something is written into it.

A directory is reached by the kernel's own resolution inside the root, or by one
name in an open directory without following a link. The last ones stay open,
because the members of an archive come in heaps.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from toolkit.errors import KernelCallError
from toolkit.kernel.paths import open_in_root

_O_STEP: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_O_READ: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_OPEN: Final = 64
_MODE: Final = 0o755


class LinkLeadsNowhereError(Exception):
    """A part of a path is a link to what is not there inside the root."""


class OpenDirectories:
    """Directories below *root_fd* by their paths, the last ones kept open.

    Attributes:
        made: How many had to be made because they were missing.
    """

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._open: dict[bytes, int] = {}
        self.made = 0

    def opened(self, path: bytes) -> int:
        """Return the directory that *path* leads to, made with its parents if missing.

        The descriptor is valid until the next call of any method.

        Raises:
            KernelCallError: The path leads to no directory.
            LinkLeadsNowhereError: A link in it does not lead anywhere inside the root.
        """
        if not path:
            return self._root_fd
        known = self._open.get(path)
        if known is not None:
            return known
        dir_fd = self._open_below_known(path)
        if dir_fd is None:
            try:
                dir_fd = open_in_root(self._root_fd, path, os.O_PATH | os.O_DIRECTORY)
            except KernelCallError as error:
                if error.errno != errno.ENOENT:
                    raise
                dir_fd = self._make(path)
        self.remember(path, dir_fd)
        return dir_fd

    def remember(self, path: bytes, dir_fd: int) -> None:
        """Keep an open directory; it is closed here when its turn comes."""
        known = self._open.pop(path, None)
        if known is not None:
            os.close(known)
        if len(self._open) >= _MOST_OPEN:
            os.close(self._open.pop(next(iter(self._open))))
        self._open[path] = dir_fd

    def forget(self, but: int = -1) -> None:
        """Close all directories but one."""
        kept = {path: dir_fd for path, dir_fd in self._open.items() if dir_fd == but}
        for dir_fd in self._open.values():
            if dir_fd != but:
                os.close(dir_fd)
        self._open = kept

    def _open_below_known(self, path: bytes) -> int | None:
        """Open a directory whose parent is open; None where the kernel must resolve a link."""
        parent, _, name = path.rpartition(b"/")
        parent_fd = self._open.get(parent) if parent else self._root_fd
        if parent_fd is None:
            return None
        try:
            return os.open(name, _O_STEP, dir_fd=parent_fd)
        except OSError:
            return None

    def _make(self, path: bytes) -> int:
        dir_fd = os.dup(self._root_fd)
        end = -1
        while end < len(path):
            start, end = end + 1, path.find(b"/", end + 1)
            end = len(path) if end < 0 else end
            try:
                next_fd = self._step(dir_fd, path[:end], path[start:end])
            finally:
                os.close(dir_fd)
            dir_fd = next_fd
        return dir_fd

    def _step(self, parent_fd: int, prefix: bytes, name: bytes) -> int:
        try:
            return os.open(name, _O_STEP, dir_fd=parent_fd)
        except FileNotFoundError:
            pass
        except OSError:  # a link, or no directory: the kernel resolves the whole path
            try:
                return open_in_root(self._root_fd, prefix, os.O_PATH | os.O_DIRECTORY)
            except KernelCallError as error:
                if error.errno == errno.ENOENT:
                    raise LinkLeadsNowhereError from None
                raise
        os.mkdir(name, 0o700, dir_fd=parent_fd)
        self.made += 1
        dir_fd = os.open(name, _O_READ, dir_fd=parent_fd)
        os.fchmod(dir_fd, _MODE)  # whatever the umask
        return dir_fd
