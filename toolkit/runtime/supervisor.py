# SPDX-License-Identifier: Apache-2.0
"""The engine's side of the launcher and its shims, on asyncio.

Owns the launcher's process and the connections to the shims of programs that
run. Knows no container: a bundle directory names one.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import BackendError
from toolkit.kernel import process as processes
from toolkit.kernel.cgroup_grace import GracePeriod
from toolkit.runtime.ahead import ShimsAhead
from toolkit.runtime.exitfile import read_exit_status
from toolkit.runtime.protocol import (
    SHIM_SOCKET,
    AttachClient,
    ExitStatus,
    Message,
    receive_message,
    send_message,
)
from toolkit.runtime.running import Connect, Running
from toolkit.runtime.sealed import start_launcher

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from toolkit.config import Instance

__all__ = ["AttachClient", "ExitStatus", "Running", "Supervisor", "read_exit_status"]

_RECONNECT_SECONDS: Final = 5.0
_RELEASE_SECONDS: Final = 15.0
_TRIES: Final = 2
_DEATH_SECONDS: Final = 0.5  # between the end of a launcher's socket and of its process


class Supervisor:
    """Starts programs through the launcher and keeps the connections to their shims."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._launcher: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._sending = asyncio.Lock()
        self._reviving = asyncio.Lock()
        self._running: dict[Path, Running] = {}
        self._grace = GracePeriod()
        self._ahead = ShimsAhead()

    async def open(self) -> None:
        """Start the launcher."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        staging_dir = self._instance.run_dir / "staging"
        staging_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        environment = {
            "PATH": os.defpath,
            "TOOLKIT_INSTANCE": self._instance.name,
            "TOOLKIT_BACKEND": self._instance.backend,
            "TOOLKIT_STAGING_DIR": str(staging_dir),
        }
        try:
            self._launcher = await asyncio.to_thread(start_launcher, theirs.fileno(), environment)
        except OSError as error:
            ours.close()
            raise BackendError(f"cannot start the launcher: {error}") from error
        finally:
            theirs.close()
        self._socket = ours
        asyncio.get_running_loop().add_reader(ours, self._on_launcher)

    async def close(self) -> None:
        """End the launcher; shims and their programs go on."""
        for running in [*self._running.values()]:
            running.forget()
        self._running.clear()
        self._let_go_of_launcher()
        if self._launcher is not None:
            await asyncio.to_thread(self._launcher.wait)
            self._launcher = None

    def expect(self, backend: str) -> None:
        """Make ready for a start that comes soon: what takes time on LXC is begun now."""
        if backend != "lxc":
            return
        self._grace.begin()
        if self._socket is not None:
            with suppress(OSError):  # busy, or gone: the start will find that out
                send_message(self._socket, {"op": "expect", "backend": backend}, ())

    async def start(
        self,
        bundle_dir: Path,
        clients: Sequence[AttachClient] = (),
        *,
        backend: str = "native",
        written: asyncio.Task[None] | None = None,
        connect: Connect | None = None,
    ) -> Running:
        """Run the program of a bundle under a new shim; takes the clients over.

        Args:
            bundle_dir: The bundle.
            clients: Served from the first byte on.
            backend: ``native`` or ``lxc``.
            written: Done when the bundle is whole, which the shim waits for;
                None for one that is. What it raises is raised here.
            connect: Called with the new network namespace, and awaited before the
                program runs; None for a program that has no network to be connected.

        Raises:
            CommandNotFoundError: The program does not exist in the container.
            CommandNotExecutableError: It may not be executed.
            InvalidRequestError: User, working directory or a bind's source is wrong.
            BackendError: Anything else.
        """
        await self._await_release(bundle_dir)
        request = {"op": "start", "bundle": str(bundle_dir), "backend": backend,
                   "connect": connect is not None}  # fmt: skip
        running = await self._launch(request, clients, connect, written)
        self._keep(bundle_dir, running)
        return running

    async def exec(
        self,
        bundle_dir: Path,
        process: dict[str, Any],
        *,
        exec_id: str,
        init_pid: int,
        clients: Sequence[AttachClient] = (),
        user: str = "",
        open_stdin: bool = False,
    ) -> Running:
        """Run another program in the container of a bundle; raises as `start`."""
        short = exec_id[:12]
        document = json.loads(await asyncio.to_thread((bundle_dir / "config.json").read_bytes))
        spec = _exec_spec(document, process, short, user=user, open_stdin=open_stdin)
        spec["init_pid"] = init_pid
        known = self._running.get(bundle_dir)
        spec["init_start_time"] = (
            known.start_time_ticks if known else processes.start_time_ticks(init_pid)
        )
        spec_path = bundle_dir / f"exec-{short}.json"
        await asyncio.to_thread(spec_path.write_text, json.dumps(spec))
        request = {"op": "exec", "bundle": str(bundle_dir), "spec": spec_path.name,
                   "socket": f"exec-{short}.sock"}  # fmt: skip
        try:
            return await self._launch(request, clients)
        finally:
            spec_path.unlink(missing_ok=True)

    async def reconnect(self, bundle_dir: Path) -> Running | None:
        """Return the program that an earlier engine started in a bundle, if its shim lives."""
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.settimeout(0)
        loop = asyncio.get_running_loop()
        try:
            bundle_fd = os.open(bundle_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                await loop.sock_connect(control, f"/proc/self/fd/{bundle_fd}/{SHIM_SOCKET}")
            finally:
                os.close(bundle_fd)
            running = Running(control)
            async with asyncio.timeout(_RECONNECT_SECONDS):
                await running.started
        except (OSError, BackendError, TimeoutError):
            control.close()
            return None
        self._keep(bundle_dir, running)
        return running

    def _keep(self, bundle_dir: Path, running: Running) -> None:
        self._running[bundle_dir] = running

        def drop(_released: asyncio.Future[None]) -> None:
            if self._running.get(bundle_dir) is running:
                del self._running[bundle_dir]

        running.released.add_done_callback(drop)

    async def _await_release(self, bundle_dir: Path) -> None:
        """Wait until an earlier program of the bundle has let go of its cgroup."""
        earlier = self._running.get(bundle_dir)
        if earlier is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_RELEASE_SECONDS):
                    await asyncio.shield(earlier.released)

    async def _launch(
        self,
        request: Message,
        clients: Sequence[AttachClient],
        connect: Connect | None = None,
        written: asyncio.Task[None] | None = None,
    ) -> Running:
        request["awaits_bundle"] = written is not None
        request["clients"] = [client.to_message() for client in clients]
        try:
            for attempt in range(_TRIES):
                launcher = self._launcher
                running = await self._send(request, clients, connect)
                try:
                    if written is not None:
                        await written
                        running.go_on()
                    await running.started
                except BackendError:
                    await running.give_up()
                    is_last = attempt + 1 == _TRIES or running.was_refused
                    if not is_last and await self._replace_launcher(launcher):
                        continue  # it died before it could fork: nothing was started
                    raise
                except BaseException:
                    await running.give_up()
                    raise
                return running
        finally:
            for client in clients:
                os.close(client.fd)
        raise BackendError("the launcher does not stay up")

    async def _send(
        self, request: Message, clients: Sequence[AttachClient], connect: Connect | None
    ) -> Running:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        fds = [theirs.fileno(), *(client.fd for client in clients)]
        namespaces = None
        try:
            if request.get("backend") == "native":
                namespaces = self._ahead.give(request, fds)
            if namespaces is None:
                async with self._sending:
                    await self._send_when_writable(request, fds)
        except OSError:
            pass  # the launcher is gone: the other end closes, and the caller sees that
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        running = Running(ours, connect)
        for netns_fd in namespaces or ():
            running.connect_namespace(netns_fd)
        return running

    async def _send_when_writable(self, request: Message, fds: Sequence[int]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            control = self._socket
            if control is None:
                raise BackendError("the engine is closing")
            try:
                send_message(control, request, fds)
            except BlockingIOError:
                writable = loop.create_future()
                loop.add_writer(control, writable.set_result, None)
                try:
                    await writable
                finally:
                    loop.remove_writer(control)
            else:
                return

    async def _replace_launcher(self, asked: subprocess.Popen[bytes] | None) -> bool:
        """Start the launcher again if the one that was asked is dead; say whether it was.

        Many may see it die; one of them starts the next.
        """
        async with self._reviving:
            if self._launcher is not asked:
                return self._launcher is not None
            if asked is None or not await asyncio.to_thread(_has_ended, asked):
                return False
            self._let_go_of_launcher()
            await self.open()
            return True

    def _let_go_of_launcher(self) -> None:
        self._ahead.close()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _on_launcher(self) -> None:
        """Take up the shims that the launcher has made ahead."""
        if self._socket is None:
            return
        try:
            received = receive_message(self._socket)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            received = None
        if received is None:  # it is gone, and with it what it has made: the next start finds out
            asyncio.get_running_loop().remove_reader(self._socket)
            self._ahead.close()
        elif received[1]:
            self._ahead.add(received[1])


def _has_ended(launcher: subprocess.Popen[bytes]) -> bool:
    try:
        launcher.wait(_DEATH_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _exec_spec(
    document: dict[str, Any], process: dict[str, Any], short: str, *, user: str, open_stdin: bool
) -> dict[str, Any]:
    own = document["annotations"]
    log_dir = os.path.dirname(own["toolkit.log.path"])
    annotations = {
        "toolkit.user": user,
        "toolkit.home.default": "1",
        "toolkit.stdin.open": "1" if open_stdin else "",
        "toolkit.stdin.once": "1",
        "toolkit.log.path": os.path.join(log_dir, f".exec-{short}.log"),
        "toolkit.seccomp.program": own.get("toolkit.seccomp.program", ""),
    }
    return {"process": process, "annotations": annotations}
