# SPDX-License-Identifier: Apache-2.0
"""What `docker run` can say of a process and its limits, said by docker's own command."""

from __future__ import annotations

import os
import re
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.pace import SLOWNESS
from toolkit.kernel.capabilities import CAPABILITIES, held_capabilities, numbers
from toolkit.vm.leftovers import Leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integration.conftest import Engine, Run

MIB = 1024 * 1024


@dataclass(frozen=True)
class Result:
    """How docker's command ended."""

    exit_code: int
    stdout: str
    stderr: str


def said(docker_cli: Run, *words: str) -> Result:
    """Run docker's command."""
    done = docker_cli(*words)
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def docker_run(docker_cli: Run, working_backend: str, busybox: str) -> Callable[..., Result]:
    """Run a container by docker's command on the backend, and remove it."""

    def run(options: str, *command: str, image: str = busybox) -> Result:
        words = ["--rm", "--network", "none", "--runtime", working_backend, *options.split()]
        return said(docker_cli, "run", *words, image, *command)

    return run


@pytest.fixture
def kept(
    docker_cli: Run, working_backend: str, busybox: str, engine: Engine
) -> Iterator[Callable[..., str]]:
    """Start a container that goes on, and is removed after the test; return its id."""
    made: list[str] = []

    def start(options: str, *command: str) -> str:
        words = ["-d", "--network", "none", "--runtime", working_backend, *options.split()]
        made.append(said(docker_cli, "run", *words, busybox, *command).stdout.strip())
        return made[-1]

    yield start
    for container in made:
        engine.client.containers.remove(container, force=True)


def shell(script: str) -> tuple[str, ...]:
    return "sh", "-c", script


@pytest.mark.parametrize(
    ("options", "command", "wanted"),
    [
        ("--ulimit nofile=64:128", shell("ulimit -Sn; ulimit -Hn"), "64\n128\n"),
        ("--sysctl net.ipv4.ip_forward=1", ("cat", "/proc/sys/net/ipv4/ip_forward"), "1\n"),
        ("--sysctl kernel.msgmax=4096", ("cat", "/proc/sys/kernel/msgmax"), "4096\n"),
        ("--read-only", shell("touch /x 2>/dev/null || echo no; touch /dev/shm/x && echo yes"),
         "no\nyes\n"),
        ("--read-only --tmpfs /data:size=64k,mode=700", shell("stat -c %a /data; touch /data/x; "
         "df -k /data | tail -1 | tr -s ' ' | cut -d' ' -f2"), "700\n64\n"),
        ("--shm-size 1m", shell("df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2"), "1024\n"),
        ("--device /dev/loop-control:/dev/mine:r",
         shell("(: </dev/mine) && echo yes; (: >/dev/mine) 2>/dev/null || echo no"), "yes\nno\n"),
        ("--user daemon", shell("id -u; id -g"), "1\n1\n"),
        ("--user 7", shell("id -u; id -g"), "7\n0\n"),
        ("--user 7:9", shell("id -u; id -g"), "7\n9\n"),
        ("--user 0:daemon", shell("id -u; id -g"), "0\n1\n"),
        ("--user 7 --group-add 11 --group-add daemon", shell("id -G"), "0 1 11\n"),
        ("--oom-score-adj 321", ("cat", "/proc/self/oom_score_adj"), "321\n"),
        ("--workdir /a/b", ("pwd",), "/a/b\n"),
        ("--hostname h.example --domainname d", shell("hostname"), "h.example\n"),
        ("--add-host a.example:10.1.2.3", shell("tail -1 /etc/hosts | tr '\\t' ' '"),
         "10.1.2.3 a.example\n"),
        ("--dns 9.9.9.9 --dns-search x.example --dns-option ndots:2",
         shell("grep -v '^#' /etc/resolv.conf"),
         "nameserver 9.9.9.9\nsearch x.example\noptions ndots:2\n"),
        ("--security-opt no-new-privileges", ("grep", "NoNewPrivs", "/proc/self/status"),
         "NoNewPrivs:\t1\n"),
        ("--entrypoint /bin/echo", ("a", "b"), "a b\n"),
        ("--label toolkit.backend=", ("echo", "x"), "x\n"),
    ],
)  # fmt: skip
def test_the_program_finds_what_was_asked_for(
    docker_run: Callable[..., Result], options: str, command: tuple[str, ...], wanted: str
) -> None:
    """RT-057, RT-061, RT-062."""
    done = docker_run(options, *command)
    assert (done.stdout, done.stderr, done.exit_code) == (wanted, "", 0)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ("--cap-drop ALL", ()),
        ("--cap-drop ALL --cap-add NET_RAW --cap-add CAP_CHOWN", ("CAP_CHOWN", "CAP_NET_RAW")),
        ("--privileged", CAPABILITIES),
    ],
)
def test_capabilities(docker_run: Callable[..., Result], options: str, names: tuple[str]) -> None:
    found = docker_run(options, "grep", "CapEff", "/proc/self/status").stdout
    held = held_capabilities().bounding
    assert int(found.split()[1], 16) == sum(1 << number for number in numbers(names) & held)


def test_variables_from_a_file_and_from_here(
    docker_run: Callable[..., Result], tmp_path: Path
) -> None:
    """RT-058."""
    file = tmp_path / "variables"
    file.write_text("# a comment\nONE=1\nTWO=a b=c\nHOME\nNOT_SET_HERE\n")
    found = docker_run(f"--env-file {file} -e ONE=2 -e THREE=", "env").stdout.splitlines()
    assert {"ONE=2", "TWO=a b=c", "THREE=", f"HOME={os.environ['HOME']}"} <= set(found)
    assert not any(line.startswith("NOT_SET_HERE") for line in found)


