# SPDX-License-Identifier: Apache-2.0
"""Topic 3: streams, attach, log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from integration.pace import SLOWNESS

if TYPE_CHECKING:
    from integration.contract.conftest import Containers

CAT: dict[str, Any] = {
    "OpenStdin": True,
    "AttachStdin": True,
    "AttachStdout": True,
    "AttachStderr": True,
}
ROUNDS = 150
LONGEST_SECONDS = 2.0 * SLOWNESS


def test_three_readers_from_before_the_start_hear_each_run(containers: Containers) -> None:
    """RT-038."""
    made = containers.create("sh", "-c", "echo hello; sleep 0.1")
    for _ in range(2):
        readers = [containers.attach(made, stdout=True) for _ in range(3)]
        containers.client.start(made)
        for reader in readers:
            assert b"".join(chunk.payload for chunk in reader.chunks(framed=True)) == b"hello\n"
            reader.close()
        containers.client.wait(made).result()


@pytest.mark.parametrize("tty", [False, True])
def test_150_echo_rounds_take_less_than_two_seconds(containers: Containers, tty: bool) -> None:  # noqa: FBT001 - a test's parameter
    """RT-021, RT-044, RT-048, RT-052."""
    made = containers.create("cat", Tty=tty, **CAT)
    session = containers.attach(made, stdin=True, stdout=True, stderr=True)
    containers.client.start(made)
    wanted = b"hello\r\nhello\r\n" if tty else b"\1\0\0\0\0\0\0\6hello\n"
    began = time.monotonic()
    for _ in range(ROUNDS):
        session.send(b"hello\n")
        seen = b""
        while len(seen) < len(wanted):
            seen += session.recv(len(wanted) - len(seen))
        assert seen == wanted
    assert time.monotonic() - began < LONGEST_SECONDS
    session.close()


def test_detach_keys_are_told_as_an_event(containers: Containers) -> None:
    """Docker's `detach`, after `attach`; the program goes on."""
    began = int(time.time())
    made = containers.create("cat", Tty=True, **CAT)
    session = containers.attach(made, stdin=True, stdout=True)
    containers.client.start(made)
    session.send(b"\x10\x11")
    while session.recv():
        pass
    session.close()
    assert containers.state(made)
    containers.client.kill(made)
    seen = containers.engine.client.system.events(
        since=str(began), until=str(int(time.time()) + 1), filters={"container": [made]}
    )
    actions = [event["Action"] for event in seen]
    assert actions == ["create", "attach", "start", "detach", "kill", "die"]


def test_a_terminal_begins_with_the_size_that_was_asked_for(containers: Containers) -> None:
    """The first thing that the program looks at is right, before any resize."""
    _, out, _ = containers.run("stty", "size", Tty=True, host={"ConsoleSize": [31, 97]})
    assert out == b"31 97\r\n"
    made = containers.start("sleep", "60")
    execs = containers.engine.client.execs
    wish = {"Cmd": ["stty", "size"], "Tty": True, "AttachStdout": True}
    for asked, at_start, wanted in (
        ([33, 90], {}, b"33 90"),
        ([1, 1], {"ConsoleSize": [40, 120]}, b"40 120"),
    ):
        session = execs.create(made, {**wish, "ConsoleSize": asked})
        connection = containers.engine.client.hijack(
            f"/exec/{session}/start", document={"Tty": True, **at_start}
        )
        seen = b"".join(chunk.payload for chunk in connection.chunks(framed=False))
        assert seen.strip() == wanted
        connection.close()


def test_closed_input_ends_the_program_and_all_of_it_came(containers: Containers) -> None:
    """RT-039, RT-040."""
    made = containers.create("cat", StdinOnce=True, **CAT)
    session = containers.attach(made, stdin=True, stdout=True)
    containers.client.start(made)
    session.send(b"hello world")
    session.half_close()
    assert b"".join(chunk.payload for chunk in session.chunks(framed=True)) == b"hello world"
    assert containers.client.wait(made).result().exit_code == 0
    assert containers.output(made) == b"hello world"
    session.close()


