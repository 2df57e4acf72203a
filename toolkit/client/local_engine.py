# SPDX-License-Identifier: Apache-2.0
"""Start the engine of this machine for somebody who found none listening.

Owns the background process from outside: its session, its log, the wait for READY=1.
Imported only when it is needed.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolkit.errors import EngineUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

READY: Final = b"READY=1"
# One that ends is heard at once: this is for one that hangs. An emulated processor that is
# busy takes more than a minute.
START_SECONDS: Final = 180.0
_DATAGRAM_BYTES: Final = 4096
_GRACE_SECONDS: Final = 5.0
_CLIENT_VARIABLES: Final = ("DOCKER_HOST", "TOOLKIT_HOST")


def start_engine(
    instance: str, *, run_dir: Path | None = None, command: Sequence[str] = ()
) -> None:
    """Start an instance's engine in the background; return when it serves.

    Callers at the same time wait for each other; whoever comes second finds it serving.

    Raises:
        EngineUnreachableError: It ended, or did not serve in time; with its last line.
    """
    directory = run_dir or Path("/run") / instance
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    with held_start_lock(directory):
        if is_listening(directory / "engine.sock"):
            return
        log_path = directory / "engine.log"
        argv = command or (
            sys.executable,
            "-m",
            "toolkit.cli.main",
            "engine",
            "--instance",
            instance,
        )
        with ready_socket(directory) as (receiver, notify_path):
            engine = _spawn(argv, log_path, notify_path)
            if not _becomes_ready(receiver, engine):
                raise EngineUnreachableError(_failure(engine, log_path))
        engine.returncode = 0  # it stays when we go: nobody here waits for it


@contextmanager
def held_start_lock(directory: Path) -> Iterator[None]:
    """Be the only one who starts an engine in this directory."""
    with (directory / "autostart.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def ready_socket(directory: Path) -> Iterator[tuple[socket.socket, Path]]:
    """Listen for sd_notify(3) messages; give the socket and what NOTIFY_SOCKET has to say."""
    path = directory / f"autostart-{os.getpid()}.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        try:
            yield receiver, path
        finally:
            path.unlink(missing_ok=True)


def is_listening(socket_path: Path) -> bool:
    """Return whether anybody accepts connections there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        return connection.connect_ex(str(socket_path)) == 0


def _spawn(argv: Sequence[str], log_path: Path, notify_path: Path) -> subprocess.Popen[bytes]:
    environment = {k: v for k, v in os.environ.items() if k not in _CLIENT_VARIABLES}
    environment["NOTIFY_SOCKET"] = str(notify_path)
    with log_path.open("ab") as log:
        return subprocess.Popen(  # noqa: S603  # our own interpreter and module, no shell
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )


def _becomes_ready(receiver: socket.socket, engine: subprocess.Popen[bytes]) -> bool:
    pidfd = os.pidfd_open(engine.pid)
    try:
        poll = select.poll()
        poll.register(receiver, select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        deadline = time.monotonic() + START_SECONDS
        while (left_seconds := deadline - time.monotonic()) > 0:
            ready = {fd for fd, _ in poll.poll(left_seconds * 1000)}
            if receiver.fileno() in ready:
                if READY in receiver.recv(_DATAGRAM_BYTES).split(b"\n"):
                    return True
            elif ready:
                return False
        return False
    finally:
        os.close(pidfd)


def _end(engine: subprocess.Popen[bytes]) -> None:
    """End an engine that hangs: politely first, so that it can give back what it holds."""
    engine.terminate()
    try:
        engine.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        engine.kill()
        engine.wait()


def _failure(engine: subprocess.Popen[bytes], log_path: Path) -> str:
    exit_code = engine.poll()
    if exit_code is None:
        _end(engine)
        what = f"the engine did not serve within {START_SECONDS:g} s"
    else:
        what = f"the engine ended with exit code {exit_code}"
    lines = log_path.read_text(errors="replace").strip().splitlines()
    return f"{what}: {lines[-1] if lines else 'it said nothing'} (see {log_path})"
