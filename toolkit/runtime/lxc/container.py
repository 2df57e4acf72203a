# SPDX-License-Identifier: Apache-2.0
"""The lxc backend as a shim sees it: LXC makes a container, and its init becomes ours.

`lxc-start` makes namespaces, control groups and mounts and executes the first
step as the container's init. When that says it is ready, LXC has done its work:
its monitor is ended, and the kernel gives the init to the shim, the nearest
subreaper. So the shim is the parent of the container's program as it is on the
native backend: it waits for it, and has its true exit status from the kernel
(note H-3), whatever LXC would have made of it.
"""

from __future__ import annotations

import array
import os
import select
import signal
import socket
import struct
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from toolkit.errors import BackendError, InvalidRequestError, KernelCallError
from toolkit.kernel import namespaces, process
from toolkit.kernel.capabilities import CAPABILITIES, CapabilitySets, last_capability
from toolkit.kernel.paths import open_in_root
from toolkit.runtime.backend import Document, ProgramEnds
from toolkit.runtime.lxc.calls import failure_of, program_table
from toolkit.runtime.lxc.crew import Crew, wants_cpuset
from toolkit.runtime.lxc.first_step import REPORT, Call, Table
from toolkit.runtime.lxc.stage import CONFIG_NAME, LOG_NAME
from toolkit.runtime.lxc.template import monitor_group
from toolkit.runtime.native.container import NativeProgram
from toolkit.runtime.native.prepare import Prepared, prepare
from toolkit.runtime.native.program import Program, plan_program
from toolkit.runtime.native.slot import Slot, clone_own_cgroups

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from toolkit.kernel.cgroups import CgroupHost
    from toolkit.runtime.gate import Gate
    from toolkit.runtime.native.child import Description

_START_SECONDS: Final = 30
_REMOVE_SECONDS: Final = 10.0
_CREDENTIALS: Final = struct.Struct("iii")
_LOG_BYTES: Final = 64 * 1024
_APPARMOR: Final = "/sys/module/apparmor/parameters/enabled"


def start_container(
    document: Document,
    bundle: str,
    host: CgroupHost,
    slot: Slot | Crew | None = None,
    *,
    meanwhile: Callable[[], None] = lambda: None,
    gate: Gate | None = None,
) -> NativeProgram:
    """Run the first program of the container that *document* describes, in LXC.

    *meanwhile* is called while LXC is at work; the program waits at the *gate*.

    Raises:
        ToolkitError: Nothing was started, and nothing is left of the attempt.
    """
    with ExitStack() as undo:
        undo.callback(meanwhile)
        if isinstance(slot, Crew) and slot.serves(document):
            crew = slot
        else:
            if slot is not None:  # made for something else; given back while LXC is at work
                undo.callback(slot.discard)
            crew = Crew.make(host, has_cpuset=wants_cpuset(document))
        return _Start(document, bundle, host, crew).run(undo.close, gate)


@dataclass
class _Init:
    """The container's init, waiting in its first step."""

    pid: int
    pidfd: int

    def discard(self) -> None:
        """Kill and reap it; once it is a program somebody else does that."""
        process.signal_pidfd(self.pidfd, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self.pidfd)


