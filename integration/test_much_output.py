# SPDX-License-Identifier: Apache-2.0
"""Much output: nothing is lost, the engine's memory stays flat, a slow reader blocks nobody."""

from __future__ import annotations

import hashlib
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from integration.pace import SLOWNESS

if TYPE_CHECKING:
    from integration.conftest import Engine
    from toolkit.testing import Container, RunContainer

MIB = 1024 * 1024
LINE = b"0123456789abcdef" * 63 + b"0123456789abcde"  # with its newline 1 KiB
LINES = 1024 * 1024
_END_SECONDS = 3.0 * SLOWNESS  # all of it takes more than ten


def resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def check_the_end_is_found_without_the_rest(engine: Engine, made: Container) -> None:
    """The last lines, and those of a time at the end, come without a gibibyte being read."""
    began = time.monotonic()
    tail = lines_of(engine, made, tail="10")
    assert [line.partition(b" ")[2] for line in tail] == [LINE] * 10
    since = tail[0].partition(b" ")[0].decode()
    late = lines_of(engine, made, since=since)
    assert late[-10:] == tail
    assert len(late) < LINES // 4
    assert lines_of(engine, made, until="2013-12-16T00:00:00Z") == []
    assert time.monotonic() - began < _END_SECONDS


def lines_of(engine: Engine, container: Container, **selection: Any) -> list[bytes]:
    """Return the selected lines, each with its time before it."""
    logs = engine.client.containers.logs
    chunks = logs(container.id, framed=True, timestamps=True, **selection)
    return b"".join(chunk.payload for chunk in chunks).splitlines()


@pytest.mark.slow
@pytest.mark.timeout(300 * SLOWNESS)
def test_a_gibibyte_is_in_the_log_to_the_last_byte(
    engine: Engine, run_container: RunContainer
) -> None:
    before = resident_kib(engine.pid)
    script = f"yes {LINE.decode()} | head -n {LINES}"
    made = run_container("busybox", ["sh", "-c", script], network="none")
    assert made.wait() == 0
    assert resident_kib(engine.pid) - before < 16 * 1024
    digest, count = hashlib.sha256(), 0
    for chunk in engine.client.containers.logs(made.id, framed=True, stderr=False):
        digest.update(chunk.payload)
        count += len(chunk.payload)
    assert resident_kib(engine.pid) - before < 32 * 1024
    check_the_end_is_found_without_the_rest(engine, made)
    assert count == LINES * 1024
    expected = hashlib.sha256()
    for _ in range(LINES // 1024):
        expected.update((LINE + b"\n") * 1024)
    assert digest.hexdigest() == expected.hexdigest()


def test_a_client_that_stops_reading_blocks_neither_the_container_nor_another_client(
    engine: Engine, run_container: RunContainer
) -> None:
    lines = 32 * 1024
    script = f"sleep 0.5; yes {LINE.decode()} | head -n {lines}"
    made = run_container("busybox", ["sh", "-c", script], network="none")
    command = ["docker", "attach", "--no-stdin", made.id]
    with (
        engine.client.containers.attach(made.id),  # never read
        subprocess.Popen(command, env=engine.environ, stdout=subprocess.PIPE) as reader,
    ):
        seen, _ = reader.communicate(timeout=60 * SLOWNESS)
        assert made.wait() == 0
    assert len(seen) == lines * 1024
