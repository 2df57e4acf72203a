# SPDX-License-Identifier: Apache-2.0
"""A container's tree, or an image's, as a mount that nobody else sees.

The mounts stand in the mount namespace of one thread, which ends with it: none
is visible on the host, in a container or to another thread, and a crash leaves
none. The thread shares memory with its process but not its root, its working
directory or its mounts (unshare(2): ``CLONE_NEWNS`` implies ``CLONE_FS``).
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from toolkit.errors import KernelCallError, MountError, StorageError
from toolkit.kernel import mounts
from toolkit.kernel.namespaces import CLONE_NEWNS, enter, open_namespace, unshare
from toolkit.kernel.paths import make_dirs_in_root, make_file_in_root, open_in_root
from toolkit.kernel.process import start_time_ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from toolkit.storage.driver import RootfsSource

_Result = TypeVar("_Result")

_SCRATCH: Final = "staging"  # covered in the thread's namespace alone
_TARGET: Final = "trash"
_O_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True)
class Bind:
    """A directory or file of the host to be seen at a place of a view.

    Attributes:
        target: A path in the view.
    """

    source: str
    target: str
    read_only: bool = False


def run_privately(act: Callable[[], _Result]) -> _Result:
    """Call something in a thread with a mount namespace of its own; return what it returns.

    Raises:
        KernelCallError: This process may not have one; or whatever *act* raises.
    """
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            unshare(CLONE_NEWNS)
            # The host's unmounts come in, so nothing there is kept busy; nothing goes out.
            mounts.set_propagation(b"/", mounts.MS_REC | mounts.MS_SLAVE)
            results.append(act())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="private mounts", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def viewed_root(source: RootfsSource, binds: Sequence[Bind] = ()) -> Iterator[int]:
    """Give a container's tree to read, with *binds* in it; what is written goes nowhere.

    Only within `run_privately`. Of a container that runs this is what is in its
    own layer at the time of the look. With the kind `bind` there is nothing that
    could take writes: missing mount points are made in the tree.
    """
    if source.kind == "bind":
        with changeable_root(source, binds) as root_fd:
            yield root_fd
        return
    lower_dirs = [source.upper_dir, *source.lower_dirs] if source.upper_dir else source.lower_dirs
    with viewed_layers(source.base_dir, lower_dirs) as root_fd:
        attach_binds(root_fd, binds)
        yield root_fd


@contextmanager
def viewed_layers(base_dir: str, lower_dirs: Sequence[str]) -> Iterator[int]:
    """Give layers, topmost first, as one tree to read; only within `run_privately`."""
    os.chdir(base_dir)
    scratch_fd = mounts.new_filesystem("tmpfs", {"mode": "700"})
    with ExitStack() as opened:
        opened.callback(os.close, scratch_fd)
        for name in ("upper", "work"):
            os.mkdir(name, 0o755, dir_fd=scratch_fd)
        _copy_root_metadata(lower_dirs[0], scratch_fd)
        _attach(scratch_fd, _SCRATCH)
        yield _overlay(lower_dirs, f"{_SCRATCH}/upper", f"{_SCRATCH}/work", opened)


@contextmanager
def changeable_root(
    source: RootfsSource, binds: Sequence[Bind] = (), *, read_only: bool = False
) -> Iterator[int]:
    """Give the tree of a container that does not run, to be changed.

    Only within `run_privately`, and while nothing starts the container. With
    *read_only* only what is in *binds* can be changed.
    """
    os.chdir(source.base_dir)
    with ExitStack() as opened:
        if source.kind == "bind":
            tree_fd = os.open(source.bind_dir, _O_DIRECTORY)
            opened.callback(os.close, tree_fd)
            mount_fd = mounts.clone_tree(tree_fd)
            opened.callback(os.close, mount_fd)
            mounts.set_mount_attributes(mount_fd, propagation=mounts.MS_PRIVATE)
            _attach(mount_fd, _TARGET)
            root_fd = os.open(_TARGET, _O_DIRECTORY)
            opened.callback(os.close, root_fd)
        else:
            root_fd = _overlay(source.lower_dirs, source.upper_dir, source.work_dir, opened)
        attach_binds(root_fd, binds)
        if read_only:
            mounts.set_mount_attributes(root_fd, set_=mounts.MOUNT_ATTR_RDONLY)
        yield root_fd


def attach_binds(root_fd: int, binds: Sequence[Bind]) -> None:
    """Attach what a container has mounted; a place that cannot be made is passed over."""
    for bind in binds:
        try:
            source_fd = os.open(bind.source, os.O_PATH | os.O_CLOEXEC)
        except OSError:  # gone meanwhile: a start would say so
            continue
        with ExitStack() as opened:
            opened.callback(os.close, source_fd)
            is_directory = stat.S_ISDIR(os.fstat(source_fd).st_mode)
            mount_fd = mounts.clone_tree(source_fd, recursive=True)
            opened.callback(os.close, mount_fd)
            attributes = mounts.MOUNT_ATTR_RDONLY if bind.read_only else 0
            mounts.set_mount_attributes(
                mount_fd, set_=attributes, propagation=mounts.MS_PRIVATE, recursive=True
            )
            make_target = make_dirs_in_root if is_directory else make_file_in_root
            try:
                target_fd = make_target(root_fd, bind.target)
            except KernelCallError:
                continue
            opened.callback(os.close, target_fd)
            mounts.attach_mount(mount_fd, target_fd, bind.target)


@contextmanager
def running_root(pid: int, started_ticks: int) -> Iterator[int]:
    """Give the root of a running program without what is mounted below it.

    Only within `run_privately`.

    Raises:
        StorageError: The program has ended.
    """
    own_fd = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    with ExitStack() as opened:
        opened.callback(os.close, own_fd)
        its_fd = _open_checked(pid, started_ticks)
        opened.callback(os.close, its_fd)
        enter(its_fd, CLONE_NEWNS)
        try:  # nothing may be imported here: files are the container's for these two calls
            mount_fd = mounts.clone_tree(-100, b"/")
        finally:
            enter(own_fd, CLONE_NEWNS)
        opened.callback(os.close, mount_fd)
        root_fd = os.open(b".", _O_DIRECTORY, dir_fd=mount_fd)
        opened.callback(os.close, root_fd)
        yield root_fd


@contextmanager
def opened_process_root(pid: int, started_ticks: int) -> Iterator[int]:
    """Give the root of a running program, with all that it has mounted, by descriptor.

    Raises:
        StorageError: The program has ended.
    """
    try:
        root_fd = os.open(f"/proc/{pid}/root", _O_DIRECTORY)
    except OSError as error:
        raise StorageError("the container's program has ended") from error
    try:
        if start_time_ticks(pid) != started_ticks:
            raise StorageError("the container's program has ended")
        yield root_fd
    finally:
        os.close(root_fd)


def _open_checked(pid: int, started_ticks: int) -> int:
    try:
        namespace_fd = open_namespace(pid, "mount")
    except KernelCallError as error:
        raise StorageError("the container's program has ended") from error
    if start_time_ticks(pid) != started_ticks:
        os.close(namespace_fd)
        raise StorageError("the container's program has ended")
    return namespace_fd


def _attach(mount_fd: int, target: str) -> None:
    target_fd = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mounts.attach_mount(mount_fd, target_fd, target)
    finally:
        os.close(target_fd)


def _overlay(lower_dirs: Sequence[str], upper: str, work: str, opened: ExitStack) -> int:
    options = (
        f"lowerdir={':'.join(lower_dirs)},upperdir={upper},workdir={work},"
        "redirect_dir=nofollow,metacopy=off,index=off,xino=off"
    )
    try:
        mounts.mount_overlay(os.fsencode(_TARGET), options)
    except MountError as error:
        if error.errno == errno.EBUSY:
            raise StorageError("the container's file system is in use") from error
        raise
    root_fd = os.open(_TARGET, _O_DIRECTORY)
    opened.callback(os.close, root_fd)
    mounts.set_mount_attributes(root_fd, propagation=mounts.MS_PRIVATE)
    return root_fd


def _copy_root_metadata(lower_dir: str, scratch_fd: int) -> None:
    """Make the upper directory's own metadata that of the tree below: the merged root shows it."""
    below_fd = os.open(lower_dir, _O_DIRECTORY)
    upper_fd = open_in_root(scratch_fd, "upper", _O_DIRECTORY)
    try:
        status = os.fstat(below_fd)
        os.fchown(upper_fd, status.st_uid, status.st_gid)
        os.fchmod(upper_fd, stat.S_IMODE(status.st_mode))
        os.utime(upper_fd, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        os.close(below_fd)
        os.close(upper_fd)
