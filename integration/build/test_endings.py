# SPDX-License-Identifier: Apache-2.0
"""How builds end before their end: a client that goes, an engine that is killed; what stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from integration.pace import SLOWNESS
from integration.test_engine_killed import kill

if TYPE_CHECKING:
    from integration.build.conftest import Builder

_SECONDS = 15 * SLOWNESS
SLEEP = f"sleep 4{os.getpid()}"  # another worker's is none of ours
SLEEPER = f"FROM busybox\nRUN echo begun; {SLEEP}\n".encode()


def wait_until(builder: Builder, count: int) -> float:
    """Wait until so many containers are there; return how long that took."""
    began = time.monotonic()
    containers = builder.engine.client.containers
    while len(containers.list(every=True)) != count:
        assert time.monotonic() - began < _SECONDS
        time.sleep(0.02)
    return time.monotonic() - began


def sleepers() -> int:
    found = subprocess.run(["pgrep", "-fxc", SLEEP], capture_output=True, check=False)
    return int(found.stdout)


@pytest.mark.parametrize("client", ["docker", "toolkit"])
def test_a_client_that_goes_ends_its_build(builder: Builder, client: str) -> None:
    """S-68, F-22: TestBuildCancellationKillsSleep; stopped and gone within 2 s."""
    program = {
        "docker": ["docker", "build", "--network", "none", "-"],
        "toolkit": [sys.executable, "-m", "toolkit.cli.main", "build", "--network", "none", "-"],
    }[client]
    process = subprocess.Popen(
        program,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=builder.engine.environ,
    )
    with process:
        assert process.stdin is not None
        process.stdin.write(SLEEPER)
        process.stdin.close()
        assert process.stdout is not None
        while process.stdout.readline().strip() != b"begun":  # the step's own title has it, too
            assert process.poll() is None
        process.kill()
    assert wait_until(builder, 0) < 2 * SLOWNESS
    assert sleepers() == 0


def test_a_client_that_stops_sending_leaves_no_context(builder: Builder) -> None:
    process = subprocess.Popen(
        ["curl", "-sN", "--unix-socket", str(builder.engine.socket_path), "-T", "-",
         "-X", "POST", "http://d/v1.44/build"],
        stdin=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdin is not None
        process.stdin.write(bytes(512))
        process.stdin.flush()
        builds = builder.engine.data_dir / "builds"
        began = time.monotonic()
        while not list(builds.iterdir()):
            assert time.monotonic() - began < _SECONDS
            time.sleep(0.02)
        process.kill()
    began = time.monotonic()
    while list(builds.iterdir()):
        assert time.monotonic() - began < 2 * SLOWNESS
        time.sleep(0.02)


def test_an_engine_that_is_killed_leaves_no_step(builder: Builder) -> None:
    """F-01 for a build step: the next engine removes its container and its context."""
    engine = builder.engine
    process = subprocess.Popen(
        ["docker", "build", "--network", "none", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=engine.environ,
    )
    with process:
        assert process.stdin is not None
        process.stdin.write(SLEEPER)
        process.stdin.close()
        assert process.stdout is not None
        while process.stdout.readline().strip() != b"begun":  # the step's own title has it, too
            assert process.poll() is None
        engine.client.close()
        kill(engine)
        assert process.wait(_SECONDS) != 0
    command = [sys.executable, "-m", "toolkit.cli.main", "engine"]
    command += ["--instance", engine.instance.name, "--backend", builder.backend]
    engine.pid = engine.process.start(command).pid
    assert wait_until(builder, 0) < _SECONDS
    assert sleepers() == 0
    builder.good("FROM busybox\nRUN true\n")


STEPS = (
    "FROM busybox AS one\nRUN echo a > /a\nCOPY f /f\nWORKDIR /w\nRUN cat /f > /g\n"
    "FROM busybox\nCOPY --from=one / /all/\nRUN cat /all/g\n"
)


@pytest.mark.slow
@pytest.mark.timeout(300 * SLOWNESS)
def test_an_engine_that_is_killed_at_any_moment_leaves_nothing_of_a_build(
    builder: Builder,
) -> None:
    """F-01 for builds: after each of the kills the next engine is clean, and the last builds."""
    engine = builder.engine
    command = [sys.executable, "-m", "toolkit.cli.main", "engine"]
    command += ["--instance", engine.instance.name, "--backend", builder.backend]
    for delay_ms in range(5, 400, 33):
        with ThreadPoolExecutor(1) as pool:
            broken = pool.submit(
                lambda: builder.build(STEPS, {"f": bytes(2_000_000)}, nocache=True)
            )
            time.sleep(delay_ms / 1000)
            kill(engine)
            broken.exception(_SECONDS)
        engine.client.close()
        engine.pid = engine.process.start(command).pid
        assert wait_until(builder, 0) < _SECONDS
        assert list((engine.data_dir / "builds").iterdir()) == []
        assert list((engine.data_dir / "layers/overlay/rw").iterdir()) == []
        assert list((engine.data_dir / "layers/overlay/staging").iterdir()) == []
    builder.good(STEPS, {"f": bytes(2_000_000)})


def test_a_step_that_fails_leaves_nothing_but_what_was_done(builder: Builder) -> None:
    text = "FROM busybox\nRUN echo done > /d\nRUN exit 3\n"
    assert builder.build(text).code == 3
    assert "Using cache" in builder.build(text).text


def test_containers_are_kept_where_asked(builder: Builder) -> None:
    containers = builder.engine.client.containers
    builder.build("FROM busybox\nRUN exit 3\n", rm=False)
    (kept,) = containers.list(every=True)
    assert kept["State"] == "exited"
    containers.remove(kept["Id"])
    builder.build("FROM busybox\nRUN exit 3\n", rm=False, forcerm=True)


def test_builds_beside_each_other(builder: Builder) -> None:
    """Four at once, of the same context, end alike."""
    text = "FROM busybox\nCOPY f /\nRUN cat /f\n"
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda _: builder.build(text, {"f": b"x"}), range(4)))
    assert [one.error for one in built] == [""] * 4
