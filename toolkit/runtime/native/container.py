# SPDX-License-Identifier: Apache-2.0
"""The native backend as a shim sees it: a container's first program, or another one in it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from toolkit.errors import BackendError, KernelCallError, NotRunningError
from toolkit.kernel import namespaces, process
from toolkit.kernel.paths import open_in_root
from toolkit.runtime.backend import Document, ProgramEnds
from toolkit.runtime.native.child import Child, Description
from toolkit.runtime.native.launch import CLONED, become_container, become_exec, set_up_early
from toolkit.runtime.native.prepare import (
    Stdio,
    open_stdio,
    prepare,
    read_seccomp,
    set_console_size,
)
from toolkit.runtime.native.slot import Slot, clone_own_cgroups
from toolkit.runtime.native.staging import Staging, wants_default_mounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolkit.kernel.cgroups import Cgroup, CgroupHost
    from toolkit.runtime.gate import Gate

_REMOVE_SECONDS: Final = 10.0


@dataclass(kw_only=True)
class NativeProgram:
    """A running program; see `toolkit.runtime.backend.Program`.

    Attributes:
        held: Its namespaces: while these are open, taking them down (milliseconds)
            waits, and does not delay the report of its end.
        cgroup: The container's group; None for a program that was added.
    """

    pid: int
    pidfd: int
    ends: ProgramEnds
    ends_with_namespace: bool = False
    held: tuple[int, ...] = ()
    cgroup: Cgroup | None = None

    def was_oom_killed(self) -> bool:
        """Say whether the kernel killed in its cgroup for want of memory."""
        return self.cgroup is not None and self.cgroup.oom_kill_count() > 0

    def kill_rest(self) -> None:
        """Kill what is left in its cgroup."""
        if self.cgroup is not None:
            self.cgroup.kill()

    def release(self) -> None:
        """Close the namespaces, which ends them, and remove the cgroup."""
        for fd in self.held:
            os.close(fd)
        self.held = ()
        if self.cgroup is not None:
            self.cgroup.remove(_REMOVE_SECONDS)


def start_container(
    document: Document,
    bundle: str,
    host: CgroupHost,
    slot: Slot | None = None,
    *,
    meanwhile: Callable[[], None] = lambda: None,
    gate: Gate | None = None,
) -> NativeProgram:
    """Run the first program of the container that *document* describes.

    *meanwhile* is called while the child is at work; the program waits at the *gate*.

    Raises:
        ToolkitError: Nothing was started, and nothing is left of the attempt.
    """
    own, entered, wants_pids = _read_namespaces(document)
    with ExitStack() as sources, ExitStack() as undo:
        offered = _offer_early(slot, gate, undo)
        child, cgroup, staging, is_slots = _take_child(
            document, host, own, slot, offered, undo=undo
        )
        resources = document["linux"].get("resources") or {}
        cgroup.apply(Slot.lacking(resources) if is_slots else resources)
        if offered and not is_slots:
            own &= ~namespaces.CLONE_NEWNET
            entered.append((f"/proc/self/fd/{offered[0]}", namespaces.CLONE_NEWNET))
        held = _hold_namespaces(child.pid, own, offered, undo)
        if gate is not None and not offered:
            gate.offer(held[-1])
        prepared = prepare(document, bundle, sources, staging)
        if staging is None:
            prepared.cgroup_fds = clone_own_cgroups(cgroup, sources)
        _undo_ends(prepared.stdio, undo)
        fds: list[int] = []
        description = prepared.describe(fds)
        description["own"] = own
        description["is_staged"] = staging is not None
        description["entered"] = _open_entered(entered, own, fds, sources)
        description["gate"] = len(fds)
        if gate is not None:
            fds.append(gate.read_fd)
        child.tell(description, fds)
        meanwhile()
        if gate is not None:
            gate.await_connected()
        child.await_program()
        undo.pop_all()
    return NativeProgram(
        pid=child.pid, pidfd=child.pidfd, ends=_ends(prepared.stdio),
        ends_with_namespace=wants_pids, held=held, cgroup=cgroup,
    )  # fmt: skip


def _read_namespaces(document: Document) -> tuple[int, list[tuple[str, int]], bool]:
    """Return the flags of the container's own namespaces, those to enter, and if it has pids."""
    own, entered = 0, []
    for entry in document["linux"]["namespaces"]:
        flag = namespaces.FLAGS[entry["type"]]
        if path := entry.get("path"):
            if flag != namespaces.CLONE_NEWPID:  # entered by the shim: it counts for children
                entered.append((path, flag))
        else:
            own |= flag
    return own, entered, bool(own & namespaces.CLONE_NEWPID)


def _offer_early(slot: Slot | None, gate: Gate | None, undo: ExitStack) -> tuple[int, ...]:
    """Offer the slot's network at once: it is connected while the rest is prepared.

    Returns the descriptor, or nothing. A child that is not the slot's enters it then.
    """
    if slot is None or gate is None:
        return ()
    netns_fd = os.dup(slot.netns_fd)
    undo.callback(os.close, netns_fd)
    if not gate.has_offered:
        gate.offer(netns_fd)
    return (netns_fd,)


def _take_child(
    document: Document,
    host: CgroupHost,
    own: int,
    slot: Slot | None,
    offered: tuple[int, ...],
    *,
    undo: ExitStack,
) -> tuple[Child, Cgroup, Staging | None, bool]:
    """Return a waiting child in the container's cgroup: the slot's (True), or a new one."""
    taken = slot.take(document) if slot is not None else None
    if slot is not None and taken is not None:
        child, cgroup = taken
        undo.callback(cgroup.remove, _REMOVE_SECONDS)
        undo.callback(child.discard)
        os.close(slot.netns_fd)  # held by its descriptor in `offered`, or opened anew
        is_usual = own & CLONED == CLONED and wants_default_mounts(document)
        return child, cgroup, slot.staging if is_usual else None, True
    if slot is not None:
        slot.discard()
    cgroup = host.cgroup(document["linux"]["cgroupsPath"])
    undo.callback(cgroup.remove, _REMOVE_SECONDS)
    cgroup.create()
    _enter_pids(document)
    if offered:
        own &= ~namespaces.CLONE_NEWNET
    return _clone_child(own, cgroup, undo), cgroup, None, False


