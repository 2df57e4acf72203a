# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from toolkit.errors import FirewallError
from toolkit.network.iptables import Iptables

if TYPE_CHECKING:
    from pathlib import Path


def program(directory: Path, name: str, script: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def bin_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_without_iptables_in_the_path_the_error_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RT-088: TestIptables, with PATH empty."""
    monkeypatch.setenv("PATH", str(tmp_path))
    runner = Iptables()
    assert not runner.offers(4)
    with pytest.raises(FirewallError, match="Iptables not found"):
        runner.save(4)


def test_a_transaction_goes_to_the_program_of_its_family(bin_dir: Path) -> None:
    program(bin_dir, "ip6tables-restore", f'echo "$@" > {bin_dir}/args; cat > {bin_dir}/given')
    Iptables().restore(6, "*nat\nCOMMIT\n")
    assert (bin_dir / "args").read_text() == "--noflush --wait 10\n"
    assert (bin_dir / "given").read_text() == "*nat\nCOMMIT\n"


def test_a_refusal_carries_what_the_program_said(bin_dir: Path) -> None:
    program(bin_dir, "iptables-restore", "echo 'line 2 failed' >&2; exit 1")
    runner = Iptables()
    with pytest.raises(FirewallError, match="iptables failed: iptables-restore: line 2 failed"):
        runner.restore(4, "")
    assert len(runner.writer_pids) == 1


def test_legacy_iptables_is_known_by_the_program_behind_the_name(bin_dir: Path) -> None:
    program(bin_dir, "xtables-legacy-multi", "")
    (bin_dir / "iptables-restore").symlink_to(bin_dir / "xtables-legacy-multi")
    assert not Iptables().tells_changes


def test_a_program_that_was_started_ahead_carries_out_the_next_transaction(bin_dir: Path) -> None:
    program(bin_dir, "iptables-restore", f"echo $$ >> {bin_dir}/pids; cat >> {bin_dir}/given")
    runner = Iptables()
    runner.expect(4)
    runner.expect(4)
    waiting = runner.writer_pids
    assert len(waiting) == 1
    for text in ("*nat\nCOMMIT\n", "*raw\nCOMMIT\n"):
        runner.restore(4, text)
    assert (bin_dir / "given").read_text() == "*nat\nCOMMIT\n*raw\nCOMMIT\n"
    first, second = map(int, (bin_dir / "pids").read_text().split())
    assert waiting == {first}
    assert runner.writer_pids == {first, second}


def test_a_waiting_program_that_was_killed_is_replaced(bin_dir: Path) -> None:
    program(bin_dir, "iptables-restore", f"cat > {bin_dir}/given")
    runner = Iptables()
    runner.expect(4)
    (pid,) = runner.writer_pids
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    runner.restore(4, "*nat\nCOMMIT\n")
    assert (bin_dir / "given").read_text() == "*nat\nCOMMIT\n"


def test_a_waiting_program_ends_with_its_runner(bin_dir: Path) -> None:
    program(bin_dir, "iptables-restore", "cat")
    runner = Iptables()
    runner.expect(4)
    (pid,) = runner.writer_pids
    runner.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
