# SPDX-License-Identifier: Apache-2.0
"""The native backend as a shim sees it: a container's first program, or another one in it."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from toolkit.errors import BackendError, KernelCallError, NotRunningError
from toolkit.kernel import mounts, process
from toolkit.kernel.cgroups import Cgroup, CgroupHost
from toolkit.kernel.paths import open_in_root
from toolkit.runtime.backend import Document, ProgramEnds
from toolkit.runtime.native.launch import Launched, launch_container, launch_exec
from toolkit.runtime.native.prepare import Stdio, open_stdio, prepare, read_seccomp

_REMOVE_SECONDS: Final = 10.0
_PTMX: Final = os.makedev(5, 2)
_NULL: Final = os.makedev(1, 3)


@dataclass(kw_only=True)
class NativeProgram:
    """A running program; see `toolkit.runtime.backend.Program`."""

    pid: int
    pidfd: int
    ends: ProgramEnds
    ends_with_namespace: bool
    _cgroup: Cgroup
    _held: tuple[int, ...]
    _owns_cgroup: bool

    def was_oom_killed(self) -> bool:
        """Say whether the kernel killed in its cgroup for want of memory."""
        return self._owns_cgroup and self._cgroup.oom_kill_count() > 0

    def kill_rest(self) -> None:
        """Kill what is left in its cgroup."""
        if self._owns_cgroup:
            self._cgroup.kill()

    def release(self) -> None:
        """Close the namespaces, which ends them, and remove the cgroup."""
        for fd in self._held:
            os.close(fd)
        self._held = ()
        if self._owns_cgroup:
            self._cgroup.remove(_REMOVE_SECONDS)


def start_container(document: Document, host: CgroupHost) -> NativeProgram:
    """Run the first program of the container that *document* describes.

    Raises:
        ToolkitError: Nothing was started, and nothing is left of the attempt.
    """
    with ExitStack() as sources, ExitStack() as undo:
        cgroup = _make_cgroup(document, host, undo)
        prepared = prepare(document, sources)
        prepared.cgroup_fds = _clone_own_cgroups(cgroup, sources)
        _undo_ends(prepared.stdio, undo)
        launched = launch_container(prepared, cgroup)
        undo.pop_all()
    kinds = {entry["type"] for entry in document["linux"]["namespaces"] if not entry.get("path")}
    return _program(launched, prepared.stdio, cgroup, owns_cgroup=True, own_pids="pid" in kinds)


def _make_cgroup(document: Document, host: CgroupHost, undo: ExitStack) -> Cgroup:
    cgroup = host.cgroup(document["linux"]["cgroupsPath"])
    undo.callback(cgroup.remove, _REMOVE_SECONDS)
    cgroup.create()
    cgroup.apply(document["linux"].get("resources") or {})
    return cgroup


def _clone_own_cgroups(cgroup: Cgroup, undo: ExitStack) -> dict[str, int]:
    """Bind the container's own control groups, detached; only this namespace holds them yet."""
    mount_fds = {}
    for name, dir_fd in cgroup.dir_fds().items():
        mount_fds[name] = mounts.clone_tree(dir_fd)
        undo.callback(os.close, mount_fds[name])
        os.close(dir_fd)
    return mount_fds


def _undo_ends(stdio: Stdio, undo: ExitStack) -> None:
    for fd in (stdio.stdin, stdio.stdout, stdio.stderr, stdio.terminal):
        if fd >= 0:
            undo.callback(os.close, fd)


def _program(
    launched: Launched, stdio: Stdio, cgroup: Cgroup, *, owns_cgroup: bool, own_pids: bool
) -> NativeProgram:
    return NativeProgram(
        pid=launched.pid,
        pidfd=launched.pidfd,
        ends=ProgramEnds(
            stdin=stdio.stdin, stdout=stdio.stdout, stderr=stdio.stderr, terminal=stdio.terminal
        ),
        ends_with_namespace=own_pids,
        _cgroup=cgroup,
        _held=launched.held,
        _owns_cgroup=owns_cgroup,
    )


def start_exec(document: Document, spec: Document, host: CgroupHost) -> NativeProgram:
    """Run another program in the container of *document*.

    Args:
        document: The container's own launch document.
        spec: ``process``, ``annotations``, ``init_pid``, ``init_start_time``.
        host: The cgroups of this machine.

    Raises:
        NotRunningError: The container has ended meanwhile.
        ToolkitError: The program could not be started.
    """
    with ExitStack() as sources, ExitStack() as undo:
        init_pidfd = _open_init(document, spec, sources)
        root_fd = os.open(
            f"/proc/{spec['init_pid']}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        )
        sources.callback(os.close, root_fd)
        stdio = _open_exec_stdio(spec, root_fd, sources)
        _undo_ends(stdio, undo)
        cgroup = host.cgroup(document["linux"]["cgroupsPath"])
        kinds = tuple(entry["type"] for entry in document["linux"]["namespaces"])
        launched = launch_exec(
            spec["process"],
            spec["annotations"],
            init_pidfd=init_pidfd,
            root_fd=root_fd,
            stdio=stdio,
            seccomp=read_seccomp(spec["annotations"]),
            kinds=kinds,
            cgroup=cgroup,
        )
        undo.pop_all()
    return _program(launched, stdio, cgroup, owns_cgroup=False, own_pids=False)


def _open_init(document: Document, spec: Document, undo: ExitStack) -> int:
    """Open the container's first process, and make sure that it is still the same one."""
    container_id = document["annotations"]["toolkit.container.id"]
    try:
        pidfd = process.open_pidfd(spec["init_pid"])
    except KernelCallError as error:
        raise NotRunningError(container_id) from error
    undo.callback(os.close, pidfd)
    if process.start_time_ticks(spec["init_pid"]) != spec["init_start_time"]:
        raise NotRunningError(container_id)
    return pidfd


def _open_exec_stdio(spec: Document, root_fd: int, undo: ExitStack) -> Stdio:
    has_tty = spec["process"]["terminal"]
    dev_fd = devpts_fd = -1
    if has_tty:
        _require_device(root_fd, "/dev/pts/ptmx", _PTMX)
        devpts_fd = open_in_root(root_fd, "/dev/pts", os.O_RDONLY | os.O_DIRECTORY)
        undo.callback(os.close, devpts_fd)
    else:
        _require_device(root_fd, "/dev/null", _NULL)
        dev_fd = open_in_root(root_fd, "/dev", os.O_RDONLY | os.O_DIRECTORY)
        undo.callback(os.close, dev_fd)
    return open_stdio(
        has_tty=has_tty,
        open_stdin=bool(spec["annotations"].get("toolkit.stdin.open")),
        null_dir_fd=dev_fd,
        devpts_fd=devpts_fd,
        undo=undo,
    )


def _require_device(root_fd: int, path: str, number: int) -> None:
    """Refuse a device that the container has put something else in the place of."""
    device_fd = open_in_root(root_fd, path, os.O_PATH | os.O_NOFOLLOW)
    status = os.fstat(device_fd)
    os.close(device_fd)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != number:
        raise BackendError(f"{path} of the container is not the device it should be")
