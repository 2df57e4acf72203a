# SPDX-License-Identifier: Apache-2.0
"""A container as a test holds it: what it can be asked and told."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from toolkit.client import ApiError, StreamError
from toolkit.client.frames import STDERR, STDOUT, FrameDecoder
from toolkit.client.pending import PendingAnswer
from toolkit.errors import InvalidRequestError, NotReadyError, ToolkitError
from toolkit.testing.readiness import is_readable, wait_ready
from toolkit.testing.spec import DEFAULT_WAIT_SECONDS, Command, port_key, words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toolkit.client.containers import PendingExit
    from toolkit.client.wire import HijackedConnection
    from toolkit.testing.engine import ContainerEngine
    from toolkit.testing.readiness import Ready

SHORT_ID_LENGTH: Final = 12
_NOT_FOUND = 404
_LOOK_AGAIN_SECONDS = 0.005


class Address(NamedTuple):
    """Where a port of a container is reached from here; unpacks to host and port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class ExecResult(NamedTuple):
    """How one more program in a container ended, and what it wrote."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """What it wrote, standard output first."""
        return self.stdout + self.stderr


class CommandFailedError(ToolkitError, AssertionError):
    """A program that had to succeed in a container did not; to a wait that means "not yet".

    Attributes:
        result: How it ended.
    """

    def __init__(self, title: str, command: Command, result: ExecResult) -> None:
        shown = command if isinstance(command, str) else " ".join(command)
        super().__init__(f"{title}: {shown!r} ended with {result.exit_code}: {result.output}")
        self.result = result


class Container:
    """A container of a test.

    Attributes:
        engine: Whose it is.
        id: 64 hex digits.
        name: Without a slash.
        image: As it was asked for.
    """

    def __init__(
        self, engine: ContainerEngine, container_id: str, *, name: str, image: str
    ) -> None:
        self.engine = engine
        self.id = container_id
        self.name = name
        self.image = image
        self._ports: dict[str, Address] = {}

    def __repr__(self) -> str:
        return f"<Container {self.name} {self.short_id} of {self.image}>"

    def __fspath__(self) -> str:  # so that `subprocess.run(["docker", "stop", container])` works
        return self.name

    @property
    def short_id(self) -> str:
        """The first digits of its id."""
        return self.id[:SHORT_ID_LENGTH]

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"container {self.name} ({self.image})"

    @property
    def is_running(self) -> bool:
        """Whether its program runs."""
        return bool(self.state().get("Running"))

    def inspect(self) -> dict[str, Any]:
        """Return everything about it, as ``docker inspect``."""
        return self.engine.client.containers.inspect(self.id)

    def state(self) -> dict[str, Any]:
        """Return docker's ``State``: ``Status``, ``ExitCode``, ``OOMKilled``, ``Health``, ..."""
        state: dict[str, Any] = self.inspect()["State"]
        return state

    def start(self) -> None:
        """Start it again; an address that it had may be another now."""
        self._ports.clear()
        self.engine.client.containers.start(self.id)

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Wait for the end of its program; return the exit code.

        Raises:
            NotReadyError: It still ran when the time was up.
        """
        pending = self.begin_wait()
        try:
            seconds = None if timeout_seconds is None else self._longer(timeout_seconds)
            if seconds is not None and not _readable_within(pending, seconds):
                raise NotReadyError(
                    f"{self.title} still runs after {seconds:g} s",
                    condition="exited(None)",
                    waited_seconds=seconds,
                    state="running",
                )
            return pending.result().exit_code
        finally:
            pending.close()

    def begin_wait(self) -> PendingExit:
        """Begin to wait for its end, in the background; readable when it has come."""
        return self.engine.client.containers.wait(self.id)

    def wait_until(self, ready: Ready, timeout_seconds: float = DEFAULT_WAIT_SECONDS) -> float:
        """Wait for a condition, as ``wait=`` does; return how many seconds that took.

        Raises:
            NotReadyError: It ended, or the time is up.
        """
        return wait_ready(self, ready, self._longer(timeout_seconds))

    def logs(self, *, tail_lines: int | None = None) -> str:
        """Return what it wrote, both streams as they came."""
        tail = "all" if tail_lines is None else str(tail_lines)
        is_framed = not self._has_tty()
        chunks = self.engine.client.containers.logs(self.id, framed=is_framed, tail=tail)
        return b"".join(chunk.payload for chunk in chunks).decode(errors="replace")

    def follow(self) -> FollowedOutput:
        """Return what it wrote and writes, to be read as it comes."""
        attached = self.engine.client.containers.attach(self.id, logs=True)
        return FollowedOutput(attached, is_framed=not self._has_tty())

    def follow_health(self) -> FollowedEvents:
        """Return news of its health check."""
        filters = {"container": [self.id], "event": ["health_status"]}
        query = {"filters": filters}
        return FollowedEvents(self.engine.client.request("GET", "/events", query=query))

    def address(self, port: int | str) -> Address:
        """Return where a port of ``ports=`` is reached from this process.

        Raises:
            InvalidRequestError: The port was not asked for, or the container does not run.
        """
        key = port_key(port)
        if key not in self._ports:
            self._ports = self._published()
        if key not in self._ports:
            number, _, protocol = key.partition("/")
            wish = number if protocol == "tcp" else repr(key)
            raise InvalidRequestError(
                f"{self.title}: port {key} is not published: "
                + (f"say ports=[{wish}]" if self.is_running else "it does not run")
            )
        return self._ports[key]

    def first_port(self) -> str:
        """Return the first port that it publishes.

        Raises:
            InvalidRequestError: It publishes none.
        """
        bindings = self.inspect()["HostConfig"].get("PortBindings") or {}
        if not bindings:
            raise InvalidRequestError(f"{self.title} publishes no port: say ports=[...]")
        return str(next(iter(bindings)))

    def ip_address(self, network: str = "") -> str:
        """Return its address on a network, as other containers see it; its first one without."""
        networks = self.inspect()["NetworkSettings"].get("Networks") or {}
        ends = [networks.get(network)] if network else list(networks.values())
        found = [str(end["IPAddress"]) for end in ends if end and end.get("IPAddress")]
        if not found:
            raise InvalidRequestError(f"{self.title} has no address on {network or 'a network'}")
        return found[0]

    def exec(  # docker's own parameters
        self,
        command: Command,
        *,
        user: str = "",
        env: Mapping[str, str] | None = None,
        working_dir: str = "",
        stdin: str | bytes = b"",
        check: bool = False,
    ) -> ExecResult:
        """Run one more program in it; return how that ended and what it wrote.

        Args:
            command: A list, or a text that is split as by a shell but not run by one.
            user: User, and group after a colon.
            env: Further variables.
            working_dir: Where it starts.
            stdin: What it reads.
            check: Whether a failure is an error.

        Raises:
            CommandFailedError: It failed, with *check*; one that is not there ends with 127.
            ApiError: The container does not run.
        """
        given = stdin.encode() if isinstance(stdin, str) else stdin
        execs = self.engine.client.execs
        exec_id = execs.create(
            self.id,
            {
                "Cmd": words(command),
                "Env": [f"{name}={value}" for name, value in (env or {}).items()],
                "User": user,
                "WorkingDir": working_dir,
                "AttachStdin": bool(given),
                "AttachStdout": True,
                "AttachStderr": True,
            },
        )
        with execs.start(exec_id, has_tty=False) as connection:
            streams = _exchange(connection, given)
        result = ExecResult(self._exit_code_of(exec_id), *streams)
        if check and result.exit_code:
            raise CommandFailedError(self.title, command, result)
        return result

    def stop(self, timeout_seconds: int | None = None) -> None:
        """Ask its program to end, and kill it when it has not after the time (10 seconds)."""
        self.engine.client.containers.stop(self.id, timeout_seconds=timeout_seconds)

    def kill(self, signal: str = "") -> None:
        """Send a signal, SIGKILL without one."""
        self.engine.client.containers.kill(self.id, signal=signal)

    def restart(self, timeout_seconds: int | None = None) -> None:
        """Stop and start it; an address that it had may be another now."""
        self._ports.clear()
        self.engine.client.containers.restart(self.id, timeout_seconds=timeout_seconds)

    def pause(self) -> None:
        """Freeze its processes."""
        self.engine.client.containers.pause(self.id)

    def unpause(self) -> None:
        """Let them go on."""
        self.engine.client.containers.unpause(self.id)

    def remove(self) -> None:
        """Kill and remove it with its unnamed volumes; one that is gone already is no error."""
        try:
            self.engine.ending.remove(
                lambda client: client.containers.remove(self.id, force=True, volumes=True)
            )
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise

    def write_file(self, path: str, content: str | bytes, *, mode: int = 0o644) -> None:
        """Put a file into it, whether it runs or not; its directory has to be there."""
        from toolkit.testing.files import packed_file  # noqa: PLC0415  # tarfile takes its time

        directory, name = path.rpartition("/")[::2]
        data = content.encode() if isinstance(content, str) else content
        packed = packed_file(name, data, mode)
        self.engine.client.containers.copy_in(self.id, directory or "/", packed)

    def read_file(self, path: str) -> bytes:
        """Return a file's content.

        Raises:
            ApiError: There is none (404).
        """
        from toolkit.testing.files import only_file  # noqa: PLC0415  # as above

        return only_file(self.engine.client.containers.copy_out(self.id, path)[1], path)

    def _longer(self, seconds: float) -> float:
        return seconds * self.engine.timeout_factor

    def _has_tty(self) -> bool:
        return bool(self.inspect()["Config"].get("Tty"))

    def _published(self) -> dict[str, Address]:
        ports = self.inspect()["NetworkSettings"].get("Ports") or {}
        host = self.engine.published_host
        return {
            key: Address(host, int(bindings[0]["HostPort"]))
            for key, bindings in ports.items()
            if bindings
        }

    def _exit_code_of(self, exec_id: str) -> int:
        """Return an exec's exit code: docker may tell it a moment after the end of its streams."""
        while (code := self.engine.client.execs.inspect(exec_id).get("ExitCode")) is None:
            time.sleep(_LOOK_AGAIN_SECONDS)
        return int(code)


