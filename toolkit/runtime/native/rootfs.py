# SPDX-License-Identifier: Apache-2.0
"""The container's tree, made in the child's own mount namespace, by descriptor.

The host never sees one of these mounts, so none can be left behind: they end
with the namespace.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from toolkit.errors import KernelCallError, MountError
from toolkit.kernel import mounts
from toolkit.kernel.paths import make_dirs_in_root, make_file_in_root, open_in_root

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toolkit.runtime.native.prepare import PlannedMount, Prepared
    from toolkit.runtime.native.staging import Staging

_RDONLY: Final = mounts.MOUNT_ATTR_RDONLY
_GUARDED: Final = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC


def mount_rootfs(prepared: Prepared, staging: Staging | None) -> int:
    """Mount the root and all below it; return the root's descriptor, not yet entered.

    Args:
        prepared: What to mount.
        staging: The default mounts, made ahead; None: they are among those to mount.
    """
    root_fd = mount_root(prepared)
    document = prepared.document
    if staging is not None:
        staging.move_to(root_fd)
    for entry in prepared.mounts:
        mount_entry(root_fd, entry, prepared.cgroup_fds)
    if document["process"]["terminal"]:
        mount_console(root_fd, prepared.stdio.child_stdin)
    if document["root"].get("readonly"):
        mounts.set_mount_attributes(root_fd, set_=_RDONLY)
    if staging is None:
        linux = document["linux"]
        cover_paths(
            root_fd,
            readonly=linux.get("readonlyPaths") or (),
            masked=linux.get("maskedPaths") or (),
        )
    return root_fd


def mount_root(prepared: Prepared) -> int:
    """Mount the container's layers; return the root's descriptor."""
    source, target = prepared.rootfs, os.fsencode(prepared.root_path)
    base_dir = source["base_dir"]
    if source["kind"] == "bind":
        base_fd = os.open(base_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        mount_fd = mounts.clone_tree(base_fd, source["bind_dir"])
        os.close(base_fd)
        target_fd = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        mounts.set_mount_attributes(mount_fd, propagation=mounts.MS_PRIVATE)
        mounts.attach_mount(mount_fd, target_fd, prepared.root_path)
        os.close(target_fd)
        return mount_fd
    os.chdir(base_dir)
    mounts.mount_overlay(target, _overlay_options(source))
    os.chdir("/")
    root_fd = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.set_mount_attributes(root_fd, propagation=mounts.MS_PRIVATE)
    return root_fd


def _overlay_options(source: dict[str, object]) -> str:
    lower = source["lower_dirs"]
    if not isinstance(lower, list):
        raise MountError("mount", "overlay", errno.EINVAL)
    # Row S-33: an untrusted layer must not redirect or borrow what it does not hold.
    return (
        f"lowerdir={':'.join(lower)},upperdir={source['upper_dir']},workdir={source['work_dir']},"
        "redirect_dir=nofollow,metacopy=off,index=off,xino=off"
    )


def mount_entry(root_fd: int, entry: PlannedMount, cgroup_fds: dict[str, int]) -> None:
    """Make one mount inside the root."""
    if entry.kind == "cgroup":
        _mount_cgroups(root_fd, entry, cgroup_fds)
        return
    mount_fd = entry.fd
    if mount_fd < 0:
        mount_fd = mounts.new_filesystem(entry.kind, entry.options, entry.attributes)
    elif entry.kind == "bind":
        mounts.set_mount_attributes(
            mount_fd, set_=entry.attributes, propagation=entry.propagation, recursive=True
        )
    make_target = make_file_in_root if entry.is_file else make_dirs_in_root
    target_fd = make_target(root_fd, entry.target)
    try:
        mounts.attach_mount(mount_fd, target_fd, entry.target)
    finally:
        os.close(target_fd)
    if entry.fd < 0:
        os.close(mount_fd)


def _mount_cgroups(root_fd: int, entry: PlannedMount, groups: dict[str, int]) -> None:
    """Show the container its own control groups, read-only unless privileged (row S-31)."""
    target_fd = make_dirs_in_root(root_fd, entry.target)
    attributes = entry.attributes | _GUARDED
    if list(groups) == [""]:  # cgroup v2: the one hierarchy stands at the target itself
        _attach_group(groups[""], target_fd, attributes)
        os.close(target_fd)
        return
    tree_fd = mounts.new_filesystem("tmpfs", {"mode": "755", "size": "64k"})
    mounts.attach_mount(tree_fd, target_fd, entry.target)
    for name, group_fd in groups.items():
        os.mkdir(name, 0o755, dir_fd=tree_fd)
        name_fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree_fd)
        _attach_group(group_fd, name_fd, attributes)
        os.close(name_fd)
    mounts.set_mount_attributes(tree_fd, set_=attributes)
    os.close(tree_fd)
    os.close(target_fd)


def _attach_group(mount_fd: int, target_fd: int, attributes: int) -> None:
    mounts.set_mount_attributes(mount_fd, set_=attributes, propagation=mounts.MS_PRIVATE)
    mounts.attach_mount(mount_fd, target_fd)


def mount_console(root_fd: int, terminal_fd: int) -> None:
    """Make the program's terminal its ``/dev/console`` (runtime-spec, "Default Devices")."""
    os.close(make_file_in_root(root_fd, "/dev/console", 0o600))
    console_fd = open_in_root(root_fd, "/dev/console", os.O_PATH | os.O_NOFOLLOW)
    mount_fd = mounts.clone_tree(terminal_fd)
    mounts.attach_mount(mount_fd, console_fd, "/dev/console")
    os.close(mount_fd)
    os.close(console_fd)


