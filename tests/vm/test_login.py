# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.errors import MachineError
from toolkit.vm.login import Login

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONFIG = "Host machine1\n  HostName 192.0.2.7\n  User vagrant\n\n"


@dataclass
class FakeSsh:
    """OpenSSH's command: remembers what it was asked."""

    is_open: bool = False
    asked: list[list[str]] = field(default_factory=list)
    refuses: str = ""

    def run(self, argv: Sequence[str], **_: Any) -> str:
        words = list(argv[3:-1])  # without ssh -F file, and the machine
        self.asked.append(words)
        if self.refuses and self.refuses in words:
            raise MachineError("refused")
        if "-M" in words:
            self.is_open = True
        return ""

    def succeeds(self, argv: Sequence[str]) -> bool:
        assert argv[3:5] == ["-O", "check"]
        return self.is_open


@pytest.fixture
def ssh() -> FakeSsh:
    return FakeSsh()


@pytest.fixture
def login(tmp_path: Path, ssh: FakeSsh) -> Login:
    made = Login(machine="machine1", directory=tmp_path / "r", run=ssh.run, succeeds=ssh.succeeds)
    made.write(CONFIG)
    return made


def test_the_configuration_is_vagrants_with_a_shared_connection(login: Login) -> None:
    lines = login.config_path.read_text().splitlines()
    assert lines[:3] == ["Host machine1", "  HostName 192.0.2.7", "  User vagrant"]
    assert f"  ControlPath {login.control_path}" in lines


def test_a_shell_is_told_where_engine_and_published_ports_are(login: Login) -> None:
    assert login.exports == [
        f"export DOCKER_HOST=unix://{login.socket_path}",
        "export TOOLKIT_PUBLISHED_HOST=192.0.2.7",
    ]
    login.write(CONFIG.replace("192.0.2.7", "127.0.0.1"))  # behind VirtualBox's NAT: `invoke ports`
    assert login.exports == [f"export DOCKER_HOST=unix://{login.socket_path}"]


def test_nobody_else_may_look_into_the_directory(login: Login) -> None:
    assert login.directory.stat().st_mode & 0o777 == 0o700
    assert login.config_path.stat().st_mode & 0o777 == 0o600


def test_open_opens_once(login: Login, ssh: FakeSsh) -> None:
    login.open()
    login.open()
    assert ssh.asked == [["-f", "-N", "-M"]]


def test_forward_engine_takes_an_earlier_forward_back_first(login: Login, ssh: FakeSsh) -> None:
    login.socket_path.touch()
    login.forward_engine()
    spec = f"{login.socket_path}:/run/toolkit/engine.sock"
    assert ssh.asked == [["-O", "cancel", "-L", spec], ["-O", "forward", "-L", spec]]
    assert not login.socket_path.exists()


def test_a_port_is_forwarded_on_the_loopback_alone(login: Login, ssh: FakeSsh) -> None:
    login.forward_port(8080, "127.0.0.1:80")
    assert ssh.asked == [["-O", "forward", "-L", "127.0.0.1:8080:127.0.0.1:80"]]


def test_a_port_that_is_taken_is_an_error(login: Login, ssh: FakeSsh) -> None:
    ssh.refuses = "forward"
    with pytest.raises(MachineError):
        login.forward_port(8080, "127.0.0.1:80")
    login.close_port(8080, "127.0.0.1:80")


def test_close_ends_the_connection_and_leaves_no_socket(login: Login, ssh: FakeSsh) -> None:
    login.open()
    login.socket_path.touch()
    login.close()
    assert ssh.asked[-1] == ["-O", "exit"]
    assert not login.socket_path.exists()
