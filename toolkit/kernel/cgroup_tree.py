# SPDX-License-Identifier: Apache-2.0
"""Control group hierarchies as they are mounted, and files in one of them.

Owns mountinfo's account of them, and every open, write and rmdir below a mount.
What the files mean is left to `toolkit.kernel.cgroup_v1` and `cgroup_v2`.

Each file is opened relative to a descriptor of the mount and must be the cgroup
file system's own before a byte is written to it (row S-23).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from toolkit.errors import CgroupError
from toolkit.kernel.syscalls import LIBC, check

if TYPE_CHECKING:
    from collections.abc import Iterable

CGROUP_SUPER_MAGIC: Final = 0x27E0EB
CGROUP2_SUPER_MAGIC: Final = 0x63677270

# Words of a v1 mount's options that are controllers; the others are flags.
_CONTROLLERS: Final = frozenset(
    {
        "blkio", "cpu", "cpuacct", "cpuset", "debug", "devices", "freezer", "hugetlb", "memory",
        "misc", "net_cls", "net_prio", "perf_event", "pids", "rdma",
    }
)  # fmt: skip
_USUAL_PLACE: Final = "/sys/fs/cgroup"
_CHUNK_BYTES: Final = 65536
_STATFS_BYTES: Final = 256  # larger than any architecture's struct statfs

_fstatfs = LIBC["fstatfs"]


@dataclass(frozen=True, kw_only=True)
class Hierarchy:
    """A mounted hierarchy.

    Attributes:
        controllers: Of a v1 hierarchy; a v2 one says them itself, in a file.
        name: Of a hierarchy without controllers (``systemd``).
    """

    mount_point: str
    is_v2: bool
    controllers: frozenset[str] = frozenset()
    name: str = ""


def parse_hierarchies(mountinfo: str) -> list[Hierarchy]:
    """Return the hierarchies that a ``/proc/self/mountinfo`` text shows, each once.

    Of several mounts of one hierarchy the one at the usual place counts.
    """
    by_place: dict[str, Hierarchy] = {}
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        place = _unescape(fields[4])
        by_place.pop(place, None)  # a later mount hides an earlier one
        kind, _, options = fields[fields.index("-", 6) + 1 :][:3]
        if kind == "cgroup2":
            by_place[place] = Hierarchy(mount_point=place, is_v2=True)
        elif kind == "cgroup":
            by_place[place] = _read_v1(place, options.split(","))
    found: dict[object, Hierarchy] = {}
    for hierarchy in sorted(by_place.values(), key=_remoteness):
        found.setdefault((hierarchy.is_v2, hierarchy.controllers, hierarchy.name), hierarchy)
    return list(found.values())


def _read_v1(place: str, options: list[str]) -> Hierarchy:
    names = [word.removeprefix("name=") for word in options if word.startswith("name=")]
    return Hierarchy(
        mount_point=place,
        is_v2=False,
        controllers=_CONTROLLERS.intersection(options),
        name="".join(names),
    )


def _remoteness(hierarchy: Hierarchy) -> tuple[bool, str]:
    return not hierarchy.mount_point.startswith(_USUAL_PLACE), hierarchy.mount_point


def _unescape(field: str) -> str:
    """Undo mountinfo's octal escapes of space, tab, newline and backslash."""
    if "\\" not in field:
        return field
    for code, character in (("040", " "), ("011", "\t"), ("012", "\n"), ("134", "\\")):
        field = field.replace(f"\\{code}", character)
    return field


