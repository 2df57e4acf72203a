# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.fakes.stub_engine import Act, Exchange, StubEngine, frame, says, streams

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import CommandLine

ID = "ab" * 32


class OneContainer:
    """What a stub engine does for one container that runs to its end."""

    def __init__(
        self,
        stub: StubEngine,
        *,
        output: bytes = b"",
        exit_code: int = 0,
        started: Act | None = None,
    ) -> None:
        self.is_started = threading.Event()
        self.has_ended = threading.Event()
        self.received = b""
        self._output = output
        self._exit_code = exit_code
        stub.on("POST /containers/create", says(201, {"Id": ID, "Warnings": None}))
        stub.on(f"POST /containers/{ID}/attach", self.attach)
        stub.on(f"POST /containers/{ID}/wait", self.wait)
        stub.on(f"POST /containers/{ID}/start", started or self.start)

    def attach(self, exchange: Exchange) -> None:
        exchange.upgrade()
        self.is_started.wait(10)
        exchange.send(self._output)
        self.received = exchange.read_to_end()
        self.has_ended.set()

    def wait(self, exchange: Exchange) -> None:
        exchange.begin_chunks()
        self.has_ended.wait(10)
        exchange.chunk(b'{"StatusCode":%d}' % self._exit_code)
        exchange.end_chunks()

    def start(self, exchange: Exchange) -> None:
        exchange.answer(204)
        self.is_started.set()


@contextmanager
def standard_input(data: bytes) -> Iterator[None]:
    """Put a file with this content in the place of descriptor 0."""
    read_fd = os.memfd_create("input")
    os.write(read_fd, data)
    os.lseek(read_fd, 0, os.SEEK_SET)
    kept = os.dup(0)
    os.dup2(read_fd, 0)
    os.close(read_fd)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def test_run_asks_in_dockers_order_and_ends_with_the_exit_code(
    toolkit: CommandLine, stub: StubEngine
) -> None:
    OneContainer(stub, output=frame(1, b"out\n") + frame(2, b"err\n"), exit_code=7)
    assert toolkit("run", "busybox", "sh") == (7, "out\n", "err\n")
    assert stub.lines == [
        "POST /containers/create",
        f"POST /containers/{ID}/attach?stream=1&stdout=1&stderr=1",
        f"POST /containers/{ID}/wait?condition=next-exit",
        f"POST /containers/{ID}/start",
    ]


def test_run_with_rm_lets_the_engine_remove_and_waits_for_that(
    toolkit: CommandLine, stub: StubEngine
) -> None:
    """API-048."""
    OneContainer(stub)
    assert toolkit("run", "--rm", "busybox").exit_code == 0
    assert f"POST /containers/{ID}/wait?condition=removed" in stub.lines
    assert not any(line.startswith("DELETE") for line in stub.lines)


def test_run_detached_prints_the_id_and_attaches_nothing(
    toolkit: CommandLine, stub: StubEngine
) -> None:
    OneContainer(stub)
    assert toolkit("run", "-d", "busybox") == (0, ID + "\n", "")
    assert stub.lines == ["POST /containers/create", f"POST /containers/{ID}/start"]


def test_input_is_sent_and_its_end_is_a_half_close(toolkit: CommandLine, stub: StubEngine) -> None:
    """API-040."""
    container = OneContainer(stub)
    with standard_input(b"x" * 300_000):
        assert toolkit("run", "-i", "busybox", "cat").exit_code == 0
    assert container.received == b"x" * 300_000


def test_without_input_the_half_close_comes_at_once(toolkit: CommandLine, stub: StubEngine) -> None:
    container = OneContainer(stub)
    with standard_input(b"not for the container"):
        assert toolkit("run", "busybox").exit_code == 0
    assert container.received == b""


def test_only_input_attached_prints_the_id_and_ends_when_it_was_sent(
    toolkit: CommandLine, stub: StubEngine
) -> None:
    """RT-077, API-043."""
    container = OneContainer(stub)
    with standard_input(b"hi there\n"):
        assert toolkit("run", "-i", "-a", "stdin", "busybox") == (0, ID + "\n", "")
    assert container.received == b"hi there\n"


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_attach_and_detach_contradict_each_other(
    toolkit: CommandLine, stub: StubEngine, stream: str
) -> None:
    """RT-077, API-081."""
    result = toolkit("run", "-d", "-a", stream, "busybox")
    assert result.exit_code == 1
    assert "cannot specify both --attach and --detach" in result.err
    assert stub.requests == []


