# SPDX-License-Identifier: Apache-2.0
"""Processes: known for good, signalled by descriptor, stripped of what they inherit."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from toolkit.errors import KernelCallError
from toolkit.kernel import process

if TYPE_CHECKING:
    from collections.abc import Iterator


def _run(script: str, **options: object) -> str:
    """Run lines of Python in a process of their own, `process` and `os` at hand."""
    code = f"import os, signal\nfrom toolkit.kernel import process\n{script}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20,
        **options,  # type: ignore[call-overload]  # a few of run's own
    )  # fmt: skip
    return str(done.stdout).strip()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        yield sleeper
        sleeper.kill()


def test_a_process_is_signalled_by_its_descriptor(sleeper: subprocess.Popen[bytes]) -> None:
    pidfd = process.open_pidfd(sleeper.pid)
    assert process.signal_pidfd(pidfd, signal.SIGTERM)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(5000)
    assert sleeper.wait() == -signal.SIGTERM
    assert not process.signal_pidfd(pidfd, signal.SIGTERM)  # row S-16: and nobody else
    os.close(pidfd)


def test_a_process_that_is_not_there_has_no_descriptor(sleeper: subprocess.Popen[bytes]) -> None:
    sleeper.kill()
    sleeper.wait()
    with pytest.raises(KernelCallError, match="No such process"):
        process.open_pidfd(sleeper.pid)


def test_a_signal_that_does_not_exist_is_an_error() -> None:
    pidfd = process.open_pidfd(os.getpid())
    with pytest.raises(KernelCallError, match="Invalid argument"):
        process.signal_pidfd(pidfd, 999)
    os.close(pidfd)


def test_a_start_time_is_a_fact_of_a_living_process(sleeper: subprocess.Popen[bytes]) -> None:
    """Rows S-16, F-08."""
    ticks = process.start_time_ticks(sleeper.pid)
    assert ticks is not None
    assert ticks == process.start_time_ticks(sleeper.pid)
    assert ticks >= (process.start_time_ticks(os.getpid()) or 0)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert process.start_time_ticks(sleeper.pid) is None  # a zombie
    sleeper.wait()
    assert process.start_time_ticks(sleeper.pid) is None


@pytest.mark.parametrize("name", [") R 1 1 1 (", "a b) Z", "()", "x" * 30])
def test_a_name_that_looks_like_fields_deceives_nobody(name: str) -> None:
    script = f"process.set_name({name!r}); print(process.start_time_ticks(os.getpid()))"
    now = process.start_time_ticks(os.getpid())
    assert now is not None
    assert int(_run(script)) >= now


def test_a_boot_has_a_name() -> None:
    assert len(process.boot_id()) == 36
    assert process.boot_id() == process.boot_id()


@pytest.mark.parametrize(
    ("script", "expected"),
    [("exit 0", (0, 0)), ("exit 7", (7, 0)), ("kill -9 $$", (137, 9)), ("kill -15 $$", (143, 15))],
)
def test_an_exit_status_is_dockers(script: str, expected: tuple[int, int]) -> None:
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", script], {})
    _, status = os.waitpid(pid, 0)
    assert process.exit_status_of(status) == expected


def test_signals_are_default_and_none_is_blocked_behind_a_reset() -> None:
    """What the engine ignores or blocks is no matter of the program's."""
    script = (
        "for number in (signal.SIGPIPE, signal.SIGINT): signal.signal(number, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        "process.reset_signals()\n"
        "os.execvp('grep', ['grep', '-E', '^Sig(Blk|Ign)', '/proc/self/status'])"
    )
    assert set(_run(script).split()[1::2]) == {"0" * 16}


def test_descriptors_are_marked_and_gone_behind_exec() -> None:
    """Row S-02."""
    script = (
        "fds = [os.dup(0) for _ in range(20)] + [os.dup2(0, 200)]\n"
        "for fd in fds: os.set_inheritable(fd, True)\n"
        "process.close_from_on_exec(3)\n"
        "os.fstat(200)\n"
        "os.execvp('sh', ['sh', '-c', 'ls /proc/$$/fd'])"
    )
    assert _run(script, stdin=subprocess.DEVNULL).split() == ["0", "1", "2"]


def test_a_process_can_be_closed_to_others() -> None:
    """Row S-04."""
    script = (
        "import ctypes; get = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)\n"
        "process.set_dumpable(dumpable=False); print(get())\n"
        "process.set_dumpable(dumpable=True); print(get())"
    )
    assert _run(script).split() == ["0", "1"]


def test_a_child_dies_with_its_parent() -> None:
    """Row F-04: a program does not outlive its shim."""
    script = (
        "import subprocess, sys, time\n"
        "read_fd, write_fd = os.pipe()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    middle = os.getpid()\n"
        "    if os.fork() == 0:\n"
        "        process.die_with_parent(signal.SIGKILL)\n"
        "        os.close(read_fd); os.write(write_fd, b'1')\n"
        "        time.sleep(60)\n"
        "    os.read(read_fd, 1)\n"
        "    os.kill(middle, signal.SIGKILL)\n"
        "os.close(write_fd); os.waitpid(pid, 0)\n"
        "print(os.read(read_fd, 1))"
    )
    assert _run(script) == "b''"


def test_a_subreaper_becomes_the_parent_of_orphans() -> None:
    script = (
        "process.become_subreaper()\n"
        "read_fd, write_fd = os.pipe()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    if os.fork() == 0:\n"
        "        os.read(read_fd, 1); os._exit(7)\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0); os.write(write_fd, b'1')\n"
        "print(process.exit_status_of(os.wait()[1]))"
    )
    assert _run(script) == "(7, 0)"


def test_a_session_keyring_of_its_own_or_none() -> None:
    """Row S-15: where there are no keyrings this does nothing."""
    assert _run("process.join_new_session_keyring(); print('alive')") == "alive"


def test_ids_are_set_by_the_raw_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row S-07: supplementary groups go first, while we still may."""
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(process, "call", lambda *words, **_: calls.append(words))
    process.set_ids(1000, 1001, [10, 44])
    assert [words[0] for words in calls] == ["setgroups", "setresgid", "setresuid"]
    assert calls[0][1] == 2
    assert calls[1][1:] == (1001,) * 3
    assert calls[2][1:] == (1000,) * 3


def test_a_user_may_not_become_another() -> None:
    if os.geteuid() == 0:
        script = "process.set_ids(65534, 65534, []); print(os.getresuid(), os.getgroups())\n"
        assert _run(script) == "(65534, 65534, 65534) []"
        return
    with pytest.raises(KernelCallError, match="not permitted"):
        process.set_ids(0, 0, [])