def test_standard_error_has_frames_of_its_own(containers: Containers) -> None:
    """RT-053, API-021."""
    made = containers.create("sh", "-c", "cat >&2", StdinOnce=True, **CAT)
    session = containers.attach(made, stdin=True, stdout=True, stderr=True)
    containers.client.start(made)
    session.send(b"hello\n")
    assert session.recv(14)[:8] == b"\2\0\0\0\0\0\0\6"
    session.close()


@pytest.mark.parametrize("tty", [False, True])
def test_a_client_that_goes_without_stdin_once_leaves_it_running(
    containers: Containers,
    tty: bool,  # noqa: FBT001 - a test's parameter
) -> None:
    """RT-046, RT-051, API-042, API-047."""
    made = containers.create("cat", **CAT, Tty=tty)
    session = containers.attach(made, stdin=True, stdout=True)
    containers.client.start(made)
    session.send(b"x\n")
    session.recv(10)
    session.close()
    time.sleep(0.3)  # it has to be seen to go on
    assert containers.state(made)


def test_a_client_that_goes_with_stdin_once_ends_it(containers: Containers) -> None:
    """RT-045, API-041."""
    made = containers.create("cat", StdinOnce=True, **CAT)
    session = containers.attach(made, stdin=True, stdout=True)
    containers.client.start(made)
    session.close()
    containers.await_state(made, "exited", 2)


def test_an_unfinished_last_line_is_logged_and_stays_in_its_run(containers: Containers) -> None:
    """Defect D-6."""
    made = containers.start("echo", "-n", "no newline")
    containers.client.wait(made).result()
    assert containers.output(made) == b"no newline"


def test_logs_of_a_plain_and_of_a_tty_container(containers: Containers) -> None:
    """RT-055."""
    for tty, wanted in ((False, b"a\nb\n"), (True, b"a\r\nb\r\n")):
        made = containers.start("sh", "-c", "echo a; echo b", Tty=tty)
        containers.client.wait(made).result()
        assert containers.output(made) == wanted


def test_logs_are_followed_over_rotation_and_bounded(containers: Containers) -> None:
    """Log rotation by size and count; a follower that keeps up misses nothing."""
    options = {"LogConfig": {"Type": "json-file", "Config": {"max-size": "64k", "max-file": "3"}}}
    script = "i=0; while [ $i -lt 6000 ]; do echo line $i; i=$((i+1)); done"
    made = containers.create("sh", "-c", script, host=options)
    session = containers.attach(made, stdout=True)
    containers.client.start(made)
    live = b"".join(chunk.payload for chunk in session.chunks(framed=True))
    session.close()
    containers.client.wait(made).result()
    assert live == b"".join(b"line %d\n" % number for number in range(6000))
    log_dir = containers.engine.instance.containers_dir / made
    files = sorted(path.name.partition("-json.log")[2] for path in log_dir.glob("*-json.log*"))
    assert files == ["", ".1", ".2"]
    assert all(path.stat().st_size <= 65536 for path in log_dir.glob("*-json.log*"))
    kept = containers.output(made)
    assert live.endswith(kept)
    assert len(kept) > 1000
    assert containers.output(made, tail="3") == b"line 5997\nline 5998\nline 5999\n"


def test_attach_replays_the_log_and_goes_on_live(containers: Containers) -> None:
    made = containers.create("sh", "-c", "echo early; cat", StdinOnce=True, **CAT)
    containers.client.start(made)
    deadline = time.monotonic() + 5 * SLOWNESS
    while containers.output(made) != b"early\n":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    session = containers.attach(made, stdin=True, stdout=True, logs=True)
    session.send(b"late\n")
    session.half_close()
    assert b"".join(c.payload for c in session.chunks(framed=True)) == b"early\nlate\n"
    session.close()
