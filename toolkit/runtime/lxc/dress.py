# SPDX-License-Identifier: Apache-2.0
"""What is done in the container between LXC's work and the program's start.

A short-lived child enters the mount namespace that LXC made, while the
container's only process waits. It makes sure that each mount is what the
document meant (LXC looked the paths up itself, row S-44), gives it the exact
flags, puts the container's own devpts and control groups in, and covers what
the program must not see, with the same code as the native backend.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from toolkit.errors import BackendError, KernelCallError
from toolkit.kernel import mounts, namespaces, process
from toolkit.kernel.paths import open_in_root
from toolkit.runtime.lxc.config_writer import escape_fstab
from toolkit.runtime.lxc.stage import is_dressed
from toolkit.runtime.native.prepare import DEFAULT_LINKS, PlannedMount, Prepared
from toolkit.runtime.native.rootfs import cover_paths, mount_console, mount_entry

# What LXC adds to /dev (note H-5); terminals of its monitor, which is not there any more.
_LXC_DEVICES: Final = ("tty1", "ptmx", "console")


def dress_container(prepared: Prepared, init_pidfd: int, flags: int) -> None:
    """Check and finish the mounts of a container that LXC has made.

    Args:
        prepared: What the container was to be.
        init_pidfd: Its init.
        flags: The namespaces to enter.
    """
    document = prepared.document
    namespaces.enter(init_pidfd, flags)
    if flags & namespaces.CLONE_NEWUTS:
        process.set_domainname(document.get("domainname", ""))
    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    _take_lxc_devices_away()
    kinds = _read_kinds(prepared.proc_fd)
    for entry, mount in zip(prepared.mounts, document["mounts"], strict=True):
        if entry.kind == "devpts":
            mounts.unmount(os.fsencode(entry.target), mounts.MNT_DETACH)
        if is_dressed(entry, mount):
            mount_entry(root_fd, entry, prepared.cgroup_fds)
        else:
            _finish(root_fd, entry, prepared.proc_fd, kinds)
    if document["process"]["terminal"]:
        mount_console(root_fd, prepared.stdio.child_stdin)
    if document["root"].get("readonly"):
        mounts.set_mount_attributes(root_fd, set_=mounts.MOUNT_ATTR_RDONLY)
    mounts.set_mount_attributes(root_fd, propagation=mounts.MS_PRIVATE)
    linux = document["linux"]
    cover_paths(
        root_fd,
        readonly=linux.get("readonlyPaths") or (),
        masked=linux.get("maskedPaths") or (),
    )


def _take_lxc_devices_away() -> None:
    for name in _LXC_DEVICES:
        path = f"/dev/{name}"
        with suppress(KernelCallError):  # not a mount, or not there
            mounts.unmount(path.encode(), mounts.MNT_DETACH | _NOFOLLOW)
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
    os.symlink(dict(DEFAULT_LINKS)["ptmx"], "/dev/ptmx")


_NOFOLLOW: Final = 8  # UMOUNT_NOFOLLOW


def _finish(root_fd: int, entry: PlannedMount, proc_fd: int, kinds: dict[str, str]) -> None:
    """Make sure that a mount is the right one, and give it its flags."""
    mount_fd = open_in_root(root_fd, entry.target, os.O_PATH)
    try:
        if entry.fd >= 0:
            _require_same(mount_fd, entry)
        elif _kind_of(mount_fd, proc_fd, kinds) != entry.kind:
            raise BackendError(f"LXC mounted no {entry.kind} on {entry.target}")
        mounts.set_mount_attributes(
            mount_fd,
            set_=entry.attributes,
            propagation=entry.propagation,
            recursive=entry.kind == "bind",
        )
    finally:
        os.close(mount_fd)


def _require_same(mount_fd: int, entry: PlannedMount) -> None:
    found, meant = os.fstat(mount_fd), os.fstat(entry.fd)
    if (found.st_dev, found.st_ino) != (meant.st_dev, meant.st_ino):
        raise BackendError(f"what LXC mounted on {entry.target} is not what was asked for")


def _read_kinds(proc_fd: int) -> dict[str, str]:
    """Return the type of the filesystem on each mount point, by the mount's id and the place."""
    kinds = {}
    for line in _read(proc_fd, "self/mountinfo").splitlines():
        fields = line.split(" ")
        kinds[f"{fields[0]} {fields[4]}"] = fields[fields.index("-", 6) + 1]
    return kinds


def _kind_of(mount_fd: int, proc_fd: int, kinds: dict[str, str]) -> str:
    """Return the type of the filesystem at whose top a descriptor stands; empty elsewhere."""
    fdinfo = _read(proc_fd, f"self/fdinfo/{mount_fd}")
    mount_id = fdinfo.partition("mnt_id:")[2].split(maxsplit=1)[0]
    place = escape_fstab(os.readlink(f"self/fd/{mount_fd}", dir_fd=proc_fd))  # as mountinfo does
    return kinds.get(f"{mount_id} {place}", "")


def _read(proc_fd: int, name: str) -> str:
    """Read a file of the host's procfs, which shows this process as it is now."""
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc_fd)
    with open(fd, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()
