# SPDX-License-Identifier: Apache-2.0
"""The place where `lxc-start` runs: a mount namespace of its own, with the root in it.

The root, the container's ``/dev`` and the first step exist nowhere else, so none
of them is visible on the host or can be left behind. Mount points are made, and
links in their paths resolved, by descriptor inside the root: what LXC reads in
the configuration are paths without links, and it refuses a link that somebody
puts there meanwhile (row S-44). What it has mounted is checked by `dress`.

`lxc-start` is executed here before anybody asks for a container, and waits for its
configuration: a pipe in its own ``/run/lxc``. Another child, which has entered this
place, sets it up for one container and writes the configuration.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import BackendError, InvalidRequestError
from toolkit.kernel import mounts, process
from toolkit.kernel.cgroup_tree import parse_hierarchies
from toolkit.kernel.paths import make_dirs_in_root, make_file_in_root
from toolkit.runtime.lxc.config_writer import MountEntry
from toolkit.runtime.lxc.first_step import first_step
from toolkit.runtime.lxc.template import INIT_PATH, Document, HostFacts, configuration
from toolkit.runtime.native.peers import peer_of
from toolkit.runtime.native.rootfs import mount_root

if TYPE_CHECKING:
    from toolkit.runtime.native.child import Description
    from toolkit.runtime.native.prepare import PlannedMount, Prepared

CONFIG_NAME: Final = "config.lxc"
LOG_NAME: Final = "lxc.log"

_LXC_RUN_DIR: Final = "/run/lxc"
_CONFIG_PIPE: Final = f"{_LXC_RUN_DIR}/config"
_CONFIG_COPY: Final = f"{_CONFIG_PIPE}.file"
_CGROUP_DIR: Final = "/sys/fs/cgroup"
# What the kernel fills; nobody mounts files or directories of ours below these but LXC.
_FILLED: Final = frozenset({"proc", "sysfs", "mqueue", "tmpfs"})
_DRESSED: Final = frozenset({"cgroup", "devpts"})
# Not "ro": given to mount(2) it is the whole filesystem's, which the host may share; `dress`
# makes the mount alone read-only.
_WORDS: Final = (
    (mounts.MOUNT_ATTR_NOSUID, "nosuid"),
    (mounts.MOUNT_ATTR_NODEV, "nodev"),
    (mounts.MOUNT_ATTR_NOEXEC, "noexec"),
)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A mount of the document and where it goes.

    Attributes:
        path: Relative to the root, without links.
        is_inside: It lies in a filesystem that is empty until LXC has mounted it.
    """

    entry: PlannedMount
    path: str
    is_inside: bool = False


def set_stage(controllers: set[str]) -> None:
    """Do in the new mount namespace what needs no document.

    Args:
        controllers: Those of cgroup v1 that LXC makes groups for; none for cgroup v2.
    """
    mounts.set_propagation(b"/", mounts.MS_REC | mounts.MS_SLAVE)
    _cover_run_dir()
    os.mkfifo(_CONFIG_PIPE, 0o600)
    _show_hierarchies(controllers)


def prepare_stage(description: Description, prepared: Prepared) -> None:
    """Mount the root, write the configuration, and hand it to LXC, which waits for it."""
    with ExitStack() as undo:
        root_fd = mount_root(prepared)
        undo.callback(os.close, root_fd)
        placed = place_mounts(root_fd, prepared)
    put_first_step(prepared)
    text = configuration(
        prepared.document,
        root_path=prepared.root_path,
        mounts=mount_entries(placed, prepared.document),
        facts=HostFacts(**description["facts"]),
    ).render()
    for path in (description["config"], _CONFIG_PIPE):
        with open(path, "wb") as file:
            file.write(text)


def place_mounts(root_fd: int, prepared: Prepared) -> list[Placed]:
    """Make every mount point and find its place; leave only the root and ``/dev`` mounted."""
    base = _path_of(root_fd, prepared.proc_fd)
    placed: list[Placed] = []
    attached: list[str] = []
    directories = sum(entry.kind == "bind" and not entry.is_file for entry in prepared.mounts)
    for entry, mount in zip(prepared.mounts, prepared.document["mounts"], strict=True):
        if is_dressed(entry, mount):
            placed.append(Placed(entry=entry, path=entry.target.lstrip("/")))
            continue
        place = _inside_filled(entry, placed) or _place(root_fd, entry, base, prepared.proc_fd)
        placed.append(place)
        if entry.kind == "tmpfs" and entry.fd >= 0:
            _attach(root_fd, entry, place)  # /dev
        elif entry.kind == "bind" and not entry.is_file and not place.is_inside and directories > 1:
            _attach(root_fd, entry, place)
            attached.append(f"{base}/{place.path}")
    for path in reversed(attached):
        mounts.unmount(os.fsencode(path), mounts.MNT_DETACH)
    return placed


def _inside_filled(entry: PlannedMount, placed: list[Placed]) -> Placed | None:
    """Return the place of a mount below one that is made empty by LXC."""
    target = os.path.normpath(entry.target).lstrip("/")
    for place in reversed(placed):
        above = os.path.normpath(place.entry.target).lstrip("/")
        if not target.startswith(f"{above}/"):
            continue
        if place.entry.fd >= 0:
            return None
        rest = target.removeprefix(f"{above}/")
        return Placed(entry=entry, path=f"{place.path}/{rest}", is_inside=True)
    return None


def _place(root_fd: int, entry: PlannedMount, base: str, proc_fd: int) -> Placed:
    make_target = make_file_in_root if entry.is_file else make_dirs_in_root
    target_fd = make_target(root_fd, entry.target)
    try:
        path = _path_of(target_fd, proc_fd)
    finally:
        os.close(target_fd)
    if not path.startswith(f"{base}/"):
        raise InvalidRequestError(f"mount target {entry.target!r} is no place below the root")
    return Placed(entry=entry, path=path.removeprefix(f"{base}/"))


