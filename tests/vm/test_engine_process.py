# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from toolkit.config import Instance
from toolkit.errors import MachineError
from toolkit.vm.engine_process import EngineProcess
from toolkit.vm.process import ProcessIdentity

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel for the peer")

SERVES = """
import os, signal, socket
server = socket.socket(socket.AF_UNIX)
server.bind(os.environ["NOTIFY_SOCKET"].rpartition("/")[0] + "/engine.sock")
server.listen()
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
signal.pause()
"""


@pytest.fixture
def engine(tmp_path: Path) -> EngineProcess:
    return EngineProcess(Instance(name="tku2", run_dir=tmp_path / "run", data_dir=tmp_path))


def command(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def test_an_engine_is_started_found_by_its_socket_and_stopped(engine: EngineProcess) -> None:
    started = engine.start(command(SERVES))
    try:
        assert engine.find() == started
        assert started.is_alive
    finally:
        assert engine.stop(grace_seconds=5)
    assert ProcessIdentity.of(started.pid) != started
    assert engine.find() is None


def test_an_engine_that_ends_at_once_is_reported_with_its_last_words(
    engine: EngineProcess,
) -> None:
    with pytest.raises(MachineError, match="no overlay here"):
        engine.start(command("import sys; sys.exit('no overlay here')"))
    assert engine.find() is None


def test_there_is_nothing_to_stop_where_nobody_listens(engine: EngineProcess) -> None:
    assert engine.stop() is False