def cover_paths(root_fd: int, *, readonly: Iterable[str], masked: Iterable[str]) -> None:
    """Make paths of the root read-only, hide others; what is not there is passed over."""
    for path in readonly:
        _make_read_only(root_fd, path)
    _mask(root_fd, masked)


def _make_read_only(root_fd: int, path: str) -> None:
    found_fd = _open_existing(root_fd, path)
    if found_fd < 0:
        return
    mount_fd = mounts.clone_tree(found_fd, recursive=True)
    mounts.set_mount_attributes(mount_fd, set_=_RDONLY, recursive=True)
    mounts.attach_mount(mount_fd, found_fd, path)
    os.close(mount_fd)
    os.close(found_fd)


def _mask(root_fd: int, paths: Iterable[str]) -> None:
    """Hide paths: a directory behind one empty tmpfs, a file behind the container's null.

    The tmpfs itself covers the first directory, binds of it the others: before Linux 6.15
    a mount that is attached nowhere cannot be cloned.
    """
    null_fd = _open_null(root_fd)
    empty_fd = -1
    for path in paths:
        found_fd = _open_existing(root_fd, path)
        if found_fd < 0:
            continue
        if _is_directory(found_fd):
            if empty_fd < 0:
                cover_fd = empty_fd = mounts.new_filesystem(
                    "tmpfs", {"size": "0", "mode": "755"}, _RDONLY | _GUARDED
                )
            else:
                cover_fd = mounts.clone_tree(empty_fd)
        else:
            cover_fd = mounts.clone_tree(null_fd)
        mounts.attach_mount(cover_fd, found_fd, path)
        if cover_fd != empty_fd:
            os.close(cover_fd)
        os.close(found_fd)
    os.close(null_fd)
    if empty_fd >= 0:
        os.close(empty_fd)


def _open_existing(root_fd: int, path: str) -> int:
    try:
        return open_in_root(root_fd, path, os.O_PATH)
    except KernelCallError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return -1
        raise


def _is_directory(path_fd: int) -> bool:
    return stat.S_ISDIR(os.fstat(path_fd).st_mode)


def _open_null(root_fd: int) -> int:
    """Open the container's null device and make sure that it is one (row S-22)."""
    null_fd = open_in_root(root_fd, "/dev/null", os.O_PATH | os.O_NOFOLLOW)
    if os.fstat(null_fd).st_rdev != os.makedev(1, 3):
        raise MountError("mask", "/dev/null", errno.ENODEV)
    return null_fd