def _attach(root_fd: int, entry: PlannedMount, place: Placed) -> None:
    """Attach a mount for those that come below it."""
    if entry.kind == "bind":
        mounts.set_mount_attributes(entry.fd, propagation=mounts.MS_PRIVATE, recursive=True)
    target_fd = make_dirs_in_root(root_fd, place.path)
    mounts.attach_mount(entry.fd, target_fd, entry.target)
    os.close(target_fd)


def _path_of(fd: int, proc_fd: int) -> str:
    return os.readlink(f"self/fd/{fd}", dir_fd=proc_fd)


def put_first_step(prepared: Prepared) -> None:
    """Write the init into the container's ``/dev``, which for so long may hold a program."""
    dev_fd = next(entry.fd for entry in prepared.mounts if entry.target == "/dev")
    mounts.set_mount_attributes(dev_fd, clear=mounts.MOUNT_ATTR_NOEXEC)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    name = INIT_PATH.removeprefix("/dev/")
    file_fd = os.open(name, flags, 0o500, dir_fd=dev_fd)
    try:
        os.write(file_fd, first_step(INIT_PATH))
    finally:
        os.close(file_fd)


def is_dressed(entry: PlannedMount, mount: dict[str, Any]) -> bool:
    """Tell whether a mount is made by `dress`: what LXC has no word for, or cannot reach."""
    return entry.kind in _DRESSED or (entry.kind == "bind" and peer_of(mount["source"]) > 0)


def mount_entries(placed: list[Placed], document: Document) -> list[MountEntry]:
    """Return the lines of LXC's fstab for the mounts that it makes."""
    return [
        _mount_entry(place, mount)
        for place, mount in zip(placed, document["mounts"], strict=True)
        if not is_dressed(place.entry, mount) and (place.entry.fd < 0 or place.entry.kind == "bind")
    ]


def _mount_entry(place: Placed, mount: dict[str, Any]) -> MountEntry:
    entry = place.entry
    words = [word for flag, word in _WORDS if entry.attributes & flag]
    if entry.kind == "bind":
        access = "ro" if entry.attributes & mounts.MOUNT_ATTR_RDONLY else "rw"
        words = ["rbind" if entry.recursive else "bind", access, *words]
    words += [key if value is None else f"{key}={value}" for key, value in entry.options.items()]
    create = ("file" if entry.is_file else "dir") if place.is_inside else ""
    return MountEntry(
        source=mount["source"] if entry.kind == "bind" else entry.kind,
        target=place.path,
        kind="none" if entry.kind == "bind" else entry.kind,
        options=tuple(words),
        create=create,
        field=f"mount {entry.target!r}",
    )


def _cover_run_dir() -> None:
    """Give LXC a directory of its own for its locks; it goes with this namespace."""
    with suppress(FileExistsError):
        os.mkdir(_LXC_RUN_DIR, 0o755)
    _cover(_LXC_RUN_DIR, mounts.new_filesystem("tmpfs", {"size": "64k", "mode": "700"}))


def _show_hierarchies(controllers: set[str]) -> None:
    """Show LXC the hierarchies that the engine makes groups in, so that it makes no others."""
    if not controllers:  # cgroup v2 alone
        return
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        hierarchies = parse_hierarchies(file.read())
    shown = {
        os.path.basename(one.mount_point): mounts.clone_tree(mounts.AT_FDCWD, one.mount_point)
        for one in hierarchies
        if controllers & one.controllers
    }
    tree_fd = mounts.new_filesystem("tmpfs", {"size": "64k", "mode": "755"})
    for name in shown:
        os.mkdir(name, 0o755, dir_fd=tree_fd)
    # First of all: kernels before 6.15 mount nothing on what is attached nowhere itself.
    _cover(_CGROUP_DIR, tree_fd)
    for name, mount_fd in shown.items():
        _cover(os.path.join(_CGROUP_DIR, name), mount_fd)


def _cover(path: str, mount_fd: int) -> None:
    target_fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.attach_mount(mount_fd, target_fd, path)
    os.close(mount_fd)
    os.close(target_fd)


def copy_configuration(pipe: str, target: str) -> None:
    """Wait for the configuration that comes through a pipe, and put it into a file."""
    with open(pipe, "rb") as source, open(target, "wb") as file:
        file.write(source.read())


def become_lxc(description: Description, fds: list[int]) -> None:
    """Become `lxc-start`, which reads its configuration from a pipe: it waits for one.

    An LXC that cannot read pipes is waited for here instead. The command stands in
    the arguments, too: whatever was read, there is nothing else to run.
    """
    link_fd, log_fd = fds
    config = _CONFIG_PIPE
    if not description["reads_pipes"]:
        config = _CONFIG_COPY
        copy_configuration(_CONFIG_PIPE, config)
    null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd, number in ((link_fd, 0), (log_fd, 1), (null_fd, 2)):
        os.dup2(fd, number)
    process.die_with_parent(signal.SIGKILL)
    process.close_from_on_exec(3)
    arguments = [
        description["lxc_start"], "--foreground", f"--lxcpath={_LXC_RUN_DIR}",
        f"--name={description['name']}", f"--rcfile={config}",
        "--logfile=/proc/self/fd/1", "--logpriority=WARN", "--", INIT_PATH,
    ]  # fmt: skip
    try:
        os.execve(arguments[0], arguments, {"PATH": os.defpath})  # noqa: S606 - no shell
    except OSError as error:
        raise BackendError(f"cannot execute {arguments[0]}: {error.strerror}") from error
