# SPDX-License-Identifier: Apache-2.0
"""The launcher's interpreter is a copy that nobody can change (row S-01)."""

from __future__ import annotations

import fcntl
import os
import socket
from typing import TYPE_CHECKING

import pytest

from toolkit.runtime.protocol import receive_message
from toolkit.runtime.sealed import sealed_copy, start_launcher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def copy_fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "program"
    path.write_bytes(b"content" * 1000)
    fd = sealed_copy(str(path))
    yield fd
    os.close(fd)


def test_a_copy_holds_the_same_bytes(copy_fd: int) -> None:
    assert os.pread(copy_fd, 10_000, 0) == b"content" * 1000


def test_nobody_can_write_to_a_copy(copy_fd: int) -> None:
    for act in (lambda: os.write(copy_fd, b"x"), lambda: os.ftruncate(copy_fd, 0)):
        with pytest.raises(PermissionError):
            act()
    again_fd = os.open(f"/proc/self/fd/{copy_fd}", os.O_RDWR)
    with pytest.raises(PermissionError):
        os.write(again_fd, b"x")
    os.close(again_fd)


def test_nobody_can_take_the_seals_away(copy_fd: int) -> None:
    everything = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    assert fcntl.fcntl(copy_fd, fcntl.F_GET_SEALS) & everything == everything
    with pytest.raises(PermissionError):
        fcntl.fcntl(copy_fd, fcntl.F_ADD_SEALS, 0x10)


def test_a_copy_reaches_no_program_by_itself(copy_fd: int) -> None:
    assert not os.get_inheritable(copy_fd)


def test_the_launcher_runs_from_a_copy_and_holds_only_what_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows S-01, S-02: started in the place of `main`, it tells what it is."""
    package = tmp_path / "toolkit/runtime"
    package.mkdir(parents=True)
    (package / "launcher.py").write_text(
        "import os, socket, json\n"
        "def main(fd):\n"
        "    fds = sorted(int(name) for name in os.listdir('/proc/self/fd'))\n"
        "    facts = {'exe': os.readlink('/proc/self/exe'), 'fds': fds, 'fd': fd,\n"
        "             'env': dict(os.environ), 'sid': os.getsid(0) == os.getpid()}\n"
        "    socket.socket(fileno=fd).send(json.dumps(facts).encode())\n"
    )
    monkeypatch.setattr("toolkit.runtime.sealed.__file__", str(package / "sealed.py"))
    leaked_fd = os.open("/", os.O_RDONLY)
    os.set_inheritable(leaked_fd, True)  # noqa: FBT003 - the call takes no keyword
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        launcher = start_launcher(theirs.fileno(), {"TOOLKIT_INSTANCE": "tst"})
        assert launcher.wait(20) == 0
        received = receive_message(ours)
    os.close(leaked_fd)
    assert received is not None
    facts, _ = received
    assert facts["exe"].startswith("/memfd:toolkit-interpreter")
    assert {0, 1, 2, facts["fd"]} <= set(facts["fds"])
    assert leaked_fd not in facts["fds"]
    assert len(facts["fds"]) == 5  # and the one that lists them
    assert facts["env"].pop("TOOLKIT_INSTANCE") == "tst"
    assert set(facts["env"]) <= {"LC_CTYPE"}
    assert facts["sid"]
