# SPDX-License-Identifier: Apache-2.0
"""What a start with LXC leaves where, and what it passes on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.lxc.both import shell
from toolkit.client import ApiError, Client
from toolkit.vm.process import parent_and_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import Engine

AT_ONCE = 50
_MOUNTS = Path("/proc/self/mountinfo")


def wish(*command: str, **host: object) -> dict[str, object]:
    options = {"NetworkMode": "none", "Runtime": "lxc", **host}
    return {"Image": "busybox", "Cmd": list(command), "HostConfig": options}


@pytest.fixture
def running(engine: Engine, tmp_path: Path) -> Iterator[str]:
    """A container that runs in LXC until the test is over."""
    container = engine.client.containers.create(
        wish("sleep", "600", Binds=[f"{tmp_path}:/a b:ro"], Memory=64 << 20)
    ).id
    try:
        engine.client.containers.start(container)
        yield container
    finally:
        engine.client.containers.remove(container, force=True)


def config_of(engine: Engine, container: str) -> str:
    return (engine.instance.run_dir / "containers" / container / "config.lxc").read_text()


def test_the_configuration_stays_where_a_person_can_read_it(
    engine: Engine, running: str, tmp_path: Path
) -> None:
    lines = config_of(engine, running).splitlines()
    assert "lxc.pty.max = 1024" in lines
    assert "lxc.cgroup.memory.limit_in_bytes = 67108864" in lines or (
        "lxc.cgroup2.memory.max = 67108864" in lines
    )
    assert f"lxc.mount.entry = {tmp_path} a\\040b none rbind,ro 0 0" in lines


def test_the_shim_is_the_parent_and_lxc_has_no_process_left(engine: Engine, running: str) -> None:
    pid = int(engine.client.containers.inspect(running)["State"]["Pid"])
    found = parent_and_state(pid)
    assert found is not None
    parent, _ = found
    assert Path(f"/proc/{parent}/comm").read_text() == "toolkit-shim\n"
    names = [path.read_text() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [name for name in names if "lxc-start" in name and running in name]


def test_nothing_of_a_running_container_is_on_the_host(running: str) -> None:
    """No mount, no lock, no directory of LXC's own."""
    assert running not in _MOUNTS.read_text()
    for directory in ("/run/lxc", "/var/lib/lxc"):
        assert not [path for path in Path(directory).rglob("*") if running in path.name]
    assert not list(Path("/sys/fs/cgroup").glob(f"*/*/lxc-monitor-{running}"))


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


def test_a_program_that_is_killed_ends_with_128_and_the_signal(
    engine: Engine, running: str
) -> None:
    """H-3."""
    with Client(engine.url, timeout_seconds=30) as client:  # it holds two connections
        pending = client.containers.wait(running)
        client.containers.kill(running, signal="KILL")
        assert pending.result().exit_code == 137


def test_a_paused_container_stands_still_and_goes_on(engine: Engine, running: str) -> None:
    containers = engine.client.containers
    containers.pause(running)
    assert containers.inspect(running)["State"]["Status"] == "paused"
    containers.unpause(running)
    assert containers.inspect(running)["State"]["Status"] == "running"


def test_a_container_starts_again_in_the_same_group(engine: Engine, running: str) -> None:
    for _ in range(3):
        engine.client.containers.restart(running, timeout_seconds=0)
    assert engine.client.containers.inspect(running)["State"]["Running"]


def test_a_failure_of_lxc_is_told_in_its_words(engine: Engine) -> None:
    containers = engine.client.containers
    body = wish("true", LxcConf=[{"Key": "lxc.cap.drop", "Value": "no_such_capability"}])
    container = containers.create(body).id
    try:
        with pytest.raises(ApiError, match="Invalid capability"):
            containers.start(container)
    finally:
        containers.remove(container, force=True)


def test_fifty_at_once_all_run_and_end_with_their_own_code(engine: Engine) -> None:
    def run(number: int) -> int:
        with Client(engine.url, timeout_seconds=60) as client:
            container = client.containers.create(wish("sh", "-c", f"sleep 1; exit {number}")).id
            try:
                client.containers.start(container)
                return client.containers.wait(container).result().exit_code
            finally:
                client.containers.remove(container, force=True)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert list(pool.map(run, range(AT_ONCE))) == list(range(AT_ONCE))