class CgroupTree:
    """An open hierarchy: every path below it is relative to its mount's descriptor.

    Args:
        hierarchy: Which one.
        root: Directory that stands for ``/``; files below it are plain ones, not verified.
    """

    def __init__(self, hierarchy: Hierarchy, root: str = "") -> None:
        self.hierarchy = hierarchy
        self.place = root + hierarchy.mount_point
        self._magic = CGROUP2_SUPER_MAGIC if hierarchy.is_v2 else CGROUP_SUPER_MAGIC
        self._is_real = not root
        self._write_flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        if root:
            self._write_flags |= os.O_TRUNC
        self.fd = -1
        fd = self._open_dir(self.place, None)
        try:
            self._verify(fd, "")
        except CgroupError:
            os.close(fd)
            raise
        self.fd = fd

    @property
    def label(self) -> str:
        """Name of the hierarchy's directory (``memory``, ``cpu,cpuacct``, ``unified``)."""
        return os.path.basename(self.hierarchy.mount_point)

    def close(self) -> None:
        """Close the mount's descriptor; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def where(self, path: str) -> str:
        """Return the absolute path of *path*."""
        return f"{self.place}/{path}" if path else self.place

    def exists(self, path: str) -> bool:
        """Tell whether a file or group exists."""
        return os.access(path or ".", os.F_OK, dir_fd=self.fd)

    def make(self, path: str) -> bool:
        """Make one group whose parent exists; False when it is there already."""
        try:
            os.mkdir(path, 0o755, dir_fd=self.fd)
        except FileExistsError:
            return False
        except OSError as error:
            raise self._error("mkdir", path, error) from error
        return True

    def rename(self, old: str, new: str) -> None:
        """Rename a group within its parent; only v1 knows how."""
        try:
            os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except OSError as error:
            raise self._error("rename", f"{old} -> {new}", error) from error

    def remove_one(self, path: str) -> bool:
        """Remove a group; False when something still holds it, True when it is not there."""
        try:
            os.rmdir(path, dir_fd=self.fd)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
                return False
            raise self._error("rmdir", path, error) from error
        return True

    def write(self, file: str, value: str | int) -> None:
        """Write one value in one call, as cgroup files want it.

        Raises:
            CgroupError: Names the file and the value.
        """
        call, text = "open", str(value)
        try:
            fd = os.open(file, self._write_flags, dir_fd=self.fd)
            try:
                self._verify(fd, file)
                call = "write"
                os.write(fd, text.encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise self._error(f"{call} {text!r} to", file, error) from error

    def write_if_there(self, file: str, value: str | int) -> bool:
        """Write a file that not every kernel has; False when this one has not."""
        try:
            self.write(file, value)
        except CgroupError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True

    def read(self, file: str) -> str | None:
        """Return a file's content; None when there is no such file or group."""
        try:
            fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self.fd)
            try:
                chunks = [os.read(fd, _CHUNK_BYTES)]
                while chunks[-1]:
                    chunks.append(os.read(fd, _CHUNK_BYTES))
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
                return None  # ENODEV: removed meanwhile; EOPNOTSUPP: a threaded or a root group
            raise self._error("read", file, error) from error
        return b"".join(chunks).decode()

    def open_file(self, file: str) -> int:
        """Return a descriptor to watch a file by; -1 when there is no such file or group."""
        try:
            return os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self.fd)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return -1
            raise self._error("open", file, error) from error

    def open_group(self, path: str) -> int:
        """Return a verified descriptor of a group's directory, close-on-exec."""
        fd = self._open_dir(path, self.fd)
        try:
            self._verify(fd, path)
        except CgroupError:
            os.close(fd)
            raise
        return fd

    def descendants(self, path: str) -> list[str]:
        """Return every group below *path*, deepest first."""
        found: list[str] = []
        pending = [path]
        while pending:
            parent = pending.pop()
            names = [f"{parent}/{name}" for name in self.children(parent)]
            found += names
            pending += names
        return sorted(found, key=lambda name: name.count("/"), reverse=True)

    def children(self, path: str) -> list[str]:
        """Return the names of the groups directly below *path*."""
        try:
            fd = self._open_dir(path, self.fd)
        except CgroupError as error:
            if error.errno == errno.ENOENT:
                return []
            raise
        try:
            with os.scandir(fd) as entries:
                return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        finally:
            os.close(fd)

    def members(self, paths: Iterable[str]) -> list[int]:
        """Return the processes of some groups."""
        return [
            int(line)
            for path in paths
            for line in (self.read(f"{path}/cgroup.procs") or "").split()
        ]

    def _open_dir(self, path: str, dir_fd: int | None) -> int:
        try:
            return os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)
        except OSError as error:
            raise self._error("open", path if dir_fd is not None else "", error) from error

    def _verify(self, fd: int, path: str) -> None:
        if not self._is_real:
            return
        buffer = ctypes.create_string_buffer(_STATFS_BYTES)
        check(_fstatfs(fd, buffer), CgroupError, "fstatfs", self.where(path))
        (magic,) = struct.unpack_from("l", buffer)
        if magic != self._magic:
            raise CgroupError("verify", f"{self.where(path)} (not a cgroup file)", errno.EINVAL)

    def _error(self, call: str, path: str, error: OSError) -> CgroupError:
        return CgroupError(call, self.where(path), error.errno or errno.EIO)
