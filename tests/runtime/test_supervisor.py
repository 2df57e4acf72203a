# SPDX-License-Identifier: Apache-2.0
"""The engine's side of the launcher, against a thread that plays launcher and shims."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.waiting import PATIENCE_SECONDS, until
from toolkit.config import Instance
from toolkit.errors import BackendError, CommandNotFoundError
from toolkit.runtime import supervisor as supervisor_module
from toolkit.runtime.protocol import (
    SHIM_SOCKET,
    AttachClient,
    ExitStatus,
    Message,
    receive_message,
    send_message,
)
from toolkit.runtime.supervisor import Supervisor

if TYPE_CHECKING:
    from pathlib import Path

STATUS = ExitStatus(exit_code=0, finished_at=datetime(2026, 1, 2, tzinfo=UTC))
STARTED = {"event": "started", "pid": 4711, "start_time": 99}
EXITED = {"event": "exited", **STATUS.to_message()}


class FakeLauncher:
    """Takes the place of `start_launcher`; each start makes a launcher that answers in a thread.

    Attributes:
        answer: What its shims say first.
        offers: They hand a descriptor over with it.
        deaths: So many launchers die at their first request, before they fork.
        requests: What launchers were asked.
        expected: The backends that they were told of.
        shims: Control sockets of the shims.
        ahead: Sockets of shims that it hands over when it starts, with a namespace each.
    """

    def __init__(self) -> None:
        self.answer: Message = STARTED
        self.offers = False
        self.deaths = 0
        self.started = 0
        self.environments: list[dict[str, str]] = []
        self.requests: list[Message] = []
        self.expected: list[str] = []
        self.client_fds: list[list[int]] = []
        self.shims: list[socket.socket] = []
        self.ahead: list[socket.socket] = []

    def __call__(self, engine_fd: int, environment: dict[str, str]) -> FakeProcess:
        self.started += 1
        self.environments.append(environment)
        dies = self.started <= self.deaths
        control = socket.socket(fileno=os.dup(engine_fd))
        return FakeProcess(threading.Thread(target=self._serve, args=(control, dies)))

    def _serve(self, control: socket.socket, dies: bool) -> None:  # noqa: FBT001 - a thread's
        with control:
            for shim in self.ahead:
                with open("/dev/null", "rb") as namespace:  # noqa: PTH123 - a descriptor is wanted
                    send_message(control, {"event": "waits"}, [shim.fileno(), namespace.fileno()])
                shim.close()
            while received := receive_message(control):
                message, fds = received
                if message["op"] == "expect":
                    self.expected.append(message["backend"])
                    continue
                if dies:
                    for fd in fds:
                        os.close(fd)
                    return
                shim = socket.socket(fileno=fds[0])
                self.requests.append(self._read(message))
                self.client_fds.append(fds[1:])
                self.shims.append(shim)
                send_message(shim, self.answer, [shim.fileno()] if self.offers else ())

    @staticmethod
    def _read(message: Message) -> Message:
        """Read what only lives while the request does."""
        if "spec" not in message:
            return message
        with open(os.path.join(message["bundle"], message["spec"]), "rb") as file:  # noqa: PTH118, PTH123 - as the launcher
            return {**message, "document": json.load(file)}

    def close(self) -> None:
        for shim in self.shims:
            shim.close()
        for fds in self.client_fds:
            for fd in fds:
                os.close(fd)


class FakeProcess:
    """A launcher's process: a thread."""

    def __init__(self, thread: threading.Thread) -> None:
        self._thread = thread
        thread.start()

    def poll(self) -> int | None:
        self._thread.join(0.05)  # who closed its socket is about to end
        return None if self._thread.is_alive() else 1

    def wait(self, timeout_seconds: float = 5.0) -> int:
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            raise subprocess.TimeoutExpired("launcher", timeout_seconds)
        return 0


