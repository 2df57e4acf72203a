# SPDX-License-Identifier: Apache-2.0
"""The engine dies by SIGKILL: containers, logs and sessions go on, and the next engine knows."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.vm.process import wait_readable

if TYPE_CHECKING:
    from integration.conftest import Engine, Run

Start = Callable[..., str]
COUNTS = "i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo line $i; sleep {pause}; done"


@pytest.fixture
def start(engine: Engine, busybox: str) -> Iterator[Start]:
    """Start containers that are removed after the test, whatever engine runs then."""
    made: list[str] = []

    def start_container(*command: str) -> str:
        wish = {"Image": busybox, "Cmd": list(command), "HostConfig": {"NetworkMode": "none"}}
        made.append(engine.client.containers.create(wish).id)
        engine.client.containers.start(made[-1])
        return made[-1]

    yield start_container
    engine.ensure()
    for container in made:
        engine.client.containers.remove(container, force=True)


def kill(engine: Engine) -> None:
    """Kill the engine and wait until the kernel says that it is dead."""
    pidfd = os.pidfd_open(engine.pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:  # started by another process, which it outlived
        assert wait_readable(pidfd, 10)
    finally:
        os.close(pidfd)


def state(engine: Engine, container: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.client.containers.inspect(container)["State"]
    return found


def test_a_running_container_survives_and_the_next_engine_lists_it(
    engine: Engine, start: Start
) -> None:
    container = start("sleep", "60")
    pid = state(engine, container)["Pid"]
    kill(engine)
    assert Path(f"/proc/{pid}").exists()
    engine.start()
    after = state(engine, container)
    assert (after["Status"], after["Pid"]) == ("running", pid)
    assert container in {listed["Id"] for listed in engine.client.containers.list()}


def test_the_exit_code_of_one_that_ended_meanwhile_is_known(engine: Engine, start: Start) -> None:
    container = start("sh", "-c", "sleep 0.3; exit 9")
    pidfd = os.pidfd_open(state(engine, container)["Pid"])
    kill(engine)
    assert wait_readable(pidfd, 10)
    os.close(pidfd)
    engine.start()
    assert engine.client.containers.wait(container).result().exit_code == 9
    assert state(engine, container)["Status"] == "exited"


def test_the_log_has_no_gap(engine: Engine, start: Start) -> None:
    container = start("sh", "-c", COUNTS.format(lines=2000, pause=0))
    kill(engine)
    engine.start()
    engine.client.containers.wait(container).result()
    chunks = engine.client.containers.logs(container, framed=True)
    lines = b"".join(chunk.payload for chunk in chunks).splitlines()
    assert lines == [b"line %d" % number for number in range(1, 2001)]


def test_an_attached_session_keeps_receiving(engine: Engine, start: Start, docker_cli: Run) -> None:
    container = start("sh", "-c", COUNTS.format(lines=30, pause=0.1))
    assert docker_cli("ps", "-q").stdout.strip() == container[:12].encode()
    command = ["docker", "attach", "--no-stdin", container]
    with subprocess.Popen(command, env=engine.environ, stdout=subprocess.PIPE) as session:
        assert session.stdout is not None
        try:
            first = session.stdout.readline()
            kill(engine)
            rest = session.stdout.read()
        finally:
            session.kill()
            engine.start()
    seen = int(first.split()[1])
    assert rest.splitlines() == [b"line %d" % number for number in range(seen + 1, 31)]
