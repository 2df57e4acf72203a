# SPDX-License-Identifier: Apache-2.0
"""Programs that use up what there is, or do not end (rows S-16, S-100, S-101, S-104, S-105)."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.pace import SLOWNESS
from integration.security.lab import launcher_family
from integration.security.test_before_exec import traced, wait_for_line
from toolkit.client import ApiError
from toolkit.runtime.document import DEFAULT_PIDS

if TYPE_CHECKING:
    from integration.security.lab import Lab

_MEBIBYTE = 1024 * 1024


def stop_seconds(lab: Lab, container: str, *, grace_seconds: int) -> float:
    """Return how long a stop takes."""
    began = time.monotonic()
    lab.engine.client.containers.stop(container, timeout_seconds=grace_seconds)
    return time.monotonic() - began


def forked(lab: Lab, container: str) -> int:
    return int(wait_for_line(lab, container, "forked").split()[1])


def test_a_fork_bomb_stays_in_its_container_and_is_stopped(lab: Lab) -> None:
    """S-100."""
    with lab.running("/probe", "bomb") as container:
        assert DEFAULT_PIDS - 10 < forked(lab, container) < DEFAULT_PIDS
        assert subprocess.run(["true"], check=False).returncode == 0
        assert lab.run("echo", "other").out == "other\n"
        assert stop_seconds(lab, container, grace_seconds=0) < 3.0 * SLOWNESS


def test_control_the_limit_is_what_stops_the_bomb(lab: Lab) -> None:
    """S-100: another limit, another number."""
    with lab.running("/probe", "bomb", host={"PidsLimit": 50}) as container:
        assert forked(lab, container) == 49


FILL = ("dd", "if=/dev/zero", "bs=1M", "count=48")


def test_memory_that_is_files_counts_and_our_processes_do_not(lab: Lab) -> None:
    """S-101: /dev/shm within the limit, the engine and the shim outside of the group."""
    limited = {"Memory": 32 * _MEBIBYTE, "MemorySwap": 32 * _MEBIBYTE}
    with lab.created(*FILL, "of=/dev/shm/fill", host=limited) as container:
        lab.engine.client.containers.start(container)
        ended = lab.engine.client.containers.wait(container).result()
        state = lab.engine.client.containers.inspect(container)["State"]
        assert (ended.exit_code, state["OOMKilled"]) == (137, True)
    with lab.running(host=limited) as container:
        for pid in (lab.engine.pid, *launcher_family(lab.engine)):
            assert container not in Path(f"/proc/{pid}/cgroup").read_text()
    assert lab.engine.client.system.ping()


def test_control_without_the_limit_the_files_fit(lab: Lab) -> None:
    """S-101."""
    assert lab.run(*FILL, "of=/dev/shm/fill").exit_code == 0


@pytest.mark.parametrize("place", ["/dev/shm/fill", "/dev/fill"])  # noqa: S108 - a container's
def test_file_systems_in_memory_have_an_end(lab: Lab, place: str) -> None:
    """S-101: 64 MiB, and 64 KiB for /dev."""
    filled = lab.run("dd", "if=/dev/zero", "bs=1M", "count=80", f"of={place}")
    assert filled.exit_code == 1
    assert "No space left" in filled.out


def children_of(pid: int) -> int:
    return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_orphans_that_nobody_reaps_stay_in_the_container(lab: Lab) -> None:
    """S-104: the shim keeps one child, and the end of the first program ends them all."""
    with lab.running("/probe", "zombies", "500") as container:
        wait_for_line(lab, container, "left")
        pid = lab.pid(container)
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        assert children_of(parent) == 1
        assert children_of(pid) >= 500
        assert stop_seconds(lab, container, grace_seconds=0) < 3.0 * SLOWNESS


@pytest.mark.parametrize("how", ["ignores", "stopped", "paused"])
def test_a_program_that_does_not_want_to_end_is_ended(lab: Lab, how: str) -> None:
    """S-105: at the grace period's end, whatever state it is in."""
    containers = lab.engine.client.containers
    with lab.running("/probe", "hold") as container:
        wait_for_line(lab, container, "holding")
        if how == "stopped":
            containers.kill(container, signal="STOP")
        if how == "paused":
            containers.pause(container)
        assert stop_seconds(lab, container, grace_seconds=1) < 1 + 1.5 * SLOWNESS
        state = containers.inspect(container)["State"]
        assert (state["Running"], state["ExitCode"]) == (False, 137)


def test_a_paused_program_is_killed_and_removed(lab: Lab) -> None:
    """S-105: frozen processes are thawed for the kill."""
    containers = lab.engine.client.containers
    with lab.running("/probe", "hold") as container:
        containers.pause(container)
        began = time.monotonic()
        containers.kill(container)
        assert containers.wait(container).result().exit_code == 137
        assert time.monotonic() - began < 2.0 * SLOWNESS


def test_control_a_program_that_ends_is_not_killed(lab: Lab) -> None:
    """S-105."""
    script = "trap 'exit 5' TERM; echo holding; while :; do sleep 0.05; done"
    with lab.running("sh", "-c", script) as container:
        wait_for_line(lab, container, "holding")
        lab.engine.client.containers.stop(container, timeout_seconds=10)
        assert lab.engine.client.containers.inspect(container)["State"]["ExitCode"] == 5


_SIGNAL_CALL = re.compile(r"\b(kill|tkill|tgkill|pidfd_send_signal)\(([^)]*)\)")


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_programs_are_signalled_by_descriptor_only(lab: Lab, tmp_path: Path) -> None:
    """S-16: a number may mean somebody else by now; a pidfd cannot."""
    containers = lab.engine.client.containers
    trace = tmp_path / "trace"
    pids = [lab.engine.pid, *launcher_family(lab.engine)]
    calls = "trace=kill,tkill,tgkill,pidfd_send_signal"
    with traced(pids, trace, calls):
        with lab.running("/probe", "hold") as container:
            wait_for_line(lab, container, "holding")
            containers.kill(container, signal="USR1")
            containers.stop(container, timeout_seconds=0)
            with pytest.raises(ApiError, match="not running"):
                containers.kill(container)
        containers.start(forced := containers.create(lab.wish("sleep", "60")).id)
        containers.remove(forced, force=True)
    sent = _SIGNAL_CALL.findall(trace.read_text())
    assert {name for name, _ in sent} == {"pidfd_send_signal"}, sent
    assert len(sent) >= 3
