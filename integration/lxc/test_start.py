# SPDX-License-Identifier: Apache-2.0
"""What a start with LXC leaves where, and what it passes on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.lxc.both import shell
from toolkit.client import ApiError
from toolkit.vm.process import parent_and_state

if TYPE_CHECKING:
    from integration.conftest import Engine
    from toolkit.testing import Container, RunContainer

AT_ONCE = 50
_MOUNTS = Path("/proc/self/mountinfo")


@pytest.fixture
def running(run_container: RunContainer, tmp_path: Path) -> Container:
    """A container that runs in LXC until the test is over."""
    return run_container(
        "busybox",
        "sleep 600",
        network="none",
        backend="lxc",
        volumes={tmp_path: "/a b:ro"},
        memory_bytes=64 << 20,
    )


def test_the_configuration_stays_where_a_person_can_read_it(
    engine: Engine, running: Container, tmp_path: Path
) -> None:
    place = engine.instance.run_dir / "containers" / running.id
    lines = (place / "config.lxc").read_text().splitlines()
    assert "lxc.pty.max = 1024" in lines
    assert "lxc.cgroup.memory.limit_in_bytes = 67108864" in lines or (
        "lxc.cgroup2.memory.max = 67108864" in lines
    )
    assert f"lxc.mount.entry = {tmp_path} a\\040b none rbind,ro 0 0" in lines


def test_the_shim_is_the_parent_and_lxc_has_no_process_left(running: Container) -> None:
    found = parent_and_state(int(running.state()["Pid"]))
    assert found is not None
    parent, _ = found
    assert Path(f"/proc/{parent}/comm").read_text() == "toolkit-shim\n"
    names = [path.read_text() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [name for name in names if "lxc-start" in name and running.id in name]


def test_nothing_of_a_running_container_is_on_the_host(running: Container) -> None:
    """No mount, no lock, no directory of LXC's own."""
    assert running.id not in _MOUNTS.read_text()
    for directory in ("/run/lxc", "/var/lib/lxc"):
        assert not [path for path in Path(directory).rglob("*") if running.id in path.name]
    assert not list(Path("/sys/fs/cgroup").glob(f"*/*/lxc-monitor-{running.id}"))


def test_the_program_holds_three_descriptors(engine: Engine) -> None:
    """S-02, S-43: LXC hands on what it inherits, and a pipe of its own."""
    ended = shell("ls /proc/1/fd; true").run_on(engine, "lxc")
    assert ended.stdout.split() == [b"0", b"1", b"2"]


def test_the_program_knows_nothing_of_lxc(engine: Engine) -> None:
    """S-43: no variable, no file, no terminal of its monitor."""
    ended = shell("env; ls -a / /dev; cat /proc/mounts").run_on(engine, "lxc")
    assert b"lxc" not in ended.stdout.replace(b"Runtime", b"")
    assert b"first-step" not in ended.stdout
    assert b"tty1" not in ended.stdout


@pytest.mark.parametrize("code", [0, 1, 7, 125, 126, 127, 128, 255])
def test_the_exit_code_is_the_programs(engine: Engine, code: int) -> None:
    """H-3: which lxc-start would not tell."""
    assert shell(f"exit {code}").run_on(engine, "lxc").exit_code == code


def test_a_program_that_is_killed_ends_with_128_and_the_signal(running: Container) -> None:
    """H-3."""
    running.kill()
    assert running.wait() == 137


def test_a_paused_container_stands_still_and_goes_on(running: Container) -> None:
    running.pause()
    assert running.state()["Status"] == "paused"
    running.unpause()
    assert running.state()["Status"] == "running"


def test_a_container_starts_again_in_the_same_group(running: Container) -> None:
    for _ in range(3):
        running.restart(timeout_seconds=0)
    assert running.is_running


def test_a_failure_of_lxc_is_told_in_its_words(run_container: RunContainer) -> None:
    conf = [{"Key": "lxc.cap.drop", "Value": "no_such_capability"}]
    with pytest.raises(ApiError, match="Invalid capability"):
        run_container(
            "busybox", "true", network="none", backend="lxc", wire={"HostConfig": {"LxcConf": conf}}
        )


def test_fifty_at_once_all_run_and_end_with_their_own_code(run_container: RunContainer) -> None:
    def run(number: int) -> int:
        script = ["sh", "-c", f"sleep 1; exit {number}"]
        return run_container("busybox", script, network="none", backend="lxc").wait()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert list(pool.map(run, range(AT_ONCE))) == list(range(AT_ONCE))
