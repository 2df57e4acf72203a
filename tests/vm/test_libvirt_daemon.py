# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.errors import MachineError
from toolkit.vm import libvirt_daemon
from toolkit.vm.libvirt_daemon import POOL, LibvirtDaemon
from toolkit.vm.libvirt_traces import LibvirtTraces
from toolkit.vm.process import ProcessIdentity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass
class FakeLibvirt:
    """virsh and the daemons: remembers what was run."""

    answers: bool = False
    pools: str = ""
    ran: list[str] = field(default_factory=list)

    def run(self, argv: Sequence[str], **_: Any) -> str:
        words = " ".join(argv).removeprefix("virsh --connect qemu:///system ")
        self.ran.append(words)
        return self.pools if words == "pool-list --name" else ""

    def succeeds(self, _argv: Sequence[str]) -> bool:
        return self.answers


@pytest.fixture
def libvirt() -> FakeLibvirt:
    return FakeLibvirt()


@pytest.fixture
def daemon(tmp_path: Path, libvirt: FakeLibvirt) -> LibvirtDaemon:
    return LibvirtDaemon(
        directory=tmp_path / "lv",
        say=lambda _: None,
        run=libvirt.run,
        succeeds=libvirt.succeeds,
    )


def started_here(daemon: LibvirtDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a libvirtd of ours run: this very process stands for it."""
    daemon.directory.mkdir(parents=True, exist_ok=True)
    identity = ProcessIdentity.of(os.getpid())
    monkeypatch.setattr(
        libvirt_daemon, "_running", lambda path: identity if path.stem == "libvirtd" else None
    )


def test_somebody_elses_libvirtd_is_used_and_never_stopped(
    daemon: LibvirtDaemon, libvirt: FakeLibvirt, tmp_path: Path
) -> None:
    libvirt.answers = True
    daemon.ensure("tku", pool_dir=tmp_path / "disks")
    assert not any(command.startswith("libvirtd") for command in libvirt.ran)
    assert daemon.release("tku") is False
    assert not any("net-destroy" in command for command in libvirt.ran)


def test_the_place_for_disks_is_made_known_once(
    daemon: LibvirtDaemon, libvirt: FakeLibvirt, tmp_path: Path
) -> None:
    libvirt.answers = True
    daemon.ensure("tku", pool_dir=tmp_path / "disks")
    libvirt.pools = f"{POOL}\n"
    daemon.ensure("tku", pool_dir=tmp_path / "disks")
    made = f"pool-create-as {POOL} dir --target {tmp_path}/disks"
    assert libvirt.ran.count(made) == 1


def test_without_one_it_is_started_with_its_log_daemon_first(
    daemon: LibvirtDaemon,
    libvirt: FakeLibvirt,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("toolkit.vm.libvirt_daemon.shutil.which", lambda name: f"/sbin/{name}")
    monkeypatch.setattr("toolkit.vm.libvirt_daemon.os.geteuid", lambda: 0)
    monkeypatch.setattr(libvirt_daemon, "_running", lambda _: None)
    monkeypatch.setattr(libvirt_daemon, "is_emulated", lambda: False)
    daemon.ensure("tku", pool_dir=tmp_path / "disks")
    programs = [command.split()[0] for command in libvirt.ran]
    started = [name for name in programs if name not in {"iptables", "ip6tables"}]
    assert started[:3] == ["virtlogd", "libvirtd", "version"]
    assert 'auth_unix_rw = "none"' in (daemon.directory / "libvirtd.conf").read_text()


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, int]]:
    """The device nodes that are made, on a machine with a /dev/kvm that cannot work."""
    nodes: list[tuple[Path, int]] = []

    def make(path: Path, mode: int, device: int) -> None:
        assert device == os.makedev(1, 3)  # a device of another kind would be opened and believed
        nodes.append((path, mode))

    monkeypatch.setattr("toolkit.vm.libvirt_daemon.shutil.which", lambda name: f"/sbin/{name}")
    monkeypatch.setattr("toolkit.vm.libvirt_daemon.os.geteuid", lambda: 0)
    monkeypatch.setattr("toolkit.vm.libvirt_daemon.os.mknod", make)
    monkeypatch.setattr(libvirt_daemon, "_running", lambda _: None)
    monkeypatch.setattr(libvirt_daemon, "is_emulated", lambda: True)
    monkeypatch.setattr(libvirt_daemon, "_KVM", tmp_path)
    return nodes


def test_a_kvm_that_cannot_work_is_hidden_from_the_daemon_alone(
    daemon: LibvirtDaemon, libvirt: FakeLibvirt, tmp_path: Path, made: list[tuple[Path, int]]
) -> None:
    daemon.ensure("tku", pool_dir=tmp_path / "disks")
    instead = daemon.directory / "no-kvm"
    assert made == [(instead, stat.S_IFCHR)]  # no one's to open
    started = next(command for command in libvirt.ran if " libvirtd " in command)
    assert started.startswith("unshare --mount --propagation slave sh -c mount --bind")
    assert f"{instead} libvirtd --daemon" in started


@pytest.mark.usefixtures("made")
def test_where_no_device_can_be_made_the_daemon_is_started_all_the_same(
    daemon: LibvirtDaemon,
    libvirt: FakeLibvirt,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("toolkit.vm.libvirt_daemon.os.mknod", refuse)
    daemon.ensure("tku", pool_dir=tmp_path / "disks")
    assert any(command.startswith("libvirtd --daemon") for command in libvirt.ran)


def test_an_ordinary_user_is_told_to_start_it(
    daemon: LibvirtDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.vm.libvirt_daemon.shutil.which", lambda name: f"/sbin/{name}")
    monkeypatch.setattr("toolkit.vm.libvirt_daemon.os.geteuid", lambda: 1000)
    with pytest.raises(MachineError, match="systemctl start libvirtd"):
        daemon.ensure("tku", pool_dir=tmp_path / "disks")


def test_a_missing_program_names_the_package(
    daemon: LibvirtDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.vm.libvirt_daemon.shutil.which", lambda _: None)
    with pytest.raises(MachineError, match="apt-get install libvirt-daemon-system"):
        daemon.ensure("tku", pool_dir=tmp_path / "disks")


def test_ours_is_kept_while_another_set_of_machines_uses_it(
    daemon: LibvirtDaemon,
    libvirt: FakeLibvirt,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    libvirt.answers = True
    started_here(daemon, monkeypatch)
    for user in ("one", "two"):
        daemon.ensure(user, pool_dir=tmp_path / "disks")
    assert daemon.release("one") is False
    assert daemon.directory.exists()


def test_the_last_user_ends_ours_and_what_it_made(
    daemon: LibvirtDaemon,
    libvirt: FakeLibvirt,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    libvirt.answers = True
    started_here(daemon, monkeypatch)
    daemon.ensure("one", pool_dir=tmp_path / "disks")
    stopped: list[int] = []
    monkeypatch.setattr(
        "toolkit.vm.libvirt_daemon.ProcessIdentity.stop", lambda self, _: stopped.append(self.pid)
    )
    monkeypatch.setattr(LibvirtTraces, "put_back", lambda _: stopped.append(0))
    assert daemon.release("one") is True
    assert stopped == [os.getpid(), 0]  # what it left is put back after it
    assert {f"pool-destroy {POOL}", "net-undefine vagrant-libvirt"} <= set(libvirt.ran)
    assert not daemon.directory.exists()


def test_a_pid_file_that_names_another_program_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "libvirtd.pid").write_text(str(os.getpid()))
    assert libvirt_daemon._running(tmp_path / "libvirtd.pid") is None