def _enter_pids(document: Document) -> None:
    """Let children be born in another container's pid namespace, if that is asked for."""
    for entry in document["linux"]["namespaces"]:
        if entry["type"] == "pid" and "path" in entry:
            try:
                pids_fd = os.open(entry["path"], os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise BackendError(f"{entry['path']}: {error.strerror}") from error
            namespaces.enter(pids_fd, namespaces.CLONE_NEWPID)
            os.close(pids_fd)


def _clone_child(own: int, cgroup: Cgroup, undo: ExitStack) -> Child:
    flags = own & CLONED
    cgroup_fd = cgroup.dir_fd_v2()
    try:
        child = Child(
            flags, cgroup_fd, partial(set_up_early, flags), partial(become_container, None)
        )
    finally:
        if cgroup_fd >= 0:
            os.close(cgroup_fd)
    undo.callback(child.discard)
    if cgroup_fd < 0:
        cgroup.attach(child.pid)
    return child


def _open_entered(
    entered: list[tuple[str, int]], own: int, fds: list[int], undo: ExitStack
) -> list[tuple[int, int]]:
    """Open the namespaces to enter: those of others, and the host's for those not wanted."""
    wanted = own | sum(flag for _, flag in entered)
    host_kinds = ("network", "ipc", "uts")
    entered = entered + [
        (f"/proc/self/ns/{namespaces.FILES.get(kind, kind)}", namespaces.FLAGS[kind])
        for kind in host_kinds
        if not wanted & namespaces.FLAGS[kind]
    ]
    positions = []
    for path, flag in entered:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        undo.callback(os.close, fd)
        positions.append((len(fds), flag))
        fds.append(fd)
    return positions


def _hold_namespaces(
    pid: int, own: int, offered: tuple[int, ...], undo: ExitStack
) -> tuple[int, ...]:
    held = []
    for kind in ("mount",) if offered else ("mount", "network"):
        if own & namespaces.FLAGS[kind]:
            held.append(namespaces.open_namespace(pid, kind))
            undo.callback(os.close, held[-1])
    return (*held, *offered)


def _undo_ends(stdio: Stdio, undo: ExitStack) -> None:
    for fd in (stdio.stdin, stdio.stdout, stdio.stderr, stdio.terminal):
        if fd >= 0:
            undo.callback(os.close, fd)


def _ends(stdio: Stdio) -> ProgramEnds:
    return ProgramEnds(
        stdin=stdio.stdin, stdout=stdio.stdout, stderr=stdio.stderr, terminal=stdio.terminal
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
        init_pidfd, root_fd = _open_init(document, spec, sources)
        stdio = _open_exec_stdio(spec, root_fd, sources)
        set_console_size(stdio, spec["process"])
        _undo_ends(stdio, undo)
        kinds = [entry["type"] for entry in document["linux"]["namespaces"]]
        if "pid" in kinds:
            namespaces.enter(init_pidfd, namespaces.CLONE_NEWPID)
        child = Child(0, -1, lambda: None, become_exec)
        undo.callback(child.discard)
        host.cgroup(document["linux"]["cgroupsPath"]).attach(child.pid)
        child.launch(*_describe_exec(spec, kinds, stdio, [init_pidfd, root_fd]))
        undo.pop_all()
    return NativeProgram(pid=child.pid, pidfd=child.pidfd, ends=_ends(stdio))


def _describe_exec(
    spec: Document, kinds: list[str], stdio: Stdio, fds: list[int]
) -> tuple[Description, list[int]]:
    ends: list[int] = []
    description = {
        "process": spec["process"],
        "annotations": spec["annotations"],
        "seccomp": read_seccomp(spec["annotations"]),
        "kinds": kinds,
        "stdio": stdio.describe(ends),
    }
    return description, fds + ends


def _open_init(document: Document, spec: Document, undo: ExitStack) -> tuple[int, int]:
    """Open the container's first process and its root; make sure that it is still the same."""
    container_id = document["annotations"]["toolkit.container.id"]
    try:
        pidfd = process.open_pidfd(spec["init_pid"])
        undo.callback(os.close, pidfd)
        path = f"/proc/{spec['init_pid']}/root"
        root_fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (KernelCallError, OSError) as error:
        raise NotRunningError(container_id) from error
    undo.callback(os.close, root_fd)
    if process.start_time_ticks(spec["init_pid"]) != spec["init_start_time"]:
        raise NotRunningError(container_id)
    return pidfd, root_fd


def _open_exec_stdio(spec: Document, root_fd: int, undo: ExitStack) -> Stdio:
    has_tty = spec["process"]["terminal"]
    dev_fd = devpts_fd = -1
    if has_tty:
        devpts_fd = open_in_root(root_fd, "/dev/pts", os.O_RDONLY | os.O_DIRECTORY)
        undo.callback(os.close, devpts_fd)
    else:
        dev_fd = open_in_root(root_fd, "/dev", os.O_RDONLY | os.O_DIRECTORY)
        undo.callback(os.close, dev_fd)
    return open_stdio(
        has_tty=has_tty,
        open_stdin=bool(spec["annotations"].get("toolkit.stdin.open")),
        null_dir_fd=dev_fd,
        devpts_fd=devpts_fd,
        undo=undo,
    )
