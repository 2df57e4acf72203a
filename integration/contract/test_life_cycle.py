# SPDX-License-Identifier: Apache-2.0
"""Topic 2: the life cycle."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from integration.pace import SLOWNESS
from toolkit.client import ApiError, Client

if TYPE_CHECKING:
    from integration.contract.conftest import Containers

CAT: dict[str, Any] = {
    "OpenStdin": True,
    "StdinOnce": True,
    "AttachStdin": True,
    "AttachStdout": True,
}


def test_start_runs_and_a_second_start_changes_nothing(containers: Containers) -> None:
    """RT-017, RT-032."""
    made = containers.create("cat", **CAT)
    session = containers.attach(made, stdin=True, stdout=True)
    containers.client.start(made)
    assert containers.state(made)
    assert containers.client.start(made) is False  # 304
    session.half_close()
    assert containers.client.wait(made).result().exit_code == 0
    session.close()


def test_it_does_not_run_before_nor_after(containers: Containers) -> None:
    """RT-018."""
    made = containers.create("ls", "-al")
    assert not containers.state(made)
    containers.client.start(made)
    containers.client.wait(made).result()
    assert not containers.state(made)


def test_output_is_exact_twice_in_a_row(containers: Containers) -> None:
    """RT-019, RT-023."""
    made = containers.start("echo", "-n", "foobar")
    containers.client.wait(made).result()
    assert containers.output(made) == b"foobar"
    containers.client.start(made)
    containers.client.wait(made).result()
    assert containers.output(made) == b"foobarfoobar"


@pytest.mark.parametrize("user", ["", "daemon", "1:1"])
def test_kill_ends_it_at_once(containers: Containers, user: str) -> None:
    """RT-020, RT-021, RT-030."""
    made = containers.start("sleep", "60", User=user)
    containers.client.kill(made)
    assert not containers.state(made)
    assert containers.client.wait(made).result().exit_code == 137
    with pytest.raises(ApiError) as refused:
        containers.client.kill(made)
    assert refused.value.status == 409


@pytest.mark.parametrize(("command", "code"), [("true", 0), ("false", 1)])
def test_the_exit_code_is_the_programs(containers: Containers, command: str, code: int) -> None:
    """RT-022."""
    assert containers.run(command)[0] == code


def test_standard_input_is_new_at_each_start(containers: Containers) -> None:
    """RT-024, defect D-4."""
    made = containers.create("cat", **CAT)
    for text in (b"hello world", b"hello world #2"):
        session = containers.attach(made, stdin=True, stdout=True)
        containers.client.start(made)
        session.send(text)
        session.half_close()
        assert b"".join(chunk.payload for chunk in session.chunks(framed=True)) == text
        session.close()
        containers.client.wait(made).result()


def test_a_failed_start_leaves_standard_input_usable(containers: Containers) -> None:
    """Defects D-2 and D-4: the error is told, and nothing is left half open."""
    made = containers.create("/nothing/here", **CAT)
    for _ in range(2):
        with pytest.raises(ApiError, match="no such file") as refused:
            containers.client.start(made)
        assert refused.value.status == 400
    assert containers.state(made, "Status") == "created"
    bad = containers.create("true", WorkingDir="/etc/passwd")
    with pytest.raises(ApiError, match="working directory"):
        containers.client.start(bad)


def test_two_run_beside_each_other(containers: Containers) -> None:
    """RT-025."""
    first, second = containers.start("sleep", "60"), containers.start("sleep", "60")
    assert containers.state(first)
    assert containers.state(second)
    containers.client.kill(first)
    assert containers.state(second)
    containers.client.kill(second)


def test_restart_and_stop_by_the_api(containers: Containers) -> None:
    """RT-029, RT-031, RT-033, API-031."""
    made = containers.start("top", OpenStdin=True)
    first = containers.state(made, "Pid")
    containers.client.restart(made, timeout_seconds=1)
    assert containers.state(made)
    assert containers.state(made, "Pid") != first
    containers.client.stop(made, timeout_seconds=1)
    assert not containers.state(made)
    assert containers.client.stop(made, timeout_seconds=1) is False  # 304
    containers.client.start(made)
    containers.client.kill(made)
    containers.client.remove(made, force=True)
    containers.made.remove(made)
    assert made not in {each["Id"] for each in containers.client.list(every=True)}


def test_stop_kills_after_the_grace_period(containers: Containers) -> None:
    """Rules 2.24 to 2.26."""
    made = containers.start("sh", "-c", "trap '' TERM; while true; do sleep 0.1; done")
    began = time.monotonic()
    containers.client.stop(made, timeout_seconds=1)
    assert 0.9 < time.monotonic() - began < 4 * SLOWNESS
    assert containers.state(made, "ExitCode") == 137


def test_wait_answers_and_never_hangs_on_a_stopped_one(containers: Containers) -> None:
    """RT-034, defect D-5."""
    made = containers.start("sleep", "0.3")
    for _ in range(2):
        assert containers.client.wait(made).result().exit_code == 0
    assert not containers.state(made)


def test_a_stopped_container_of_an_engine_before_is_waited_for_at_once(
    containers: Containers,
) -> None:
    """RT-027, RT-028, defects D-1 and D-5: no ghosts after an engine restart."""
    ended = containers.start("sh", "-c", "exit 7")
    containers.client.wait(ended).result()
    going = containers.start("sleep", "60")
    engine = containers.engine
    engine.process.stop()
    engine.ensure()
    assert containers.client.wait(ended).result().exit_code == 7
    assert containers.state(going)
    containers.client.kill(going)
    containers.client.start(ended)
    assert containers.client.wait(ended).result().exit_code == 7


def test_fifty_started_at_once_all_run_and_end_as_they_should(containers: Containers) -> None:
    """RT-036: made one after the other, started by ten threads."""
    made = [containers.create("sh", "-c", f"echo {n}; exit {n}") for n in range(50)]

    def start(part: list[str]) -> None:
        client = Client(containers.engine.url)
        for container in part:
            client.containers.start(container)
        client.close()

    with ThreadPoolExecutor(10) as threads:
        list(threads.map(start, [made[n::10] for n in range(10)]))
    codes = [containers.client.wait(container).result().exit_code for container in made]
    assert codes == list(range(50))
    assert [containers.output(container) for container in made] == [b"%d\n" % n for n in range(50)]


def test_one_after_the_other_is_made_run_and_removed(containers: Containers) -> None:
    """RT-035."""
    for _ in range(5):
        assert containers.run("echo", "-n", "foo") == (0, b"foo", b"")
        containers.remove(containers.made[-1])
    assert containers.client.list(every=True) == []


def test_on_failure_gives_up_after_its_count(containers: Containers) -> None:
    """Restart policy: two retries, with delays of 100 and 200 ms."""
    policy = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}
    made = containers.start("sh", "-c", "echo ran; exit 3", host=policy)
    containers.await_state(made, "exited")
    assert containers.output(made) == b"ran\n" * 3
    assert containers.client.inspect(made)["RestartCount"] == 2


def test_always_comes_back_until_it_is_stopped(containers: Containers) -> None:
    """Restart policy: a stop counts, also between two runs."""
    made = containers.start("true", host={"RestartPolicy": {"Name": "always"}})
    deadline = time.monotonic() + 5 * SLOWNESS
    while containers.client.inspect(made)["RestartCount"] < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    containers.client.stop(made)
    assert containers.state(made, "Status") == "exited"


def test_unless_stopped_over_an_engine_restart(containers: Containers) -> None:
    """Restart policy: what a person stopped stays so; `always` comes back."""
    commands = {}
    for policy in ("unless-stopped", "always"):
        made = containers.start("sleep", "60", host={"RestartPolicy": {"Name": policy}})
        containers.client.stop(made, timeout_seconds=0)
        commands[policy] = made
    containers.engine.process.stop()
    containers.engine.ensure()
    containers.await_state(commands["always"], "running")
    assert containers.state(commands["unless-stopped"], "Status") == "exited"


def test_pause_stands_still_and_goes_on(containers: Containers) -> None:
    made = containers.start("sleep", "60")
    containers.client.pause(made)
    assert containers.state(made, "Status") == "paused"
    containers.client.unpause(made)
    assert containers.state(made, "Status") == "running"
