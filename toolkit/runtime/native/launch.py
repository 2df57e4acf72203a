# SPDX-License-Identifier: Apache-2.0
"""From a prepared document to a running process: clone, hand over, hear of success.

The child reports through a close-on-exec pipe: nothing read from it means that
the program runs.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from toolkit.errors import (
    BackendError,
    CommandNotExecutableError,
    CommandNotFoundError,
    InvalidRequestError,
    ToolkitError,
)
from toolkit.kernel import mounts, namespaces, process
from toolkit.kernel.cgroups import Cgroup
from toolkit.runtime.native.prepare import Document, Prepared
from toolkit.runtime.native.program import plan_program, run_program
from toolkit.runtime.native.rootfs import mount_rootfs

_START_SECONDS: Final = 30
_REPORT_BYTES: Final = 65536
_KINDS: Final[dict[str, type[ToolkitError]]] = {
    kind.__name__: kind
    for kind in (CommandNotFoundError, CommandNotExecutableError, InvalidRequestError)
}
# Entered by the child itself; a pid namespace takes only the children of who entered it.
_BY_CHILD: Final = ("ipc", "uts", "network", "cgroup", "mount")


@dataclass(frozen=True, kw_only=True)
class Launched:
    """A program that runs.

    Attributes:
        pidfd: Stands for its process; readable when it has ended.
        held: Its namespaces: while these are open, taking them down (milliseconds)
            waits, and does not delay the report of its end.
    """

    pid: int
    pidfd: int
    held: tuple[int, ...] = ()


def start_child(
    body: Callable[[], None], flags: int, cgroup: Cgroup, held: tuple[str, ...]
) -> Launched:
    """Fork a child that does *body*, which must end in execve; return when it has.

    Raises:
        CommandNotFoundError: The program does not exist.
        CommandNotExecutableError: It may not be executed.
        InvalidRequestError: User or working directory cannot be used.
        BackendError: Anything else that failed on the way.
    """
    report, go = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    cgroup_fd = cgroup.dir_fd_v2()
    try:
        pid, pidfd = namespaces.clone(flags, cgroup_fd)
        if pid == 0:
            _run_child(body, go, report[1])
    finally:
        os.close(report[1])
        os.close(go[0])
    opened: list[int] = []
    try:
        if cgroup_fd < 0:
            cgroup.attach(pid)
        os.write(go[1], b"\0")
        opened += [namespaces.open_namespace(pid, kind) for kind in held]
        _await_report(report[0])
    except BaseException:
        process.signal_pidfd(pidfd, signal.SIGKILL)
        os.waitpid(pid, 0)
        for fd in (pidfd, *opened):
            os.close(fd)
        raise
    finally:
        os.close(report[0])
        os.close(go[1])
    return Launched(pid=pid, pidfd=pidfd, held=tuple(opened))


def _await_report(report_fd: int) -> None:
    poller = select.poll()
    poller.register(report_fd, select.POLLIN)
    if not poller.poll(_START_SECONDS * 1000):
        raise BackendError(f"the program did not start within {_START_SECONDS} s")
    report = os.read(report_fd, _REPORT_BYTES)
    if report:
        message = json.loads(report)
        raise _KINDS.get(message["kind"], BackendError)(message["text"])


def _run_child(body: Callable[[], None], go: tuple[int, int], report_fd: int) -> NoReturn:
    code = 1
    try:
        gc.disable()
        process.set_dumpable(dumpable=False)
        os.close(go[1])
        if os.read(go[0], 1):
            body()
    except ToolkitError as error:
        _report(report_fd, type(error).__name__, str(error))
    except OSError as error:
        _report(report_fd, "BackendError", f"{error.filename or 'start'}: {error.strerror}")
    except BaseException as error:  # noqa: BLE001 - the parent must hear of it, whatever it is
        _report(report_fd, "BackendError", f"{type(error).__name__}: {error}")
    finally:
        os._exit(code)


def _report(report_fd: int, kind: str, text: str) -> None:
    os.write(report_fd, json.dumps({"kind": kind, "text": text}).encode()[:_REPORT_BYTES])


def launch_container(prepared: Prepared, cgroup: Cgroup) -> Launched:
    """Start the first process of a container; raises as `start_child`."""
    flags, entered = _read_namespaces(prepared.document)

    def become_container() -> None:
        _set_up_namespaces(prepared, flags, entered)
        root_fd = mount_rootfs(prepared)
        document = prepared.document
        program = plan_program(
            document["process"],
            document["annotations"],
            root_fd,
            stdio=prepared.stdio,
            seccomp=prepared.seccomp,
        )
        mounts.pivot_root_to(root_fd)
        run_program(program)

    own = tuple(kind for kind in ("mount", "network") if flags & namespaces.FLAGS[kind])
    cgroupns = namespaces.CLONE_NEWCGROUP  # only behind the attach, so that its root is right
    return start_child(become_container, flags & ~cgroupns, cgroup, own)


def _read_namespaces(document: Document) -> tuple[int, list[tuple[int, int]]]:
    flags, entered = 0, []
    for entry in document["linux"]["namespaces"]:
        flag = namespaces.FLAGS[entry["type"]]
        if path := entry.get("path"):
            entered.append((os.open(path, os.O_RDONLY | os.O_CLOEXEC), flag))
        else:
            flags |= flag
    return flags, entered


def _set_up_namespaces(prepared: Prepared, flags: int, entered: list[tuple[int, int]]) -> None:
    for namespace_fd, flag in entered:
        namespaces.enter(namespace_fd, flag)
    if flags & namespaces.CLONE_NEWCGROUP:
        namespaces.unshare(namespaces.CLONE_NEWCGROUP)
    if flags & namespaces.CLONE_NEWNET:
        namespaces.bring_loopback_up()
    document = prepared.document
    if flags & namespaces.CLONE_NEWUTS:
        process.set_hostname(document.get("hostname", ""))
        process.set_domainname(document.get("domainname", ""))
    for key, value in (document["linux"].get("sysctl") or {}).items():
        _write_proc(prepared.proc_fd, f"sys/{key.replace('.', '/')}", value)
    adjustment = document["process"].get("oomScoreAdj")
    if adjustment is not None:
        _write_proc(prepared.proc_fd, "self/oom_score_adj", str(adjustment))


def _write_proc(proc_fd: int, name: str, value: str) -> None:
    """Write to the host's own procfs, taken before any root but ours was near (row S-23)."""
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


def launch_exec(
    spec: dict[str, Any],
    annotations: dict[str, str],
    *,
    init_pidfd: int,
    root_fd: int,
    stdio: Any,
    seccomp: bytes,
    kinds: tuple[str, ...],
    cgroup: Cgroup,
) -> Launched:
    """Start another program in a running container; raises as `start_child`.

    Args:
        init_pidfd: The container's first process.
        root_fd: The container's root, opened through that process.
        kinds: The namespaces that are the container's own.
    """
    flags = sum(namespaces.FLAGS[kind] for kind in kinds if kind in _BY_CHILD)

    def become_program() -> None:
        program = plan_program(spec, annotations, root_fd, stdio=stdio, seccomp=seccomp)
        namespaces.enter(init_pidfd, flags)
        run_program(program)

    if "pid" in kinds:
        namespaces.enter(init_pidfd, namespaces.CLONE_NEWPID)
    return start_child(become_program, 0, cgroup, ())
