# SPDX-License-Identifier: Apache-2.0
"""A first container through both command lines and the SDK: what it says, how it ends."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import docker

    from integration.conftest import Engine, Run
    from toolkit.testing import RunContainer

BOTH = pytest.mark.parametrize("cli", ["docker_cli", "toolkit_cli"], indirect=True)


@pytest.fixture
def cli(request: pytest.FixtureRequest) -> Run:
    run: Run = request.getfixturevalue(request.param)
    return run


@BOTH
def test_run_prints_what_the_program_writes(cli: Run, busybox: str) -> None:
    """RT-019."""
    done = cli("run", "--rm", "--network", "none", busybox, "echo", "hi")
    assert (done.returncode, done.stdout) == (0, b"hi\n"), done.stderr


@BOTH
def test_run_keeps_standard_error_apart(cli: Run, busybox: str) -> None:
    script = "echo out; echo err >&2"
    done = cli("run", "--rm", "--network", "none", busybox, "sh", "-c", script)
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


@BOTH
def test_run_ends_with_the_programs_exit_code(cli: Run, busybox: str) -> None:
    """RT-022."""
    done = cli("run", "--rm", "--network", "none", busybox, "sh", "-c", "exit 7")
    assert done.returncode == 7, done.stderr


@BOTH
def test_run_of_a_missing_command_ends_with_127_and_says_so(cli: Run, busybox: str) -> None:
    done = cli("run", "--rm", "--network", "none", busybox, "/no/such/program")
    assert done.returncode == 127, done.stderr
    assert b"/no/such/program" in done.stderr


@BOTH
def test_run_of_a_file_that_is_not_executable_ends_with_126(cli: Run, busybox: str) -> None:
    done = cli("run", "--rm", "--network", "none", busybox, "/etc/passwd")
    assert done.returncode == 126, done.stderr


@BOTH
def test_run_of_an_unknown_image_ends_with_125_and_names_it(cli: Run) -> None:
    done = cli("run", "--rm", "--pull", "never", "nosuchimage", "true")
    assert done.returncode == 125, done.stderr
    assert b"nosuchimage" in done.stderr


@BOTH
def test_run_with_piped_stdin_hands_over_every_byte_and_the_end(cli: Run, busybox: str) -> None:
    given = b"".join(b"line %d\n" % number for number in range(5000))
    done = cli("run", "--rm", "-i", "--network", "none", busybox, "cat", given=given)
    assert (done.returncode, done.stdout) == (0, given), done.stderr


@BOTH
def test_a_detached_container_is_waited_for_and_its_log_read(cli: Run, busybox: str) -> None:
    name = f"first-{uuid.uuid4().hex[:8]}"
    script = "echo one; echo two >&2; exit 3"
    started = cli("run", "-d", "--name", name, "--network", "none", busybox, "sh", "-c", script)
    try:
        assert len(started.stdout.strip()) == 64, started.stderr
        assert cli("wait", name).stdout == b"3\n"
        logs = cli("logs", name)
        assert (logs.stdout, logs.stderr) == (b"one\n", b"two\n")
    finally:
        cli("rm", "-f", name)


@BOTH
def test_the_program_starts_with_no_signal_ignored_or_blocked(cli: Run, busybox: str) -> None:
    """A shell that ignored SIGINT could not be interrupted, and `yes | head` would complain."""
    done = cli("run", "--rm", "--network", "none", busybox, "grep", "Sig[IB]", "/proc/self/status")
    assert done.stdout.split() == [b"SigBlk:", b"0" * 16, b"SigIgn:", b"0" * 16]


def test_the_sdk_runs_a_container(sdk: docker.DockerClient, busybox: str) -> None:
    written = sdk.containers.run(busybox, ["echo", "hi"], network_mode="none", remove=True)
    assert written == b"hi\n"


def test_a_container_is_listed_while_it_runs_and_gone_when_removed(
    engine: Engine, run_container: RunContainer
) -> None:
    """RT-012, RT-016, API-028."""
    made = run_container("busybox", "sleep 60", network="none")
    assert made.id in {listed["Id"] for listed in engine.client.containers.list()}
    made.remove()
    assert made.id not in {listed["Id"] for listed in engine.client.containers.list(every=True)}
