# SPDX-License-Identifier: Apache-2.0
"""The engine's process: open, serve until told to stop, close; containers go on running."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

from toolkit.api.application import Application
from toolkit.api.server import Server, admit_group, notify, open_socket, passed_socket
from toolkit.api.table import ROUTES
from toolkit.errors import HostError, ToolkitError

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from pathlib import Path

    from toolkit.config import Instance
    from toolkit.engine.engine import Engine

_log = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 10.0
_YOUNG_OBJECTS: Final = 5_000  # between two rounds of garbage collection; Python's own: 700
_INTERRUPTED: Final = 130
_UMASK: Final = 0o022
_LOG_LEVELS: Final = ("debug", "info", "warning", "error")


class NotRootError(HostError):
    """The engine was started by somebody who may not do what it does."""

    def __init__(self) -> None:
        super().__init__("the engine needs root: start it with sudo")


def run_engine(
    instance: Instance,
    *,
    log_level: str = "info",
    idle_seconds: float | None = None,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Run an instance's engine until it is told to stop; return the exit code.

    What goes wrong on the way is one line on the standard error.

    Args:
        instance: Whose engine.
        log_level: Least important messages to log.
        idle_seconds: End when nobody has held a session for so long, and take away
            what the instance has on this host but its data. None: go on for ever,
            and leave everything to the next engine.
        environ: Settings; None: this process's environment.
    """
    try:
        _prepare(log_level)
        given = os.environ if environ is None else environ
        return asyncio.run(_serve(instance, given, idle_seconds))
    except ToolkitError as error:
        hint = f" {error.hint}" if error.hint else ""
        sys.stderr.write(f"toolkit engine: {error}.{hint}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED


def _prepare(log_level: str) -> None:
    """Check who runs us, and set up the log."""
    if log_level not in _LOG_LEVELS:
        raise HostError(f"log level {log_level!r}: choose one of {', '.join(_LOG_LEVELS)}")
    if os.geteuid() != 0:
        raise NotRootError
    os.umask(_UMASK)  # of a container's files too, whoever starts the engine from where
    _allow_most_files()
    logging.basicConfig(
        level=log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )


def _allow_most_files() -> None:
    """Take as many descriptors as the hard limit gives: each client and container needs some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # above fs.nr_open: what there is will do
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(instance: Instance, environ: Mapping[str, str], idle_seconds: float | None) -> int:
    """Serve until a signal comes, or nobody needs it any more."""
    from toolkit.engine.assembly import real_parts  # noqa: PLC0415 - after the checks: it loads a lot
    from toolkit.engine.engine import Engine  # noqa: PLC0415 - as above

    stopping = _catch_signals()
    engine = Engine(instance, make_parts=partial(real_parts, environ=environ))
    async with contextlib.AsyncExitStack() as undo:
        undo.push_async_callback(engine.close if idle_seconds is None else engine.retire)
        await engine.open()
        admit_group(instance.run_dir)
        passed = passed_socket(environ, os.getpid())
        listener = passed or open_socket(instance.socket_path)
        if passed is None:
            undo.callback(_unlink_own, instance.socket_path, listener)
        server = Server(Application(engine, ROUTES))
        await server.listen(listener)
        undo.push_async_callback(server.close, _GRACE_SECONDS)
        _log.info("instance %s listens on %s", instance.name, instance.socket_path)
        _spare_what_stays()
        notify(environ, "READY=1")
        if idle_seconds is not None:
            undo.callback(_end_when_idle(engine, idle_seconds, stopping).cancel)
        await stopping.wait()
        notify(environ, "STOPPING=1")
        _log.info("stopping; containers keep running")
    return 0


def _spare_what_stays() -> None:
    """Leave what is loaded now out of the garbage collector's rounds: it stays for good.

    A round in the midst of a start cost milliseconds; what requests leave is little.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 10, 10)


def _end_when_idle(
    engine: Engine, idle_seconds: float, stopping: asyncio.Event
) -> asyncio.Task[None]:
    """Return a task that stops the engine when nobody needs it any more."""

    async def watch() -> None:
        await engine.unused(idle_seconds)
        _log.info("nobody has held a session for %g s", idle_seconds)
        stopping.set()

    return asyncio.get_running_loop().create_task(watch())


def _catch_signals() -> asyncio.Event:
    """Return what the first signal sets; the second ends the process at once."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        if stopping.is_set():
            _log.warning("%s again: ending at once", number.name)
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    return stopping


def _unlink_own(path: Path, listener: socket.socket) -> None:
    """Remove our socket unless another engine has put its own there."""
    del listener
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
