# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from toolkit.vm.process import ProcessIdentity, parent_and_state, processes_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
WAITS = "print('up', flush=True); signal.pause()"


@contextmanager
def running(code: str, *arguments: str, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-I", "-S", "-c", code, *arguments]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        try:
            yield child
        finally:
            child.kill()


def identity(pid: int) -> ProcessIdentity:
    found = ProcessIdentity.of(pid)
    assert found is not None
    return found


def test_stop_ends_a_process_that_listens() -> None:
    with running("import signal; " + WAITS) as child:
        assert identity(child.pid).stop(grace_seconds=10) is False
        assert child.wait() == -15


def test_stop_kills_after_the_grace_period() -> None:
    with running(STUBBORN + WAITS) as child:
        assert identity(child.pid).stop(grace_seconds=0.05) is True
        assert child.wait() == -9


def test_stop_does_not_touch_another_process_with_the_same_pid() -> None:
    with running("import signal; " + WAITS) as child:
        earlier = replace(identity(child.pid), start_time_ticks=1)
        assert not earlier.is_alive
        assert earlier.stop(grace_seconds=0.05) is False
        assert child.poll() is None


def test_a_zombie_is_nobody() -> None:
    with running("print('up', flush=True)") as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert ProcessIdentity.of(child.pid) is None
        assert parent_and_state(child.pid) == (os.getpid(), "Z")


def test_an_engine_is_found_by_the_instance_in_its_arguments() -> None:
    with running("import signal; " + WAITS, "engine", "--instance", "tku1") as child:
        assert processes_of("tku1") == [child.pid]
        assert processes_of("tku") == []


def test_a_launcher_is_found_by_the_instance_in_its_environment() -> None:
    code = "import signal  # toolkit.runtime.launcher\n" + WAITS
    with running(code, TOOLKIT_INSTANCE="tku6") as child:
        assert processes_of("tku6") == [child.pid]


def test_a_shell_that_chose_an_instance_is_not_one_of_its_processes() -> None:
    code = "import signal; " + WAITS
    with running(code, "invoke", "down", "--instance", "tku7", TOOLKIT_INSTANCE="tku7"):
        assert processes_of("tku7") == []
