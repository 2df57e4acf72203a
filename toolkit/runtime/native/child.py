# SPDX-License-Identifier: Apache-2.0
"""A child that waits to become a program: cloned first, told later what to do.

It is told by one message: a description (marshal, in a memfd) and descriptors.
So it can be cloned long before anybody asks for a container. It reports through
a close-on-exec pipe: nothing read from it means that the program runs.
"""

from __future__ import annotations

import array
import gc
import json
import marshal
import os
import select
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from toolkit.errors import (
    BackendError,
    CommandNotExecutableError,
    CommandNotFoundError,
    InvalidRequestError,
    ToolkitError,
)
from toolkit.kernel import namespaces, process

Description = dict[str, Any]
Body = Callable[[Description, list[int]], None]

_START_SECONDS: Final = 30
_REPORT_BYTES: Final = 65536
_MAX_FDS: Final = 250
_MSG_CMSG_CLOEXEC: Final = 0x40000000
_KINDS: Final[dict[str, type[ToolkitError]]] = {
    kind.__name__: kind
    for kind in (CommandNotFoundError, CommandNotExecutableError, InvalidRequestError)
}


class Child:
    """A cloned process that waits for its task.

    Attributes:
        pid: Its process on the host.
        pidfd: Stands for it; readable when it has ended.
        report_fd: Readable when it has become its program, or has failed.
    """

    def __init__(self, flags: int, cgroup_fd: int, early: Callable[[], None], body: Body) -> None:
        """Clone the child.

        Args:
            flags: Namespaces that it gets (CLONE_NEW...).
            cgroup_fd: A cgroup v2 directory to be born in, or -1.
            early: What it does at once.
            body: What it does when told; must end in execve.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.report_fd, report_fd = os.pipe2(os.O_CLOEXEC)
        try:
            self.pid, self.pidfd = namespaces.clone(flags, cgroup_fd)
            if self.pid == 0:
                ours.close()
                _run(theirs, report_fd, early, body)
        except ToolkitError:
            ours.close()
            os.close(self.report_fd)
            raise
        finally:
            theirs.close()
            os.close(report_fd)
        self._go = ours

    def launch(self, description: Description, fds: Sequence[int]) -> None:
        """Tell the child what to become and return when it has; raises as `await_program`."""
        self.tell(description, fds)
        self.await_program()

    def tell(self, description: Description, fds: Sequence[int]) -> None:
        """Tell the child what to become; `await_program` says whether it has.

        Raises:
            BackendError: It cannot be told.
        """
        if len(fds) >= _MAX_FDS:
            raise BackendError(f"{len(fds)} mounts are more than one start can hand over")
        memory_fd = os.memfd_create("toolkit-task", os.MFD_CLOEXEC)
        try:
            os.write(memory_fd, marshal.dumps(description))
            rights = array.array("i", [memory_fd, *fds])
            self._go.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        except OSError as error:
            raise BackendError(f"the waiting child is gone: {error.strerror}") from error
        finally:
            os.close(memory_fd)

    def await_program(self) -> None:
        """Return when the child has become its program.

        Raises:
            CommandNotFoundError: The program does not exist.
            CommandNotExecutableError: It may not be executed.
            InvalidRequestError: User or working directory cannot be used.
            BackendError: Anything else that failed on the way.
        """
        self._await_report()
        self.release()

    def release(self) -> None:
        """Close the connection to the child; a second call does nothing."""
        self._go.close()
        if self.report_fd >= 0:
            os.close(self.report_fd)
            self.report_fd = -1

    def _await_report(self) -> None:
        poller = select.poll()
        poller.register(self.report_fd, select.POLLIN)
        if not poller.poll(_START_SECONDS * 1000):
            raise BackendError(f"the program did not start within {_START_SECONDS} s")
        report = os.read(self.report_fd, _REPORT_BYTES)
        if report:
            message = json.loads(report)
            raise _KINDS.get(message["kind"], BackendError)(message["text"])

    def discard(self) -> None:
        """End the child, if it has not become a program, and reap it."""
        process.signal_pidfd(self.pidfd, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.release()
        os.close(self.pidfd)


def _run(go: socket.socket, report_fd: int, early: Callable[[], None], body: Body) -> NoReturn:
    try:
        gc.disable()
        process.set_dumpable(dumpable=False)  # row S-04
        process.reset_signals()
        early()
        task = _await_task(go)
        if task is not None:
            body(*task)
            os.close(report_fd)  # done: who waits need not wait for the end of this process
    except ToolkitError as error:
        _report(report_fd, type(error).__name__, str(error))
    except OSError as error:
        _report(report_fd, "BackendError", f"{error.filename or 'start'}: {error.strerror}")
    except BaseException as error:  # noqa: BLE001 - the parent must hear of it, whatever it is
        _report(report_fd, "BackendError", f"{type(error).__name__}: {error}")
    finally:
        os._exit(1)


def _await_task(go: socket.socket) -> tuple[Description, list[int]] | None:
    fds = array.array("i")
    space = socket.CMSG_SPACE(_MAX_FDS * fds.itemsize)
    body, ancillary, _, _ = go.recvmsg(1, space, _MSG_CMSG_CLOEXEC)
    if not body:  # the shim is gone
        return None
    for _, _, data in ancillary:
        fds.frombytes(data)
    memory_fd = fds.pop(0)
    size = os.fstat(memory_fd).st_size
    # From our own shim, over a socket that only it holds.
    description: Description = marshal.loads(os.pread(memory_fd, size, 0))  # noqa: S302
    os.close(memory_fd)
    go.close()
    return description, list(fds)


def _report(report_fd: int, kind: str, text: str) -> None:
    os.write(report_fd, json.dumps({"kind": kind, "text": text}).encode()[:_REPORT_BYTES])
