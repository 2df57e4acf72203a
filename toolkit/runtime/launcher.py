# SPDX-License-Identifier: Apache-2.0
"""The launcher: a small single-threaded process that forks a shim for each start.

Everything that a shim and a container's first steps need is imported here,
before the first fork. The engine starts it from a sealed copy of the
interpreter (`toolkit.runtime.sealed`), so that no container can reach the
interpreter's file for writing (row S-01, CVE-2019-5736).

A few shims are forked ahead, each with a slot, or with a crew where containers run
in LXC; starts beyond those fork anew.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from toolkit.errors import BackendError, ToolkitError
from toolkit.kernel import process
from toolkit.kernel.cgroups import CgroupHost
from toolkit.runtime.gate import Gate
from toolkit.runtime.lxc.container import start_container as start_lxc
from toolkit.runtime.lxc.crew import Crew, learn_lxc
from toolkit.runtime.native.container import start_container, start_exec
from toolkit.runtime.native.slot import PREFIX, Slot, sweep_slots
from toolkit.runtime.protocol import (
    SHIM_SOCKET,
    AttachClient,
    Message,
    receive_message,
    send_message,
)
from toolkit.runtime.seat import Seat
from toolkit.runtime.shim import Shim

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolkit.runtime.backend import Document, Program

_QUIET_MS: Final = 30  # slots are made when no start has come for so long
_NUMBERS: Final = {"native": 3, "lxc": 2}  # of shims that wait


class Launcher:
    """Forks shims on request and keeps some waiting.

    Args:
        engine: Where requests come from; its end is the launcher's.
        parent: Cgroup of the instance, in which slots have theirs.
        staging_dir: An empty directory, on which each slot mounts in a namespace of its own.
        backend: The engine's default; shims for the other are kept once one was asked for.
    """

    def __init__(self, engine: socket.socket, parent: str, staging_dir: str, backend: str) -> None:
        self._engine = engine
        self._parent = parent
        self._staging_dir = staging_dir
        self._host = CgroupHost.detect()
        self._wanted = {"native": 0, "lxc": 0, backend: _NUMBERS[backend]}
        self._waiting: dict[str, list[socket.socket]] = {name: [] for name in self._wanted}
        self._made = 0
        self._handed_over: set[socket.socket] = set()
        self._failed = 0  # shims that came to nothing, since one was taken
        self._poller = select.poll()

    def serve(self) -> None:
        """Serve until the engine is gone; shims live on, slots do not."""
        sweep_slots(self._host, self._parent)
        self._poller.register(self._engine, select.POLLIN)
        while True:
            lacking = self._lacking()
            ready = [fd for fd, _ in self._poller.poll(_QUIET_MS if lacking else None)]
            if not ready:
                self._add_waiting(lacking)
                continue
            for shim in [each for each in self._waiting["native"] if each.fileno() in ready]:
                self._hear(shim)
            if self._engine.fileno() not in ready:
                continue
            received = receive_message(self._engine)
            if received is None:
                return
            message, fds = received
            if message["op"] == "expect":
                self._expect(message["backend"])
                continue
            self._start(message, fds)
            for fd in fds:
                os.close(fd)

    def _lacking(self) -> str:
        """Return a backend for which too few shims wait; empty for none.

        One that could not be made is not tried again before the next start.
        """
        there = {name: len(waiting) for name, waiting in self._waiting.items()}
        there["native"] += self._failed
        return next((name for name, most in self._wanted.items() if there[name] < most), "")

    def _expect(self, backend: str) -> None:
        """Make ready for a start that comes soon."""
        if backend == "lxc":
            learn_lxc()
        self._wanted[backend] = _NUMBERS[backend]
        if not self._waiting[backend]:
            self._add_waiting(backend)

    def _hear(self, shim: socket.socket) -> None:
        """Hand a shim with its slot over to the engine; forget one that is taken, or dead."""
        received = None
        with suppress(OSError, ValueError):
            received = receive_message(shim)
        if received is None:
            self._failed = 0 if shim in self._handed_over else self._failed + 1
            self._handed_over.discard(shim)
            self._poller.unregister(shim)
            self._waiting["native"].remove(shim)
            shim.close()
            return
        self._handed_over.add(shim)
        with suppress(OSError):  # the engine is gone, which is read next
            send_message(self._engine, *received)
        for fd in received[1]:
            os.close(fd)

    def _start(self, message: Message, fds: list[int]) -> None:
        """Give a start to a crew that waits, or fork anew: the engine has the slots."""
        self._failed = 0
        waiting = self._waiting["lxc"] if message.get("backend") == "lxc" else []
        while waiting:
            with waiting.pop(0) as shim, suppress(OSError):
                send_message(shim, message, fds)
                return
        self._fork(lambda: run_shim(message, fds, self._host, None), fds[0])

    def _add_waiting(self, backend: str) -> None:
        self._made += 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = f"{self._parent}/{PREFIX}{os.getpid()}-{self._made}"
        ours.set_inheritable(False)

        def wait_for_start() -> int:
            for other in (*(each for row in self._waiting.values() for each in row), ours):
                other.close()
            process.set_name(f"toolkit-{'crew' if backend == 'lxc' else 'slot'}")
            if backend == "lxc":
                make = partial(Crew.make, self._host, rehearsed=True)
                return _run_crew(theirs, self._host, make())
            slot = Slot.make(self._host, path, self._staging_dir)
            return _run_handed_over(theirs, self._host, slot)

        self._fork(wait_for_start, -1)
        theirs.close()
        self._waiting[backend].append(ours)
        if backend == "native":
            self._poller.register(ours, select.POLLIN)

    def _fork(self, body: Callable[[], int], control_fd: int) -> None:
        try:
            pid = os.fork()  # noqa: TID251 - the launcher is the one that forks: it has one thread
        except OSError as error:
            if control_fd >= 0:
                with socket.socket(fileno=os.dup(control_fd)) as control:
                    _tell_failure(control, BackendError(f"cannot fork: {error.strerror}"))
            return
        if pid == 0:
            self._engine.close()
            _become_shim(body)


def main(engine_fd: int) -> None:
    """Be the launcher of an engine."""
    engine = socket.socket(fileno=engine_fd)
    engine.set_inheritable(False)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the shims
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a ctrl-c in the engine's terminal is not ours
    process.set_name("toolkit-launch")
    process.set_dumpable(dumpable=False)
    launcher = Launcher(
        engine,
        os.environ["TOOLKIT_INSTANCE"],
        os.environ["TOOLKIT_STAGING_DIR"],
        os.environ["TOOLKIT_BACKEND"],
    )
    _warm_up()
    gc.collect()
    gc.freeze()
    launcher.serve()


def _warm_up() -> None:
    """Load what Python loads late: codecs, and the text of an error."""
    for codec in ("utf-8", "ascii", "latin-1"):
        "".encode(codec)
    json.dumps({"": [1.5, None]})
    os.strerror(1)


def _become_shim(body: Callable[[], int]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        process.become_subreaper()
        process.set_name("toolkit-shim")
        code = body()
    except BaseException as error:  # noqa: BLE001 - the last chance to tell why
        os.write(2, f"toolkit-shim: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def _run_crew(launcher: socket.socket, host: CgroupHost, crew: Crew | None) -> int:
    """Wait for the launcher's word, and start what it names."""
    with launcher:
        received = receive_message(launcher)
    return _run_received(received, host, crew)