class FollowedOutput:
    """A container's output as it comes; readable when there is some."""

    def __init__(self, attached: HijackedConnection, *, is_framed: bool) -> None:
        self._attached = attached
        self._decoder = FrameDecoder() if is_framed else None
        self.has_data = bool(attached.pending)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._attached.fileno()

    def read(self) -> str | None:
        """Return what has come, which may be nothing yet; None at the end."""
        data = self._attached.recv()
        self.has_data = bool(self._attached.pending)
        if not data:
            return None
        if self._decoder is not None:
            data = b"".join(chunk.payload for chunk in self._decoder.feed(data))
        return data.decode(errors="replace")

    def close(self) -> None:
        """Stop following."""
        self._attached.close()


class FollowedEvents(PendingAnswer):
    """Events as they come; readable when there is one."""

    def read(self) -> bool:
        """Take what has come: it says no more than that something did. False at the end."""
        return self._answer.discard()


def _readable_within(pending: PendingExit, seconds: float) -> bool:
    import select  # noqa: PLC0415  # only with a time-out

    if is_readable(pending):
        return True
    return bool(select.select([pending], [], [], seconds)[0])


def _exchange(connection: HijackedConnection, given: bytes) -> tuple[str, str]:
    """Send what a program reads, beside reading what it writes."""

    def send() -> None:
        with suppress(OSError):  # it has ended without reading all
            connection.send(given)
            connection.half_close()

    sender = threading.Thread(target=send, name="container-stdin", daemon=True) if given else None
    if sender is not None:
        sender.start()
    parts: dict[int, list[bytes]] = {STDOUT: [], STDERR: []}
    with suppress(StreamError):  # cut off where the program was killed
        for chunk in connection.chunks(framed=True):
            parts.setdefault(chunk.kind, []).append(chunk.payload)
    if sender is not None:
        sender.join()
    out, err = (b"".join(parts[kind]).decode(errors="replace") for kind in (STDOUT, STDERR))
    return out, err
