# SPDX-License-Identifier: Apache-2.0
"""The engine's end of a shim, against a socket that plays the shim."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from tests.waiting import PATIENCE_SECONDS
from toolkit.errors import (
    BackendError,
    CommandNotExecutableError,
    CommandNotFoundError,
    InvalidRequestError,
    NotRunningError,
    ToolkitError,
)
from toolkit.runtime.protocol import (
    AttachClient,
    ExitStatus,
    Message,
    receive_message,
    send_message,
)
from toolkit.runtime.running import Running

STATUS = ExitStatus(exit_code=7, finished_at=datetime(2026, 1, 2, tzinfo=UTC))
STARTED = {"event": "started", "pid": 4711, "start_time": 99}
EXITED = {"event": "exited", **STATUS.to_message()}


class FakeShim:
    """The shim's end of a control connection."""

    def __init__(self, control: socket.socket) -> None:
        control.settimeout(0)
        self.socket = control

    def say(self, message: Message) -> None:
        send_message(self.socket, message)

    async def hear(self) -> tuple[Message, list[int]]:
        """Return the next message, waiting for it on the loop."""
        loop = asyncio.get_running_loop()
        readable = loop.create_future()
        loop.add_reader(self.socket, readable.set_result, None)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await readable
        finally:
            loop.remove_reader(self.socket)
        received = receive_message(self.socket)
        assert received is not None
        return received

    def has_heard_nothing(self) -> bool:
        try:
            receive_message(self.socket)
        except BlockingIOError:
            return True
        return False


Scenario = Callable[[Running, FakeShim], Awaitable[None]]


def _play(scenario: Scenario) -> None:
    async def play() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        running = Running(ours)
        with theirs:
            await scenario(running, FakeShim(theirs))
            running.forget()

    asyncio.run(play())


def test_a_started_program_is_known_by_pid_and_time() -> None:
    async def scenario(running: Running, shim: FakeShim) -> None:
        shim.say(STARTED)
        await running.started
        assert (running.pid, running.start_time_ticks) == (4711, 99)
        assert not running.exited.done()

    _play(scenario)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("CommandNotFoundError", CommandNotFoundError),
        ("CommandNotExecutableError", CommandNotExecutableError),
        ("InvalidRequestError", InvalidRequestError),
        ("NotRunningError", NotRunningError),  # its constructor takes something else
        ("MountError", ToolkitError),
        ("SystemExit", BackendError),
        ("os", BackendError),
        ("annotations", BackendError),
    ],
)
def test_a_program_that_did_not_start_says_why(word: str, kind: type[ToolkitError]) -> None:
    async def scenario(running: Running, shim: FakeShim) -> None:
        shim.say({"event": "failed", "kind": word, "text": "the reason"})
        with pytest.raises(kind, match="the reason"):
            await running.started
        with pytest.raises(BackendError):
            await running.exited
        await running.released

    _play(scenario)


def test_who_waits_for_the_end_has_the_first_word() -> None:
    """The shim closes the clients behind the acknowledgement; the code is stored by then."""

    async def scenario(running: Running, shim: FakeShim) -> None:
        stored: list[ExitStatus] = []

        async def store() -> None:
            stored.append(await running.exited)
            assert shim.has_heard_nothing()

        task = asyncio.create_task(store())
        shim.say(STARTED)
        shim.say(EXITED)
        message, _ = await shim.hear()
        assert message == {"op": "acknowledge"}
        assert stored == [STATUS]
        await task
        assert not running.released.done()
        shim.say({"event": "released"})
        await running.released

    _play(scenario)


def test_a_lost_shim_leaves_nothing_waiting() -> None:
    """Row F-04."""

    async def scenario(running: Running, shim: FakeShim) -> None:
        shim.say(STARTED)
        await running.started
        request = asyncio.create_task(running.signal(15))
        await shim.hear()
        shim.socket.close()
        for waited in (request, running.exited):
            with pytest.raises(BackendError, match="lost"):
                await waited
        await running.released
        with pytest.raises(BackendError, match="gone"):
            await running.signal(15)

    _play(scenario)


def test_a_shim_that_is_lost_behind_the_end_loses_nothing() -> None:
    async def scenario(running: Running, shim: FakeShim) -> None:
        shim.say(STARTED)
        shim.say(EXITED)
        shim.socket.close()
        assert await running.exited == STATUS
        await running.released

    _play(scenario)


def test_a_failure_that_nobody_waits_for_is_no_warning() -> None:
    async def scenario(running: Running, shim: FakeShim) -> None:
        shim.socket.close()
        await running.released

    _play(scenario)


def test_requests_are_answered_by_their_number() -> None:
    async def scenario(running: Running, shim: FakeShim) -> None:
        resize = asyncio.create_task(running.resize(24, 80))
        signal = asyncio.create_task(running.signal(9))
        first, _ = await shim.hear()
        second, _ = await shim.hear()
        assert (first["op"], first["rows"], first["columns"]) == ("resize", 24, 80)
        assert (second["op"], second["number"]) == ("signal", 9)
        shim.say({"reply": 4711, "error": "whose is this"})
        shim.say({"reply": second["id"], "error": ""})
        shim.say({"reply": first["id"], "error": "the container has no terminal"})
        await signal
        with pytest.raises(BackendError, match="no terminal"):
            await resize

    _play(scenario)


def test_a_client_is_handed_over_and_is_the_shims_then() -> None:
    async def scenario(running: Running, shim: FakeShim) -> None:
        person, theirs = socket.socketpair()
        client = AttachClient(fd=theirs.detach(), pending=b"early", stdin=True)
        attach = asyncio.create_task(running.attach(client))
        message, (fd,) = await shim.hear()
        assert AttachClient.from_message(message["client"], client.fd) == client
        shim.say({"reply": message["id"], "error": ""})
        await attach
        os.write(fd, b"from the shim")
        os.close(fd)
        with person:
            assert person.recv(100) == b"from the shim"
            assert person.recv(100) == b""  # the engine holds no end of it any more

    _play(scenario)


def test_a_client_that_cannot_be_handed_over_is_closed() -> None:
    async def scenario(running: Running, shim: FakeShim) -> None:
        shim.socket.close()
        person, theirs = socket.socketpair()
        with person:
            with pytest.raises(BackendError):
                await running.attach(AttachClient(fd=theirs.detach()))
            assert person.recv(100) == b""

    _play(scenario)


def test_a_shim_that_does_not_answer_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row F-04: a stopped shim."""
    monkeypatch.setattr("toolkit.runtime.running._REPLY_SECONDS", 0.05)

    async def scenario(running: Running, shim: FakeShim) -> None:
        with pytest.raises(BackendError, match="did not answer"):
            await running.signal(15)
        message, _ = await shim.hear()
        shim.say({"reply": message["id"], "error": ""})  # too late, and no harm
        shim.say(STARTED)
        await running.started

    _play(scenario)


def test_what_is_no_message_counts_as_a_lost_shim() -> None:
    async def scenario(running: Running, shim: FakeShim) -> None:
        shim.socket.send(b"{")
        with pytest.raises(BackendError, match="lost"):
            await running.exited

    _play(scenario)


def test_forget_lets_the_shim_live() -> None:
    async def scenario(running: Running, shim: FakeShim) -> None:
        running.forget()
        running.forget()
        with pytest.raises(BackendError, match="let go"):
            await running.exited
        assert receive_message(shim.socket) is None
        await running.released

    _play(scenario)
