# SPDX-License-Identifier: Apache-2.0
"""What a waiting child does when it is told: become a container, or a program in one."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import BackendError
from toolkit.kernel import mounts, namespaces, process
from toolkit.runtime.gate import await_pass
from toolkit.runtime.native.prepare import Document, Prepared, Stdio
from toolkit.runtime.native.program import plan_program, run_program
from toolkit.runtime.native.rootfs import mount_rootfs

if TYPE_CHECKING:
    from toolkit.runtime.native.child import Description
    from toolkit.runtime.native.staging import Staging

# What a child is cloned with ahead of time. The cgroup namespace comes behind the
# attach, so that its root is the container's own group.
CLONED: Final = (
    namespaces.CLONE_NEWPID
    | namespaces.CLONE_NEWNET
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWNS
)
# Entered by the child itself; a pid namespace takes only the children of who entered it.
_BY_CHILD: Final = ("ipc", "uts", "network", "cgroup", "mount")


def set_up_early(flags: int) -> None:
    """Do in new namespaces what needs no document."""
    if flags & namespaces.CLONE_NEWNET:
        namespaces.bring_loopback_up()
    mounts.set_propagation(b"/", mounts.MS_REC | mounts.MS_SLAVE)


def become_container(staging: Staging | None, description: Description, fds: list[int]) -> None:
    """Mount the container's tree, switch to it and become its first program.

    Args:
        staging: The default mounts, if this child has made them ahead.
        description: What `Prepared.describe` gave, and the namespaces.
        fds: The descriptors that came with it.
    """
    prepared = Prepared.from_description(description, fds)
    _enter_namespaces(description["entered"], fds)
    document = prepared.document
    _set_up_namespaces(document, prepared.proc_fd, description["own"])
    root_fd = mount_rootfs(prepared, staging if description["is_staged"] else None)
    program = plan_program(
        document["process"],
        document["annotations"],
        root_fd,
        stdio=prepared.stdio,
        seccomp=prepared.seccomp,
    )
    mounts.pivot_root_to(root_fd)
    for gate_fd in fds[description["gate"] :]:
        await_pass(gate_fd)
    run_program(program)


def _enter_namespaces(entered: list[tuple[int, int]], fds: list[int]) -> None:
    for position, flag in entered:
        namespaces.enter(fds[position], flag)


def _set_up_namespaces(document: Document, proc_fd: int, own: int) -> None:
    if own & namespaces.CLONE_NEWCGROUP:
        namespaces.unshare(namespaces.CLONE_NEWCGROUP)
    if own & namespaces.CLONE_NEWUTS:
        process.set_hostname(document.get("hostname", ""))
        process.set_domainname(document.get("domainname", ""))
    for key, value in (document["linux"].get("sysctl") or {}).items():
        _write_proc(proc_fd, f"sys/{key.replace('.', '/')}", value)
    adjustment = document["process"].get("oomScoreAdj")
    if adjustment is not None:
        _write_proc(proc_fd, "self/oom_score_adj", str(adjustment))


def _write_proc(proc_fd: int, name: str, value: str) -> None:
    """Write to the host's own procfs, opened before any root but ours was near (row S-23)."""
    try:
        file_fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc_fd)
        try:
            os.write(file_fd, value.encode())
        finally:
            os.close(file_fd)
    except OSError as error:
        raise BackendError(
            f"cannot set /proc/{name} to {value!r}: {os.strerror(error.errno or errno.EIO)}"
        ) from error


def become_exec(description: Description, fds: list[int]) -> None:
    """Enter a running container and become another program in it."""
    init_pidfd, root_fd, *rest = fds
    spec: dict[str, Any] = description["process"]
    stdio = Stdio.from_description(description["stdio"], rest)
    program = plan_program(
        spec, description["annotations"], root_fd, stdio=stdio, seccomp=description["seccomp"]
    )
    flags = sum(namespaces.FLAGS[kind] for kind in description["kinds"] if kind in _BY_CHILD)
    namespaces.enter(init_pidfd, flags)
    run_program(program)