class _Start:
    """One start of a container."""

    def __init__(self, document: Document, bundle: str, host: CgroupHost, crew: Crew) -> None:
        self._document = document
        self._crew = crew
        self._bundle = bundle
        self._host = host
        self._cgroup = host.cgroup(document["linux"]["cgroupsPath"])
        self._monitor_group = host.cgroup(monitor_group(self._cgroup.path))
        self._own = {e["type"] for e in document["linux"]["namespaces"] if not e.get("path")}

    def run(self, meanwhile: Callable[[], None], gate: Gate | None) -> NativeProgram:
        """Start it; see `start_container`.

        Args:
            meanwhile: What to do while LXC is at work.
            gate: Passed before the first step becomes the program.
        """
        crew = self._crew
        with ExitStack() as sources, ExitStack() as undo:
            sources.callback(crew.close)
            prepared = prepare(self._document, self._bundle, sources)
            for fd in _shim_ends(prepared):
                undo.callback(os.close, fd)
            self._remove_groups()  # what a crash may have left
            undo.callback(self._remove_groups)
            fds: list[int] = []
            crew.hand.tell(self._describe(prepared, fds), fds)
            meanwhile()
            init = self._await_init()
            undo.callback(init.discard)
            crew.end_monitor()
            held = self._hold_namespaces(init.pid, undo)
            if gate is not None:
                gate.offer(held[-1])
            self._cgroup.apply(self._remaining_resources())
            groups = clone_own_cgroups(self._cgroup, sources)
            crew.dress(init.pidfd, self._entered(), groups)
            if gate is not None:
                gate.await_connected()
            self._become_program(crew.link, prepared, init)
            self._monitor_group.remove(_REMOVE_SECONDS)
            undo.pop_all()
        return NativeProgram(
            pid=init.pid, pidfd=init.pidfd, ends=_ends(prepared),
            ends_with_namespace="pid" in self._own, held=held, cgroup=self._cgroup,
        )  # fmt: skip

    def _remove_groups(self) -> None:
        self._monitor_group.remove(_REMOVE_SECONDS)
        self._cgroup.remove(_REMOVE_SECONDS)

    # -- LXC -----------------------------------------------------------------------

    def _describe(self, prepared: Prepared, fds: list[int]) -> Description:
        return prepared.describe(fds) | {
            "config": os.path.join(self._bundle, CONFIG_NAME),
            "facts": {
                "cgroup_version": self._host.version,
                "has_apparmor": _has_apparmor(),
                "capabilities": CAPABILITIES[: last_capability() + 1],
            },
        }

    def _await_init(self) -> _Init:
        """Wait until the first step reports; the kernel says who it is."""
        link, monitor, hand = self._crew.link, self._crew.monitor, self._crew.hand
        poller = select.poll()
        for source in (link, monitor.pidfd, hand.report_fd):
            poller.register(source, select.POLLIN)
        ready = dict(poller.poll(_START_SECONDS * 1000))
        if link.fileno() in ready:
            report, ancillary, _, _ = link.recvmsg(
                REPORT.size, socket.CMSG_SPACE(_CREDENTIALS.size)
            )
            if len(report) == REPORT.size and REPORT.unpack(report) == (0, 0):
                pid, _, _ = _CREDENTIALS.unpack(ancillary[0][2])
                return _Init(pid, process.open_pidfd(pid))
        if hand.report_fd in ready:
            hand.await_program()  # raises what it reports
        reason = self._lxc_errors() or "it said nothing"
        raise BackendError(f"lxc-start did not make the container: {reason}")

    def _lxc_errors(self) -> str:
        """Return the first error that LXC logged, and leave the log in the bundle."""
        text = os.pread(self._crew.log_fd, _LOG_BYTES, 0)
        with suppress(OSError), open(os.path.join(self._bundle, LOG_NAME), "wb") as file:
            file.write(text)
        lines = text.decode(errors="replace").splitlines()
        texts = [line.partition(" ERROR ")[2] for line in lines if " ERROR " in line]
        # What comes behind the first is only that something failed for it.
        return texts[0].partition(" - ")[2].partition(" - ")[2].strip() if texts else ""

    # -- the container -------------------------------------------------------------

    def _remaining_resources(self) -> Document:
        """Return the limits, which LXC has set as far as it knows them; it sets devices alone."""
        resources: Document = {**(self._document["linux"].get("resources") or {})}
        resources.pop("devices", None)
        return resources

    def _hold_namespaces(self, pid: int, undo: ExitStack) -> tuple[int, ...]:
        held = []
        for kind in ("mount", "network"):
            if kind in self._own:
                held.append(namespaces.open_namespace(pid, kind))
                undo.callback(os.close, held[-1])
        return tuple(held)

    def _entered(self) -> int:
        """Return the namespaces that the hand enters for the last of its work."""
        uts = namespaces.CLONE_NEWUTS if "uts" in self._own else 0
        return namespaces.CLONE_NEWNS | uts

    def _become_program(self, link: socket.socket, prepared: Prepared, init: _Init) -> None:
        """Send the first step what to become, and return when it has."""
        spec = self._document["process"]
        stdio = prepared.stdio
        root_fd = os.open(f"/proc/{init.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if stdio.stdin < 0 and stdio.terminal < 0:  # LXC has copied the mount of its null
                null_fd = open_in_root(root_fd, "/dev/null", os.O_RDONLY | os.O_NOFOLLOW)
                os.dup2(null_fd, stdio.child_stdin, inheritable=False)
                os.close(null_fd)
            program, refusal = self._plan(root_fd, prepared)
        finally:
            os.close(root_fd)
        held = _capabilities_of(init.pid)
        program = replace(program, capabilities=program.capabilities.limited_to(held))
        table = program_table(program, held.bounding, cwd=spec["cwd"] if refusal else "")
        passed = (stdio.child_stdin, stdio.child_stdout, stdio.child_stderr, program.cwd_fd)
        try:
            _send_table(link, table, passed)
        finally:
            os.close(program.cwd_fd)
        error = failure_of(table, _read_reports(link, table))
        if isinstance(error, InvalidRequestError) and refusal is not None:
            raise refusal
        if error is not None:
            raise error

    def _plan(self, root_fd: int, prepared: Prepared) -> tuple[Program, InvalidRequestError | None]:
        """Return the program, and why its directory cannot be opened from here.

        The first step tries again: what ``/proc/self`` is depends on who looks.
        """
        spec, annotations = self._document["process"], self._document["annotations"]
        plan = partial(plan_program, stdio=prepared.stdio, seccomp=prepared.seccomp)
        try:
            return plan(spec, annotations, root_fd), None
        except InvalidRequestError as error:
            if not isinstance(error.__cause__, KernelCallError):
                raise
            refusal = error
        return plan({**spec, "cwd": "/"}, annotations, root_fd), refusal


def _has_apparmor() -> bool:
    try:
        with open(_APPARMOR, encoding="ascii") as file:
            return file.read().strip() == "Y"
    except OSError:
        return False


def _shim_ends(prepared: Prepared) -> list[int]:
    stdio = prepared.stdio
    ends = (stdio.stdin, stdio.stdout, stdio.stderr, stdio.terminal)
    return [fd for fd in ends if fd >= 0]


def _ends(prepared: Prepared) -> ProgramEnds:
    stdio = prepared.stdio
    return ProgramEnds(
        stdin=stdio.stdin, stdout=stdio.stdout, stderr=stdio.stderr, terminal=stdio.terminal
    )


def _capabilities_of(pid: int) -> CapabilitySets:
    """Return the sets of another process."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        lines = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    masks = {name: int(lines[name], 16) for name in ("CapBnd", "CapEff", "CapPrm", "CapInh")}
    bounding, effective, permitted, inheritable = (
        frozenset(number for number in range(64) if mask >> number & 1) for mask in masks.values()
    )
    return CapabilitySets(
        bounding=bounding, effective=effective, permitted=permitted, inheritable=inheritable
    )


def _send_table(link: socket.socket, table: Table, fds: Sequence[int]) -> None:
    memory_fd = os.memfd_create("toolkit-task", os.MFD_CLOEXEC)
    try:
        content = memoryview(table.encode())
        while content:
            content = content[os.write(memory_fd, content) :]
        rights = array.array("i", [memory_fd, *fds])
        link.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    except OSError as error:
        raise BackendError(f"the container's first step is gone: {error.strerror}") from error
    finally:
        os.close(memory_fd)


def _read_reports(link: socket.socket, table: Table) -> list[tuple[Call, int]]:
    """Read what failed; the end comes when the first step is a program, or is no more."""
    reports: list[tuple[Call, int]] = []
    link.settimeout(_START_SECONDS)
    try:
        while report := link.recv(REPORT.size):
            address, number = REPORT.unpack(report)
            reports.append((table.call_at(address), number))
    except TimeoutError:
        raise BackendError(f"the program did not start within {_START_SECONDS} s") from None
    except ConnectionResetError:  # it ended with our message unread
        pass
    return reports