def _run_handed_over(launcher: socket.socket, host: CgroupHost, slot: Slot | None) -> int:
    """Wait for the engine's word, and start what it names.

    The launcher hears that its shim is taken when the program runs: not while it is made.
    """
    engines, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with engines, suppress(OSError):  # a launcher that is gone closed the only other way in
        namespaces = [slot.netns_fd] if slot is not None else []
        send_message(launcher, {"event": "waits"}, [engines.fileno(), *namespaces])
    with ours:
        received = receive_message(ours)
    return _run_received(received, host, slot, started=launcher.close)


def _run_received(
    received: tuple[Message, list[int]] | None,
    host: CgroupHost,
    slot: Slot | Crew | None,
    *,
    started: Callable[[], None] = lambda: None,
) -> int:
    if received is None:
        if slot is not None:
            slot.discard()
        return 0
    process.set_name("toolkit-shim")
    return run_shim(*received, host, slot, started=started)


def run_shim(
    message: Message,
    fds: list[int],
    host: CgroupHost,
    slot: Slot | Crew | None,
    *,
    started: Callable[[], None] = lambda: None,
) -> int:
    """Start the program that the request names and serve it to its end."""
    control = socket.socket(fileno=fds[0])
    bundle = message["bundle"]
    try:
        with closing(Gate(control)) as gate:
            _await_bundle(message, gate, slot)
            document = _read_document(bundle, "config.json")
            spec = _read_document(bundle, message["spec"]) if message["op"] == "exec" else None
            annotations = (spec or document)["annotations"]
            seat = Seat(bundle, message.get("socket", SHIM_SOCKET), annotations)
            program = _start_program(
                bundle, document, spec, host, slot,
                meanwhile=seat.take, gate=gate if message.get("connect") else None,
            )  # fmt: skip
    except ToolkitError as error:
        _tell_failure(control, error)
        return 1
    _leave_output()
    seat.take()
    if spec is not None:
        seat.log.unlink()
    shim = Shim(program, seat.log, seat.annotations, seat.listener)
    for options, fd in zip(message["clients"], fds[1:], strict=True):
        shim.add_client(AttachClient.from_message(options, fd))
    shim.add_control(control)
    started()
    shim.serve()
    shim.close()
    if spec is not None:
        seat.vacate()
    return 0


def _await_bundle(message: Message, gate: Gate, slot: Slot | Crew | None) -> None:
    """Return when the bundle is whole; meanwhile the engine connects a slot's network."""
    gate.has_offered = bool(message.get("has_offered"))
    try:
        if message.get("awaits_bundle"):
            gate.await_bundle()
    except BackendError:
        if slot is not None:
            slot.discard()
        raise


def _read_document(bundle: str, name: str) -> Document:
    with open(os.path.join(bundle, name), "rb") as file:
        document: Document = json.load(file)
    return document


def _start_program(
    bundle: str,
    document: Document,
    spec: Document | None,
    host: CgroupHost,
    slot: Slot | Crew | None,
    *,
    meanwhile: Callable[[], None],
    gate: Gate | None,
) -> Program:
    if spec is not None:
        return start_exec(document, spec, host)
    if document["annotations"].get("toolkit.backend") == "lxc":
        return start_lxc(document, bundle, host, slot, meanwhile=meanwhile, gate=gate)
    if isinstance(slot, Crew):
        slot.discard()
        slot = None
    return start_container(document, bundle, host, slot, meanwhile=meanwhile, gate=gate)


def _leave_output() -> None:
    """Let go of the engine's output: who reads it to the end must not wait for a container."""
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in (1, 2):
        os.dup2(null_fd, number)
    os.close(null_fd)


def _tell_failure(control: socket.socket, error: ToolkitError) -> None:
    # When the engine is gone its successor finds no shim, which says the same.
    with suppress(OSError):
        send_message(control, {"event": "failed", "kind": type(error).__name__, "text": str(error)})


if __name__ == "__main__":
    main(int(sys.argv[1]))
