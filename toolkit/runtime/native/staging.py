# SPDX-License-Identifier: Apache-2.0
"""The mounts that every container gets, made ahead in a slot's own mount namespace.

They stand below one staging directory until the container's root is there;
then three moves put ``/proc``, ``/sys`` and ``/dev`` in place, with all that
is mounted below them. The host sees none of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Self

from toolkit.kernel import mounts
from toolkit.kernel.paths import make_dirs_in_root
from toolkit.runtime.document import (
    DEFAULT_SHM_BYTES,
    MASKED_PATHS,
    READONLY_PATHS,
    default_mounts,
)
from toolkit.runtime.native.prepare import make_dev, read_mount
from toolkit.runtime.native.rootfs import cover_paths, mount_entry

if TYPE_CHECKING:
    from contextlib import ExitStack

    from toolkit.runtime.backend import Document
    from toolkit.runtime.native.prepare import PlannedMount

_TOPS: Final = ("proc", "sys", "dev")


class Staging:
    """The default mounts of a container, staged.

    Attributes:
        count: How many mounts of a launch document it stands for: the first ones.
        dev_fd: The container's ``/dev``, a mount.
        devpts_fd: Its ``/dev/pts``.
    """

    def __init__(
        self, directory: str, planned: list[PlannedMount], cgroup_fds: dict[str, int]
    ) -> None:
        self._directory = directory
        self._planned = planned
        self._cgroup_fds = cgroup_fds
        self._tops: dict[str, int] = {}
        self.count = len(planned)
        by_target = {entry.target: entry.fd for entry in planned}
        self.dev_fd = by_target["/dev"]
        self.devpts_fd = by_target["/dev/pts"]

    @classmethod
    def prepare(cls, directory: str, cgroup_fds: dict[str, int], undo: ExitStack) -> Self:
        """Make, on the host's side, what the shim needs too: devices and terminals."""
        planned = []
        for mount in default_mounts(shm_size_bytes=DEFAULT_SHM_BYTES):
            entry = read_mount(mount)
            if entry.target == "/dev":
                entry = entry.with_fd(make_dev(entry, (), undo))
            elif entry.kind == "devpts":
                fd = mounts.new_filesystem("devpts", entry.options, entry.attributes)
                undo.callback(os.close, fd)
                entry = entry.with_fd(fd)
            planned.append(entry)
        return cls(directory, planned, cgroup_fds)

    def mount(self) -> None:
        """Mount everything below the staging directory: the first thing that the child does."""
        target_fd = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        root_fd = mounts.new_filesystem("tmpfs", {"size": "64k", "mode": "700"})
        mounts.set_mount_attributes(root_fd, propagation=mounts.MS_PRIVATE)
        mounts.attach_mount(root_fd, target_fd, self._directory)
        os.close(target_fd)
        for entry in self._planned:
            mount_entry(root_fd, entry, self._cgroup_fds)
        cover_paths(root_fd, readonly=READONLY_PATHS, masked=MASKED_PATHS)
        for name in _TOPS:
            self._tops[name] = os.open(
                name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root_fd
            )

    def move_to(self, root_fd: int) -> None:
        """Put the staged mounts into the container's root."""
        for name, mount_fd in self._tops.items():
            target_fd = make_dirs_in_root(root_fd, name)
            mounts.attach_mount(mount_fd, target_fd, name)
            os.close(target_fd)


def wants_default_mounts(document: Document) -> bool:
    """Say whether a container asks for just the mounts that are staged, and perhaps more."""
    linux = document["linux"]
    default = default_mounts(shm_size_bytes=DEFAULT_SHM_BYTES)
    return bool(
        document["mounts"][: len(default)] == default
        and (linux.get("maskedPaths") or []) == list(MASKED_PATHS)
        and (linux.get("readonlyPaths") or []) == list(READONLY_PATHS)
        and not linux.get("devices")
    )