@pytest.mark.parametrize("kind", ["pid", "ipc", "uts", "cgroupns"])
def test_namespaces_of_the_host(docker_run: Callable[..., Result], kind: str) -> None:
    name = "cgroup" if kind == "cgroupns" else kind
    own = str(Path(f"/proc/self/ns/{name}").readlink())
    found = docker_run(f"--{kind} host", "readlink", f"/proc/self/ns/{name}")
    assert (found.stdout.strip(), found.exit_code) == (own, 0)


def test_an_init_program_reaps_and_passes_signals_on(
    kept: Callable[..., str], engine: Engine
) -> None:
    made = kept("--init", *shell("trap 'exit 7' TERM; while :; do sleep 0.1; done"))
    names = {row[-1].split()[0] for row in engine.client.containers.top(made)["Processes"]}
    assert any("init" in name or "catatonit" in name for name in names), names
    engine.client.containers.stop(made, timeout_seconds=5)
    assert engine.client.containers.inspect(made)["State"]["ExitCode"] == 7


def test_the_signal_and_the_time_of_a_stop(
    kept: Callable[..., str], docker_cli: Run, engine: Engine
) -> None:
    script = "trap 'exit 5' INT; trap '' TERM; echo ready; while :; do sleep 0.05; done"
    made = kept("--stop-signal INT --stop-timeout 4", *shell(script))
    while not said(docker_cli, "logs", made).stdout:
        time.sleep(0.02)
    began = time.monotonic()
    said(docker_cli, "stop", made)
    assert time.monotonic() - began < 3 * SLOWNESS
    assert engine.client.containers.inspect(made)["State"]["ExitCode"] == 5
    deaf = kept("--stop-signal WINCH --stop-timeout 1", "sleep", "600")
    began = time.monotonic()
    said(docker_cli, "stop", deaf)
    assert 1 <= time.monotonic() - began < 4 * SLOWNESS
    assert engine.client.containers.inspect(deaf)["State"]["ExitCode"] == 137


def cgroup_value(engine: Engine, container: str, *names: str) -> str:
    """Return a setting of a container's group, by its v1 or v2 name; empty for one not there."""
    for directory in Leftovers(engine.instance).cgroup_dirs():
        for name in names:
            file = directory / name
            if directory.name == container and file.exists():
                return file.read_text().strip()
    return ""


def test_limits_from_outside_and_their_change(
    kept: Callable[..., str], docker_cli: Run, engine: Engine
) -> None:
    options = "--memory 64m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0"
    made = kept(f"{options} --pids-limit 20", "sleep", "600")

    def value(*names: str) -> str:
        return cgroup_value(engine, made, *names)

    assert value("memory.limit_in_bytes", "memory.max") == str(64 * MIB)
    assert value("memory.soft_limit_in_bytes", "memory.low") == str(32 * MIB)
    quota = value("cpu.cfs_quota_us", "cpu.max").split()[0]
    assert quota == "50000"
    assert value("cpu.shares", "cpu.weight") in {"512", "20"}
    assert value("cpuset.cpus") == "0"
    assert value("pids.max") == "20"
    changed = said(
        docker_cli, "update", "--memory", "128m", "--memory-swap", "256m", "--cpus", "0.25",
        "--pids-limit", "30", "--restart", "on-failure:3", made,
    )  # fmt: skip
    assert (changed.stdout.strip(), changed.exit_code) == (made, 0), changed.stderr
    assert value("memory.limit_in_bytes", "memory.max") == str(128 * MIB)
    assert value("cpu.cfs_quota_us", "cpu.max").split()[0] == "25000"
    assert value("pids.max") == "30"
    host = engine.client.containers.inspect(made)["HostConfig"]
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}


def test_a_weight_for_disks_is_set_or_said_to_be_missing(
    kept: Callable[..., str], docker_cli: Run, engine: Engine
) -> None:
    made = kept("--blkio-weight 300", "sleep", "600")
    found = cgroup_value(engine, made, "blkio.weight", "blkio.bfq.weight", "io.bfq.weight")
    info = said(docker_cli, "info", "--format", "{{json .Warnings}}")
    asked = engine.client.containers.inspect(made)["HostConfig"]["BlkioWeight"]
    assert (asked, found.split()[-1:]) == (300, ["300"]) or (asked, found) == (0, ""), info.stdout


def test_stats_and_top_by_the_command(kept: Callable[..., str], docker_cli: Run) -> None:
    """RT-234."""
    made = kept("--memory 64m", *shell("while :; do :; done"))
    line = said(
        docker_cli, "stats", "--no-stream", "--format", "{{.CPUPerc}} {{.MemUsage}}", made
    ).stdout
    assert re.fullmatch(r"\d+\.\d+% \S+iB / 64MiB\n", line), line
    assert float(line.partition("%")[0]) > 5
    table = said(docker_cli, "top", made).stdout.splitlines()
    assert table[0].split()[:2] == ["UID", "PID"]
    assert len(table) == 2
    assert said(docker_cli, "top", made, "-o", "pid,comm").stdout.split()[:2] == ["PID", "COMMAND"]


def test_both_backends_by_label_beside_each_other(docker_cli: Run, busybox: str) -> None:
    for backend in ("native", "lxc"):
        name = f"label-{uuid.uuid4().hex[:8]}"
        words = ["--network", "none", "--label", f"toolkit.backend={backend}", "--name", name]
        assert said(docker_cli, "run", *words, busybox, "echo", "hi").stdout == "hi\n"
        found = said(docker_cli, "inspect", "--format", "{{.HostConfig.Runtime}}", name)
        assert found.stdout.strip() == backend
        said(docker_cli, "rm", name)
