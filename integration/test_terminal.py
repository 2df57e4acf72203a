# SPDX-License-Identifier: Apache-2.0
"""Terminals: docker's command at a real pty on our side, a real pty in the container."""

from __future__ import annotations

import hashlib
import os
import shutil
import termios
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from ptyprocess import PtyProcess

from integration.pace import SLOWNESS

if TYPE_CHECKING:
    from integration.conftest import Engine
    from toolkit.testing import RunContainer

NEEDS_LXC = (
    pytest.mark.needs_lxc,
    pytest.mark.skipif(shutil.which("lxc-start") is None, reason="apt-get install lxc"),
)
pytestmark = [
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker command here"),
    pytest.mark.parametrize("backend", ["native", pytest.param("lxc", marks=NEEDS_LXC)]),
]

Spawn = Callable[..., PtyProcess]
DETACH = b"\x10\x11"  # ctrl-p ctrl-q


@pytest.fixture
def spawn(engine: Engine, backend: str) -> Iterator[Spawn]:
    """Run docker's command at a terminal of 30 rows and 100 columns, containers on the backend."""
    started: list[PtyProcess] = []

    def spawn_docker(*arguments: str) -> PtyProcess:
        chosen = ["--runtime", backend] if arguments[0] == "run" else []
        command = ["docker", arguments[0], *chosen, *arguments[1:]]
        started.append(PtyProcess.spawn(command, env=engine.environ, dimensions=(30, 100)))
        return started[-1]

    yield spawn_docker
    for process in started:
        process.close(force=True)


@pytest.fixture
def name(engine: Engine, busybox: str) -> Iterator[str]:
    """A name for a container, which is removed after the test if it is still there."""
    assert busybox
    chosen = f"tty-{uuid.uuid4().hex[:8]}"
    yield chosen
    if any(f"/{chosen}" in found["Names"] for found in engine.client.containers.list(every=True)):
        engine.client.containers.remove(chosen, force=True)


def read_until(process: PtyProcess, wanted: bytes) -> bytes:
    """Read what comes until it holds the wanted text; the test's timeout is the bound."""
    seen = b""
    while wanted not in seen:
        seen += process.read()
    return seen


def rest_of(process: PtyProcess) -> bytes:
    seen = b""
    while True:
        try:
            seen += process.read()
        except EOFError:
            return seen


def test_the_program_has_a_terminal_of_our_size(spawn: Spawn, name: str) -> None:
    shell = spawn("run", "--rm", "-it", "--name", name, "--network", "none", "busybox", "sh")
    read_until(shell, b"# ")
    shell.write(b"stty size; tty; exit 5\n")
    seen = rest_of(shell)
    assert b"30 100" in seen
    assert b"/dev/" in seen.replace(b"stty size; tty", b"")
    assert shell.wait() == 5


def test_a_resize_reaches_the_program(spawn: Spawn, name: str) -> None:
    shell = spawn("run", "--rm", "-it", "--name", name, "--network", "none", "busybox", "sh")
    read_until(shell, b"# ")
    # In a loop, not at the prompt: there the shell's line editor takes the signal for itself.
    shell.write(
        b"trap 'echo now $(stty size)' WINCH; echo armed$((1+1)); while sleep 0.1; do :; done\n"
    )
    read_until(shell, b"armed2")
    shell.setwinsize(40, 120)
    read_until(shell, b"now 40 120")
    shell.write(b"\x03exit\n")
    rest_of(shell)


def test_ctrl_p_ctrl_q_detaches_and_the_program_goes_on(
    engine: Engine, spawn: Spawn, name: str
) -> None:
    shell = spawn("run", "-it", "--name", name, "--network", "none", "busybox", "sh")
    read_until(shell, b"# ")
    shell.write(DETACH)
    rest_of(shell)
    assert shell.wait() == 0
    assert engine.client.containers.inspect(name)["State"]["Status"] == "running"
    again = spawn("attach", name)
    again.write(b"echo back$((40+2))\n")
    read_until(again, b"back42")
    again.write(b"exit 3\n")
    rest_of(again)
    assert again.wait() == 3