@pytest.mark.parametrize(
    ("message", "exit_code"),
    [
        ('exec: "nonesuch": executable file not found in $PATH', 127),
        ("stat /x: no such file or directory", 127),
        ("exec /etc/passwd: permission denied", 126),
        ("exec /etc: is a directory", 126),
        ("something else", 125),
    ],
)
def test_a_program_that_cannot_be_started_has_dockers_codes(
    toolkit: CommandLine, stub: StubEngine, message: str, exit_code: int
) -> None:
    OneContainer(stub, started=says(400, {"message": message}))
    result = toolkit("run", "busybox", "nonesuch")
    assert result == (exit_code, "", f"toolkit: {message}\n")


def test_a_failed_start_with_rm_leaves_no_container(toolkit: CommandLine, stub: StubEngine) -> None:
    OneContainer(stub, started=says(400, {"message": "no"}))
    stub.on(f"DELETE /containers/{ID}", says(204))
    assert toolkit("run", "--rm", "busybox").exit_code == 125
    assert stub.lines[-1] == f"DELETE /containers/{ID}?force=1&v=1"


def test_a_missing_image_is_pulled_and_the_failure_is_125(
    toolkit: CommandLine, stub: StubEngine
) -> None:
    stub.on("POST /containers/create", says(404, {"message": "No such image: x:latest"}))
    stub.on("POST /images/create", says(404, {"message": "pull access denied for x"}))
    result = toolkit("run", "x")
    assert result.exit_code == 125
    assert result.err.splitlines() == [
        "Unable to find image 'x:latest' locally",
        "toolkit: pull access denied for x",
    ]
    assert "POST /images/create?fromImage=x&tag=latest" in stub.lines


def test_a_missing_image_that_can_be_pulled_is_run(toolkit: CommandLine, stub: StubEngine) -> None:
    container = OneContainer(stub)
    answers = iter([says(404, {"message": "No such image"}), says(201, {"Id": ID})])

    def answer_next(exchange: Exchange) -> None:
        next(answers)(exchange)

    stub.on("POST /containers/create", answer_next)
    stub.on("POST /images/create", streams([b'{"status":"Pulling","id":"abc"}']))
    result = toolkit("run", "a/b:c")
    assert result.exit_code == 0
    assert "abc: Pulling" in result.err
    assert container.has_ended.is_set()


def test_warnings_are_shown_on_standard_error(toolkit: CommandLine, stub: StubEngine) -> None:
    OneContainer(stub)
    stub.on("POST /containers/create", says(201, {"Id": ID, "Warnings": ["no swap limit"]}))
    assert toolkit("run", "busybox").err == "WARNING: no swap limit\n"


def test_the_id_file_holds_sixty_four_digits(
    toolkit: CommandLine, stub: StubEngine, tmp_path: Path
) -> None:
    """API-053, RT-056."""
    OneContainer(stub)
    file = tmp_path / "cid"
    assert toolkit("run", "--cidfile", str(file), "busybox").exit_code == 0
    assert file.read_text() == ID


def test_an_id_file_that_exists_is_refused_before_anything_is_made(
    toolkit: CommandLine, stub: StubEngine, tmp_path: Path
) -> None:
    file = tmp_path / "cid"
    file.touch()
    result = toolkit("run", "--cidfile", str(file), "busybox")
    assert result.exit_code == 125
    assert "container ID file found" in result.err
    assert stub.requests == []


def test_an_engine_that_was_replaced_meanwhile_still_tells_the_exit_code(
    toolkit: CommandLine, stub: StubEngine
) -> None:
    container = OneContainer(stub, output=frame(1, b"all of it"))

    def die_then_answer(exchange: Exchange) -> None:
        if exchange.request.line.endswith("condition=next-exit"):
            exchange.begin_chunks()
            exchange.connection.shutdown(2)
        else:
            container.has_ended.wait(10)
            exchange.answer(200, {"StatusCode": 9})

    stub.on(f"POST /containers/{ID}/wait", die_then_answer)
    assert toolkit("run", "busybox") == (9, "all of it", "")


def test_an_error_of_the_wait_is_125(toolkit: CommandLine, stub: StubEngine) -> None:
    OneContainer(stub)
    document = {"StatusCode": 1, "Error": {"Message": "lost it"}}
    stub.on(f"POST /containers/{ID}/wait", says(200, document))
    assert toolkit("run", "busybox") == (125, "", "toolkit: lost it\n")


def test_an_engine_that_does_not_listen_is_125_with_a_hint(
    toolkit: CommandLine, tmp_path: Path
) -> None:
    result = toolkit.at(f"unix://{tmp_path}/none", "run", "busybox")
    assert result.exit_code == 125
    first, second = result.err.splitlines()
    assert first.startswith("toolkit: Cannot connect to the engine at unix://")
    assert "toolkit engine" in second
