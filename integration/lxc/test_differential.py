# SPDX-License-Identifier: Apache-2.0
"""The same on both backends, byte for byte: output, errors, exit codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integration.lxc.both import Case, shell
from toolkit.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.conftest import Engine, Run

# What a person would type, as `toolkit run` arguments; the image stands at "@".
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("@", "echo", "hello"),
    ("@", "sh", "-c", "echo out; echo err >&2; exit 7"),
    ("@", "true"),
    ("@", "false"),
    ("@", "nosuch"),
    ("@", "/nosuch"),
    ("@", "/etc"),
    ("@", "/etc/passwd"),
    ("@", "sh", "-c", "kill -9 $$; echo alive; exit 3"),
    ("@", "sh", "-c", "sh -c 'kill -9 $$'; echo $?"),
    ("@", "sh", "-c", "sh -c 'kill -SEGV $$'; exit $?"),
    ("@", "sh", "-c", "trap 'echo got; exit 9' TERM; kill -TERM $$"),
    ("@", "id"),
    ("-u", "1000", "@", "id"),
    ("-u", "1000:5", "@", "sh", "-c", "id; touch /denied"),
    ("-u", "nobody", "@", "id"),
    ("-u", "nosuch", "@", "id"),
    ("-u", "0:nosuch", "@", "id"),
    ("--group-add", "44", "-u", "7:8", "@", "id", "-G"),
    ("-w", "/new/place", "@", "pwd"),
    ("-w", "/etc/passwd", "@", "pwd"),
    ("-e", "A=b c", "-e", "EMPTY=", "-e", "LINE=a\nb", "@", "env"),
    ("@", "sh", "-c", "umask; ulimit -a; cat /proc/self/limits"),
    ("@", "sh", "-c", "ls -la /dev | sort; ls /; ls /sys /sys/fs/cgroup"),
    ("@", "sh", "-c", "grep -E 'Sig[^Q]|Shd|Cap|Seccomp|NoNew|Groups' /proc/self/status"),
    ("@", "sh", "-c", "mount | sed -E 's/(lower|upper|work)dir=[^,]*//g' | sort"),
    ("@", "sh", "-c", "cat /proc/self/cgroup; cat /proc/1/comm; tr '\\0' ' ' < /proc/1/cmdline"),
    ("@", "sh", "-c", "ls /proc/1/fd; readlink /proc/1/fd/0; ip -o addr; tty"),
    ("@", "sh", "-c", "mknod /x c 1 3; chroot / true; mount -t tmpfs x /mnt; unshare -U true"),
    ("@", "sh", "-c", "echo 1 > /proc/sys/kernel/core_pattern; cat /proc/kcore; ls /sys/firmware"),
    ("-t", "@", "sh", "-c", "tty; ls -l /dev/console /dev/pts; stty size"),
    ("--read-only", "@", "sh", "-c", "touch /x; touch /dev/shm/y; echo $?"),
    ("--tmpfs", "/t:size=1m", "@", "sh", "-c", "df /t; touch /t/x; ls /t"),
    ("--privileged", "@", "sh", "-c", "grep Cap /proc/self/status; ls /sys/fs/cgroup"),
    ("--cap-drop", "ALL", "--cap-add", "NET_RAW", "@", "grep", "Cap", "/proc/self/status"),
    ("--security-opt", "no-new-privileges", "@", "grep", "NoNew", "/proc/self/status"),
    ("--ulimit", "nofile=64:128", "@", "sh", "-c", "ulimit -n; ulimit -Hn"),
    ("-m", "64m", "--pids-limit", "99", "@", "sh", "-c", "cat /sys/fs/cgroup/*/memory.limit*"),
    ("-m", "16m", "@", "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"),
    ("--sysctl", "net.ipv4.ip_forward=1", "@", "cat", "/proc/sys/net/ipv4/ip_forward"),
    ("--pid", "host", "@", "sh", "-c", "readlink /proc/self/ns/pid; exit 4"),
    ("--network", "host", "@", "sh", "-c", "readlink /proc/self/ns/net; ip -o link show lo"),
    ("--uts", "host", "@", "sh", "-c", "readlink /proc/self/ns/uts"),
    ("--cgroupns", "host", "@", "sh", "-c", "readlink /proc/self/ns/cgroup"),
    ("--oom-score-adj", "300", "@", "cat", "/proc/self/oom_score_adj"),
    ("--shm-size", "1m", "@", "df", "/dev/shm"),  # noqa: S108 - in the container
    ("@", "sh", "-c", "seq 1 200000; exit 11"),
)  # fmt: skip


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda words: " ".join(words)[:60])
def test_a_command_is_the_same_on_both(toolkit_cli: Run, arguments: tuple[str, ...]) -> None:
    words = ["busybox" if word == "@" else word for word in arguments]
    own = [] if "host" in arguments else ["-h", "differential"]
    own += [] if "--network" in arguments else ["--network", "none"]  # an address is one's own
    native, lxc = (
        toolkit_cli("run", "--rm", "--runtime", backend, *own, *words)
        for backend in ("native", "lxc")
    )
    assert (lxc.returncode, lxc.stdout, lxc.stderr) == (
        native.returncode, native.stdout, native.stderr,
    )  # fmt: skip


_words = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12
)
_names = st.sampled_from(["A", "PATH2", "LC_ALL", "Q", "_", "container"])
_scripts = st.one_of(
    st.integers(0, 255).map(lambda code: f'echo $0 "$@"; echo e >&2; exit {code}'),
    st.sampled_from(["HUP", "INT", "QUIT", "ABRT", "KILL", "USR1", "SEGV", "PIPE", "ALRM", "TERM"])
    .flatmap(
        lambda name: st.sampled_from(
            [
                f"kill -{name} $$; echo survived; exit 4",
                f"sh -c 'kill -{name} $$'; exit $?",
                f"trap 'echo caught; exit 6' {name}; kill -{name} $$; sleep 0.1",
            ]
        )
    )
    .filter(lambda script: "'echo caught; exit 6' KILL" not in script),
    st.sampled_from(
        ["env | sort", "id", "pwd; ls -ld .", "cat", "tty; echo $?", "touch x && ls -ln x",
         "printf '%s\\n' \"$@\" | cat -A", "ulimit -a", "cat /proc/self/status | grep -E 'Cap|Uid'"]
    ),
)  # fmt: skip
_commands = st.one_of(
    st.tuples(st.just("sh"), st.just("-c"), _scripts, _words, _words),
    st.tuples(st.just("echo"), _words, _words),
    st.tuples(st.sampled_from(["nosuch", "/no/such", "/etc", "/etc/passwd", "./true", "bin/true"])),
)
_configs = st.fixed_dictionaries(
    {},
    optional={
        "Env": st.lists(st.builds("{}={}".format, _names, st.one_of(st.just(""), _words))),
        "User": st.sampled_from(
            ["", "0", "1000", "1000:5", "nobody", "nobody:0", "4294967294", "nosuch", "0:no", "7:x"]
        ),
        "WorkingDir": st.sampled_from(
            ["/", "/tmp", "/new/dir", "/etc/passwd", "/bin/../etc", "/a b", "/proc/self"]  # noqa: S108 - in the container
        ),
        "Tty": st.booleans(),
    },
)
_hosts = st.fixed_dictionaries(
    {},
    optional={
        "ReadonlyRootfs": st.booleans(),
        "CapDrop": st.sampled_from([["ALL"], ["CHOWN"], ["SETUID", "SETGID"]]),
        "CapAdd": st.sampled_from([["NET_ADMIN"], ["SYS_PTRACE"], ["ALL"]]),
        "Privileged": st.booleans(),
        "SecurityOpt": st.just(["no-new-privileges"]),
        "GroupAdd": st.just(["99"]),
        "OomScoreAdj": st.integers(0, 1000),
        "PidsLimit": st.integers(20, 500),
    },
)


def cases() -> st.SearchStrategy[Case]:
    return st.builds(Case, command=_commands, config=_configs, host=_hosts)


def _compare(engine: Engine, case: Case) -> None:
    native, lxc = case.run_on_both(engine)
    assert lxc == native


def _generated(count: int) -> Callable[[Any], Any]:
    def decorate(test: Any) -> Any:
        quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
        options = settings(
            max_examples=count, deadline=None, derandomize=True, suppress_health_check=quiet
        )
        return options(given(case=cases())(test))

    return decorate


@_generated(40)
def test_what_is_generated_is_the_same_on_both(engine: Engine, case: Case) -> None:
    _compare(engine, case)


@pytest.mark.slow
@pytest.mark.timeout(600)
@_generated(320)
def test_three_hundred_generated_cases_are_the_same_on_both(engine: Engine, case: Case) -> None:
    _compare(engine, case)


@pytest.mark.parametrize("signal", ["HUP", "INT", "QUIT", "USR1", "TERM", "KILL", "34", "64"])
def test_a_signal_from_outside_is_the_same_on_both(engine: Engine, signal: str) -> None:
    """Kill a program that handles it, and one that does not until it gets KILL."""
    handling = 'for s in 1 2 3 10 15 34 64; do trap "echo got $s; exit $s" $s; done; echo ready; '
    outcomes = []
    for backend in ("native", "lxc"):
        case = shell(handling + "while :; do sleep 0.02; done")
        with Client(engine.url, timeout_seconds=30) as client:  # it holds two connections
            outcomes.append(_killed(client, case, backend, signal))
    assert outcomes[0] == outcomes[1]


def _killed(client: Client, case: Case, backend: str, signal: str) -> tuple[int, bytes]:
    containers = client.containers
    host = {"NetworkMode": "none", "Runtime": backend}
    wish = {"Image": "busybox", "Cmd": list(case.command), "HostConfig": host}
    container = containers.create(wish).id
    try:
        containers.start(container)
        chunks = containers.logs(container, framed=True, follow=True)
        next(chunk for chunk in chunks if b"ready" in chunk.payload)
        pending = containers.wait(container)
        containers.kill(container, signal=signal)
        code = pending.result().exit_code
        output = b"".join(chunk.payload for chunk in containers.logs(container, framed=True))
    finally:
        containers.remove(container, force=True)
    return code, output
