# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from toolkit.client import local_engine
from toolkit.client.local_engine import is_listening, start_engine
from toolkit.errors import EngineUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENGINE = """
import os, socket, sys
directory = sys.argv[1]
open(f"{directory}/started-{os.getpid()}", "w").close()
listener = socket.socket(socket.AF_UNIX)
listener.bind(f"{directory}/engine.sock")
listener.listen()
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.connect(os.environ["NOTIFY_SOCKET"])
notify.send(b"STATUS=soon")
notify.send(b"READY=1")
print("session", os.getsid(0) == os.getpid(), flush=True)
listener.accept()
"""


@pytest.fixture
def run_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for mark in tmp_path.glob("started-*"):
        pid = int(mark.name.partition("-")[2])
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def command(run_dir: Path, code: str = ENGINE) -> list[str]:
    return [sys.executable, "-c", code, str(run_dir)]


def test_the_engine_serves_when_the_start_returns(run_dir: Path) -> None:
    start_engine("mine", run_dir=run_dir, command=command(run_dir))
    assert (run_dir / "engine.sock").is_socket()
    assert len(list(run_dir.glob("started-*"))) == 1
    assert not list(run_dir.glob("autostart-*.sock"))


def test_it_has_a_session_and_a_log_of_its_own(run_dir: Path) -> None:
    start_engine("mine", run_dir=run_dir, command=command(run_dir))
    assert is_listening(run_dir / "engine.sock")
    (mark,) = run_dir.glob("started-*")
    os.waitpid(int(mark.name.partition("-")[2]), 0)  # it ends at the first connection
    assert (run_dir / "engine.log").read_text() == "session True\n"


def test_two_at_once_start_one(run_dir: Path) -> None:
    code = ENGINE.replace("listener.accept()", "[listener.accept() for _ in range(99)]")
    threads = [
        threading.Thread(
            target=start_engine,
            args=("mine",),
            kwargs={"run_dir": run_dir, "command": command(run_dir, code)},
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(run_dir.glob("started-*"))) == 1


def test_an_engine_that_ends_is_an_error_with_its_last_line(run_dir: Path) -> None:
    code = "import sys; print('first'); sys.exit('no overlay here')"
    with pytest.raises(EngineUnreachableError, match=r"exit code 1: no overlay here") as caught:
        start_engine("mine", run_dir=run_dir, command=command(run_dir, code))
    assert str(run_dir / "engine.log") in str(caught.value)


def test_an_engine_that_never_serves_is_ended(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_engine, "START_SECONDS", 0.2)
    with pytest.raises(EngineUnreachableError, match=r"did not serve within 0\.2 s"):
        start_engine("mine", run_dir=run_dir, command=["sleep", "100"])


def test_a_client_variable_does_not_reach_the_engine(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere")
    code = "import os, sys; sys.exit(os.environ.get('DOCKER_HOST', 'not set'))"
    with pytest.raises(EngineUnreachableError, match="not set"):
        start_engine("mine", run_dir=run_dir, command=command(run_dir, code))
