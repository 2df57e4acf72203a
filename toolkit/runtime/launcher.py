# SPDX-License-Identifier: Apache-2.0
"""The launcher: a small single-threaded process that forks a shim for each start.

Everything that a shim and a container's first steps need is imported here,
before the first fork. The engine starts it from a sealed copy of the
interpreter (`toolkit.runtime.sealed`), so that no container can reach the
interpreter's file for writing (row S-01, CVE-2019-5736).
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from typing import Final, NoReturn

from toolkit.errors import BackendError, ToolkitError
from toolkit.kernel import process
from toolkit.kernel.cgroups import CgroupHost
from toolkit.runtime.backend import Document, Program
from toolkit.runtime.logwriter import LogWriter
from toolkit.runtime.native.container import start_container, start_exec
from toolkit.runtime.protocol import (
    SHIM_SOCKET,
    AttachClient,
    Message,
    receive_message,
    send_message,
)
from toolkit.runtime.shim import Shim

_BACKLOG: Final = 16


def main(engine_fd: int) -> None:
    """Serve start requests of the engine until it is gone; shims live on."""
    engine = socket.socket(fileno=engine_fd)
    engine.set_inheritable(False)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the shims
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a ctrl-c in the engine's terminal is not ours
    process.set_name("toolkit-launch")
    process.set_dumpable(dumpable=False)
    host = CgroupHost.detect()
    _warm_up()
    gc.collect()
    gc.freeze()
    while (received := receive_message(engine)) is not None:
        message, fds = received
        control, client_fds = socket.socket(fileno=fds[0]), fds[1:]
        _fork_shim(message, control, client_fds, host, engine)
        control.close()
        for fd in client_fds:
            os.close(fd)


def _warm_up() -> None:
    """Load what Python loads late: codecs, and the text of an error."""
    for codec in ("utf-8", "ascii", "latin-1"):
        "".encode(codec)
    json.dumps({"": [1.5, None]})
    os.strerror(1)


def _fork_shim(
    message: Message,
    control: socket.socket,
    clients: list[int],
    host: CgroupHost,
    engine: socket.socket,
) -> None:
    try:
        pid = os.fork()  # noqa: TID251 - the launcher is the one that forks: it has one thread
    except OSError as error:
        _tell_failure(control, BackendError(f"cannot fork a shim: {error.strerror}"))
        return
    if pid == 0:
        engine.close()
        _become_shim(message, control, clients, host)


def _become_shim(
    message: Message, control: socket.socket, clients: list[int], host: CgroupHost
) -> NoReturn:
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        process.become_subreaper()
        process.set_name("toolkit-shim")
        code = run_shim(message, control, clients, host)
    except BaseException as error:  # noqa: BLE001 - the last chance to tell why
        os.write(2, f"toolkit: shim of {message.get('bundle')}: {error!r}\n".encode())
    finally:
        os._exit(code)


def run_shim(message: Message, control: socket.socket, clients: list[int], host: CgroupHost) -> int:
    """Start the program that the request names and serve it to its end."""
    bundle = message["bundle"]
    with open(os.path.join(bundle, "config.json"), "rb") as file:
        document: Document = json.load(file)
    try:
        program, annotations = _start(message, document, host)
    except ToolkitError as error:
        _tell_failure(control, error)
        return 1
    log = LogWriter(annotations.get("toolkit.log.path", ""))
    if message["op"] == "exec":
        log.unlink()
    listener = _listen(os.path.join(bundle, message.get("socket", SHIM_SOCKET)))
    shim = Shim(program, log, annotations, listener)
    for options, fd in zip(message["clients"], clients, strict=True):
        shim.add_client(AttachClient.from_message(options, fd))
    shim.add_control(control)
    shim.serve()
    shim.close()
    return 0


def _start(
    message: Message, document: Document, host: CgroupHost
) -> tuple[Program, dict[str, str]]:
    if message["op"] == "exec":
        with open(os.path.join(message["bundle"], message["spec"]), "rb") as file:
            spec: Document = json.load(file)
        return start_exec(document, spec, host), spec["annotations"]
    return start_container(document, host), document["annotations"]


def _listen(path: str) -> socket.socket:
    """Listen in the bundle, which only root can enter; replace what an earlier shim left."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    listener.bind(path)
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def _tell_failure(control: socket.socket, error: ToolkitError) -> None:
    try:
        send_message(control, {"event": "failed", "kind": type(error).__name__, "text": str(error)})
    except OSError:
        pass  # the engine is gone; its successor will find no shim


if __name__ == "__main__":
    main(int(sys.argv[1]))