def test_exec_has_a_terminal_of_its_own(
    run_container: RunContainer, spawn: Spawn, backend: str
) -> None:
    made = run_container("busybox", "sleep 60", network="none", backend=backend)
    shell = spawn("exec", "-it", made.name, "sh")
    read_until(shell, b"# ")
    # The size comes by a request of its own, when the program runs already.
    shell.write(b"until stty size | grep '30 100'; do sleep 0.1; done; exit 4\n")
    assert b"\r\n30 100" in rest_of(shell)
    assert shell.wait() == 4


ROUNDS = 150
LONGEST_SECONDS = 2.0 * SLOWNESS
MIB = 1024 * 1024


@pytest.mark.parametrize("reference", ["name", "id", "short id"])
def test_attach_and_detach_by_any_reference(
    run_container: RunContainer, spawn: Spawn, reference: str, backend: str
) -> None:
    """RT-049, RT-050, API-045, API-046: 150 rounds through a terminal, then the detach keys."""
    made = run_container(
        "busybox", "cat", tty=True, open_stdin=True, network="none", backend=backend
    )
    references = {"name": made.name, "id": made.id, "short id": made.short_id}
    session = spawn("attach", references[reference])
    while termios.tcgetattr(session.fd)[3] & termios.ECHO:
        time.sleep(0.01)  # the command makes our terminal a raw one once it is attached
    began = time.monotonic()
    for number in range(ROUNDS):
        session.write(b"hello%d\n" % number)
        read_until(session, b"hello%d\r\nhello%d\r\n" % (number, number))
    assert time.monotonic() - began < LONGEST_SECONDS
    session.write(DETACH)
    assert b"read escape sequence" in rest_of(session)
    assert made.is_running


def test_detach_keys_of_ones_own(engine: Engine, spawn: Spawn, name: str) -> None:
    """RT-048: byte 16 and 17 by default; here the person chose others."""
    shell = spawn("run", "-it", "--detach-keys", "ctrl-a,x", "--name", name, "--network", "none",
                  "busybox", "sh")  # fmt: skip
    read_until(shell, b"# ")
    shell.write(b"\x01x")
    rest_of(shell)
    assert shell.wait() == 0
    assert engine.client.containers.inspect(name)["State"]["Running"]


def test_a_person_interrupts_stops_and_resumes_jobs(spawn: Spawn, name: str) -> None:
    shell = spawn("run", "--rm", "-it", "--name", name, "--network", "none", "busybox", "sh")
    read_until(shell, b"# ")
    shell.write(b"sh -c 'echo job$((1+1)); exec sleep 60'\n")
    read_until(shell, b"job2")
    shell.write(b"\x03")  # ctrl-c
    read_until(shell, b"# ")
    shell.write(b"echo status $?\n")
    read_until(shell, b"status 130\r\n")
    shell.write(b"sh -c 'echo job$((1+2)); exec sleep 61'\n")
    read_until(shell, b"job3")
    shell.write(b"\x1a")  # ctrl-z
    read_until(shell, b"Stopped")
    shell.write(b"bg; jobs\n")
    read_until(shell, b"Running")
    shell.write(b"kill %1; exit 6\n")
    rest_of(shell)
    assert shell.wait() == 6


def test_ten_megabytes_pasted_are_all_there(
    engine: Engine, run_container: RunContainer, backend: str
) -> None:
    """Through a raw terminal, a line at a time, with nobody losing a byte."""
    script = "stty raw -echo; echo ready; head -c 10485760 | sha256sum"
    made = run_container(
        "busybox", ["sh", "-c", script], tty=True, open_stdin=True, network="none", backend=backend
    )
    session = engine.client.containers.attach(made.id, stdin=True, logs=True)
    seen = b""
    while b"ready" not in seen:
        seen += session.recv()
    pasted = os.urandom(5 * MIB).hex().encode()  # no detach keys among it
    session.send(pasted)
    while chunk := session.recv():
        seen += chunk
    session.close()
    assert hashlib.sha256(pasted).hexdigest().encode() in seen