Scenario = Callable[[Supervisor, FakeLauncher], Awaitable[None]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run a scenario on an open supervisor whose launcher is a fake."""

    def play(scenario: Scenario, **attributes: object) -> None:
        launcher = FakeLauncher()
        vars(launcher).update(attributes)
        monkeypatch.setattr(supervisor_module, "start_launcher", launcher)

        async def run() -> None:
            supervisor = Supervisor(Instance(name="tst"))
            await supervisor.open()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await scenario(supervisor, launcher)
            finally:
                await supervisor.close()
                launcher.close()

        asyncio.run(run())

    return play


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    annotations = {"toolkit.log.path": str(tmp_path / "log")}
    (tmp_path / "config.json").write_text(json.dumps({"annotations": annotations}))
    return tmp_path


def test_a_start_names_the_bundle_and_passes_the_clients(
    play: Callable[..., None], bundle: Path
) -> None:
    async def scenario(supervisor: Supervisor, launcher: FakeLauncher) -> None:
        person, theirs = socket.socketpair()
        client = AttachClient(fd=theirs.detach(), pending=b"x", stdin=True)
        running = await supervisor.start(bundle, [client])
        (request,), ((client_fd,),) = launcher.requests, launcher.client_fds
        assert running.pid == 4711
        assert (request["op"], request["bundle"]) == ("start", str(bundle))
        assert AttachClient.from_message(request["clients"][0], client.fd) == client
        os.write(client_fd, b"hello")
        with person:
            assert person.recv(9) == b"hello"
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(client.fd)

    play(scenario)


def test_a_shim_that_waits_is_asked_itself_and_its_network_is_connected_at_once(
    play: Callable[..., None], bundle: Path
) -> None:
    shim, engines = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    async def scenario(supervisor: Supervisor, launcher: FakeLauncher) -> None:
        await until(lambda: bool(supervisor._ahead._waiting))
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connected: list[int] = []

        async def connect(netns_fd: int) -> None:
            connected.append(os.fstat(netns_fd).st_rdev)

        async def wait_written() -> None:
            await written

        start = asyncio.ensure_future(
            supervisor.start(bundle, written=asyncio.ensure_future(wait_written()), connect=connect)
        )
        message, (control_fd,) = await asyncio.to_thread(receive_message, shim) or ({}, [-1])
        assert (message["op"], message["has_offered"]) == ("start", True)
        with socket.socket(fileno=control_fd) as control:
            assert await asyncio.to_thread(receive_message, control) == ({"op": "connected"}, [])
            assert connected == [os.stat("/dev/null").st_rdev]  # noqa: PTH116 - of a device
            written.set_result(None)
            assert await asyncio.to_thread(receive_message, control) == ({"op": "go on"}, [])
            send_message(control, STARTED)
            assert (await start).pid == 4711
        assert launcher.requests == []

    with shim:
        play(scenario, ahead=[engines])


def test_whatever_connecting_fails_with_ends_the_start(
    play: Callable[..., None], bundle: Path
) -> None:
    shim, engines = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    async def scenario(supervisor: Supervisor, _launcher: FakeLauncher) -> None:
        async def connect(_netns_fd: int) -> None:
            raise RuntimeError("a mistake")

        await until(lambda: bool(supervisor._ahead._waiting))
        start = asyncio.ensure_future(supervisor.start(bundle, connect=connect))
        _, (control_fd,) = await asyncio.to_thread(receive_message, shim) or ({}, [-1])
        with socket.socket(fileno=control_fd) as control:
            assert await asyncio.to_thread(receive_message, control) == ({"op": "refused"}, [])
            send_message(control, {"event": "failed", "kind": "BackendError", "text": "refused"})
            with pytest.raises(RuntimeError, match="a mistake"):
                await start

    with shim:
        play(scenario, ahead=[engines])


def test_a_bundle_that_cannot_be_written_gives_the_shim_up(
    play: Callable[..., None], bundle: Path
) -> None:
    shim, engines = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    async def scenario(supervisor: Supervisor, launcher: FakeLauncher) -> None:
        async def fail() -> None:
            raise OSError(28, "No space left on device")

        await until(lambda: bool(supervisor._ahead._waiting))
        with pytest.raises(OSError, match="No space"):
            await supervisor.start(bundle, written=asyncio.ensure_future(fail()))
        _, (control_fd,) = await asyncio.to_thread(receive_message, shim) or ({}, [-1])
        with socket.socket(fileno=control_fd) as control:
            assert await asyncio.to_thread(receive_message, control) is None
        assert launcher.requests == []

    with shim:
        play(scenario, ahead=[engines])


def test_the_launcher_gets_nothing_of_the_engines_environment(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD_OF_TEST", "x")

    async def scenario(_: Supervisor, launcher: FakeLauncher) -> None:
        (environment,) = launcher.environments
        assert environment["TOOLKIT_INSTANCE"] == "tst"
        assert all(name == "PATH" or name.startswith("TOOLKIT_") for name in environment)

    play(scenario)


def test_a_program_that_is_not_there_is_not_tried_twice(
    play: Callable[..., None], bundle: Path
) -> None:
    async def scenario(supervisor: Supervisor, launcher: FakeLauncher) -> None:
        person, theirs = socket.socketpair()
        with pytest.raises(CommandNotFoundError, match="no nope"):
            await supervisor.start(bundle, [AttachClient(fd=theirs.detach())])
        assert len(launcher.requests) == 1
        os.close(launcher.client_fds.pop()[0])
        with person:
            assert person.recv(9) == b""

    play(scenario, answer={"event": "failed", "kind": "CommandNotFoundError", "text": "no nope"})


def test_a_dead_launcher_is_started_again_and_the_request_retried_once(
    play: Callable[..., None], bundle: Path
) -> None:
    """Row F-04."""

    async def scenario(supervisor: Supervisor, launcher: FakeLauncher) -> None:
        running = await supervisor.start(bundle)
        assert running.pid == 4711
        assert (launcher.started, len(launcher.requests)) == (2, 1)

    play(scenario, deaths=1)


def test_a_launcher_that_dies_again_is_the_callers_error(
    play: Callable[..., None], bundle: Path
) -> None:
    async def scenario(supervisor: Supervisor, launcher: FakeLauncher) -> None:
        with pytest.raises(BackendError):
            await supervisor.start(bundle)
        assert launcher.started == 2

    play(scenario, deaths=2)


def test_a_shim_that_dies_alone_is_not_started_again(
    play: Callable[..., None], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(supervisor: Supervisor, launcher: FakeLauncher) -> None:
        def die(shim: socket.socket, *_: object) -> None:
            shim.close()

        monkeypatch.setitem(globals(), "send_message", die)
        with pytest.raises(BackendError, match="lost"):
            await supervisor.start(bundle)
        assert (launcher.started, len(launcher.requests)) == (1, 1)

    play(scenario)


def test_a_start_that_fails_ends_when_nobody_connects_its_network_any_more(
    play: Callable[..., None], bundle: Path
) -> None:
    """What a start has made on a network is given back behind it, not beside."""
    is_refused, words = asyncio.Event(), []

    async def connect(_netns_fd: int) -> None:
        words.append("connecting")
        await is_refused.wait()
        await asyncio.sleep(0)
        words.append("connected")

    async def scenario(supervisor: Supervisor, launcher: FakeLauncher) -> None:
        start = asyncio.create_task(supervisor.start(bundle, connect=connect))
        await until(lambda: words == ["connecting"])
        failure = {"event": "failed", "kind": "BackendError", "text": "no such device"}
        send_message(launcher.shims[0], failure)
        await asyncio.to_thread(launcher.shims[0].recv, 1)  # the engine has heard it
        is_refused.set()
        with pytest.raises(BackendError, match="no such device"):
            await start
        assert words == ["connecting", "connected"]

    play(scenario, answer={"event": "namespace"}, offers=True)


def test_many_starts_at_once_are_each_answered(play: Callable[..., None], tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor, launcher: FakeLauncher) -> None:
        starts = [supervisor.start(tmp_path / str(number)) for number in range(50)]
        runnings = await asyncio.gather(*starts)
        assert len({id(running) for running in runnings}) == len(launcher.requests) == 50

    play(scenario)


def test_a_second_start_waits_until_the_first_has_let_go(
    play: Callable[..., None], bundle: Path
) -> None:
    async def scenario(supervisor: Supervisor, launcher: FakeLauncher) -> None:
        first = await supervisor.start(bundle)
        send_message(launcher.shims[0], EXITED)
        await first.exited
        second = asyncio.create_task(supervisor.start(bundle))
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(launcher.requests) == 1
        send_message(launcher.shims[0], {"event": "released"})
        await second
        assert len(launcher.requests) == 2

    play(scenario)


def test_an_exec_is_described_in_a_file_that_goes_again(
    play: Callable[..., None], bundle: Path
) -> None:
    async def scenario(supervisor: Supervisor, launcher: FakeLauncher) -> None:
        await supervisor.exec(
            bundle, {"args": ["id"]}, exec_id="e" * 64, init_pid=os.getpid(), user="bob",
            open_stdin=True,
        )  # fmt: skip
        (request,) = launcher.requests
        document = request["document"]
        assert (request["op"], request["socket"]) == ("exec", f"exec-{'e' * 12}.sock")
        assert document["process"] == {"args": ["id"]}
        assert document["init_pid"] == os.getpid()
        assert document["init_start_time"] > 0
        assert document["annotations"]["toolkit.user"] == "bob"
        assert document["annotations"]["toolkit.stdin.open"] == "1"

    play(scenario)
    assert [entry.name for entry in bundle.iterdir()] == ["config.json"]


def test_an_exec_after_a_start_names_the_program_that_was_started(
    play: Callable[..., None], bundle: Path
) -> None:
    """Row S-16: a pid that was given to another process meanwhile is not entered."""

    async def scenario(supervisor: Supervisor, launcher: FakeLauncher) -> None:
        await supervisor.start(bundle)
        await supervisor.exec(bundle, {}, exec_id="e" * 64, init_pid=4711)
        assert launcher.requests[1]["document"]["init_start_time"] == STARTED["start_time"]

    play(scenario)


def test_a_shim_of_an_earlier_engine_is_found_by_its_socket(
    play: Callable[..., None], bundle: Path
) -> None:
    async def scenario(supervisor: Supervisor, _: FakeLauncher) -> None:
        assert await supervisor.reconnect(bundle) is None
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(bundle / SHIM_SOCKET))
            listener.listen()
            reconnect = asyncio.create_task(supervisor.reconnect(bundle))
            shim, _ = await asyncio.to_thread(listener.accept)
            with shim:
                send_message(shim, STARTED)
                send_message(shim, EXITED)
                running = await reconnect
                assert running is not None
                assert await running.exited == STATUS
        assert await supervisor.reconnect(bundle) is None  # a socket that nobody listens on

    play(scenario)


def test_a_shim_that_says_nothing_is_no_shim(
    play: Callable[..., None], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "_RECONNECT_SECONDS", 0.05)

    async def scenario(supervisor: Supervisor, _: FakeLauncher) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(bundle / SHIM_SOCKET))
            listener.listen()
            assert await supervisor.reconnect(bundle) is None

    play(scenario)


def test_close_ends_the_launcher_and_lets_shims_live(
    play: Callable[..., None], bundle: Path
) -> None:
    async def scenario(supervisor: Supervisor, launcher: FakeLauncher) -> None:
        running = await supervisor.start(bundle)
        await supervisor.close()
        with pytest.raises(BackendError, match="let go"):
            await running.exited
        assert receive_message(launcher.shims[0]) is None
        with pytest.raises(BackendError, match="closing"):
            await supervisor.start(bundle)

    play(scenario)


def test_many_that_see_a_launcher_die_start_one_more(
    play: Callable[..., None], tmp_path: Path
) -> None:
    """Row F-04: the others' requests go to the one that the first has started."""

    async def scenario(supervisor: Supervisor, launcher: FakeLauncher) -> None:
        starts = [supervisor.start(tmp_path / str(number)) for number in range(8)]
        await asyncio.gather(*starts)
        assert (launcher.started, len(launcher.requests)) == (2, 8)

    play(scenario, deaths=1)


def test_a_refusal_of_the_host_is_told_without_asking_whether_the_launcher_died(
    play: Callable[..., None], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[object] = []
    monkeypatch.setattr(supervisor_module, "_has_ended", looked.append)

    async def scenario(supervisor: Supervisor, launcher: FakeLauncher) -> None:
        with pytest.raises(BackendError, match="no room"):
            await supervisor.start(bundle)
        assert (looked, len(launcher.requests)) == ([], 1)

    play(scenario, answer={"event": "failed", "kind": "BackendError", "text": "no room"})


def test_a_container_for_lxc_is_told_to_the_launcher_before_its_start(
    play: Callable[..., None], bundle: Path
) -> None:
    async def scenario(supervisor: Supervisor, launcher: FakeLauncher) -> None:
        supervisor.expect("native")
        supervisor.expect("lxc")
        await supervisor.start(bundle, backend="lxc")
        assert launcher.expected == ["lxc"]
        assert launcher.requests[0]["backend"] == "lxc"

    play(scenario)
