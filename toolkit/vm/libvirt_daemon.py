# SPDX-License-Identifier: Apache-2.0
"""libvirt where nothing starts it: no systemd, no init script, as in a container or CI.

Owns two daemons, virtlogd and libvirtd, from their start to their end, with their
configuration, sockets and pid files in a directory of ours, and what they see of /dev.
Where somebody else's libvirtd answers, nothing is started and nothing stopped.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolkit.errors import MachineError
from toolkit.vm import commands
from toolkit.vm.libvirt_traces import LibvirtTraces
from toolkit.vm.process import ProcessIdentity
from toolkit.vm.vagrant import is_emulated

if TYPE_CHECKING:
    from collections.abc import Callable

SYSTEM_URI: Final = "qemu:///system"
POOL: Final = "container-toolkit"
_VIRSH: Final = ("virsh", "--connect", SYSTEM_URI)
_NETWORK: Final = "vagrant-libvirt"  # the plugin makes it
_START_SECONDS: Final = 60.0
_GRACE_SECONDS: Final = 20.0
# root alone reaches the sockets: they are 0700, so nobody has to prove more
_CONFIGURATION: Final = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_ro_perms = "0700"
unix_sock_rw_perms = "0700"
"""
# Where /dev/kvm is and does not work, libvirt asks QEMU what it can do again and again: "KVM was
# enabled when probing, but it is not available now". In its place the daemon and its children see
# a device that nobody may open and that is no KVM. (Not a file: libvirt takes what is mounted
# below /dev over into a machine's own /dev, and cannot do that with a file.)
_WITHOUT_KVM: Final = (
    *("unshare", "--mount", "--propagation", "slave"),
    *("sh", "-c", 'mount --bind "$0" /dev/kvm && exec "$@"'),
)
_KVM: Final = Path("/dev/kvm")
_NULL_DEVICE: Final = os.makedev(1, 3)


@dataclass(frozen=True, kw_only=True)
class LibvirtDaemon:
    """The libvirt of this machine: somebody's, or ours while machines need it.

    Attributes:
        directory: Configuration and pid files of the daemons that we start.
    """

    directory: Path
    say: Callable[[str], None] = print
    run: Callable[..., str] = commands.run
    succeeds: Callable[..., bool] = commands.succeeds

    @property
    def answers(self) -> bool:
        """Whether a libvirtd answers."""
        return self.succeeds([*_VIRSH, "version"])

    @property
    def is_ours(self) -> bool:
        """Whether the one that runs was started here."""
        return _running(self.directory / "libvirtd.pid") is not None

    def ensure(self, user: str, *, pool_dir: Path) -> None:
        """See to it that a libvirtd answers, with a place for disks.

        Args:
            user: Who needs it; `release` takes the name back.
            pool_dir: Where the machines' disks are.

        Raises:
            MachineError: It is not installed, or does not start.
        """
        if not self.answers:
            self._start()
        if self.is_ours:
            (self.directory / "users").mkdir(exist_ok=True)
            (self.directory / "users" / user).touch()
        self._open_pool(pool_dir)

    def release(self, user: str) -> bool:
        """Stop what was started here when its last user lets go; return whether it was."""
        users = self.directory / "users"
        if not users.is_dir():
            return False
        (users / user).unlink(missing_ok=True)
        if any(users.iterdir()):
            return False
        was_ours = self.is_ours
        if was_ours:
            self._take_back()
        self._traces.put_back()
        shutil.rmtree(self.directory, ignore_errors=True)
        return was_ours

    @property
    def _traces(self) -> LibvirtTraces:
        return LibvirtTraces(record=self.directory / "before.json", run=self.run)

    def _take_back(self) -> None:
        """Have our libvirtd undo what it did, and end it."""
        self.close_pool()
        with suppress(MachineError):  # somebody else may have stopped it
            self.run([*_VIRSH, "net-destroy", _NETWORK])
            self.run([*_VIRSH, "net-undefine", _NETWORK])
        for name in ("libvirtd", "virtlogd"):
            identity = _running(self.directory / f"{name}.pid")
            if identity is not None:
                identity.stop(_GRACE_SECONDS)
        self.say("libvirtd stopped, which was started for the machines")

    def _start(self) -> None:
        for name in ("virtlogd", "libvirtd"):  # in this order: libvirtd asks for the other
            if shutil.which(name) is None:
                raise MachineError(
                    f"{name} is not installed: apt-get install libvirt-daemon-system"
                )
        if os.geteuid() != 0:
            raise MachineError("libvirtd does not run: start it (systemctl start libvirtd)")
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration = self.directory / "libvirtd.conf"
        configuration.write_text(_CONFIGURATION, encoding="utf-8")
        self.say("starting libvirtd: nothing on this machine does")
        pid_files = {name: str(self.directory / f"{name}.pid") for name in ("virtlogd", "libvirtd")}
        if _running(Path("/run/virtlogd.pid")) is None:
            self.run(["virtlogd", "--daemon", "--pid-file", pid_files["virtlogd"]])
        libvirtd = ["libvirtd", "--daemon", "--pid-file", pid_files["libvirtd"]]
        self._traces.note()
        self.run([*self._view(), *libvirtd, "--config", str(configuration)])
        # it looks at every emulator first
        self.run([*_VIRSH, "version"], timeout_seconds=_START_SECONDS)

    def _view(self) -> list[str]:
        """Return what starts the daemon with a /dev of its own, where it has to have one."""
        if not (is_emulated() and _KVM.exists()):
            return []
        instead = self.directory / "no-kvm"
        instead.unlink(missing_ok=True)
        try:
            os.mknod(instead, stat.S_IFCHR, _NULL_DEVICE)
        except PermissionError:  # root of a container may make none
            return []
        return [*_WITHOUT_KVM, str(instead)]

    def _open_pool(self, directory: Path) -> None:
        """Make the place for disks known; it lasts as long as the daemon, the disks longer."""
        directory.mkdir(parents=True, exist_ok=True)
        if POOL not in self.run([*_VIRSH, "pool-list", "--name"]).split():
            self.run([*_VIRSH, "pool-create-as", POOL, "dir", "--target", str(directory)])

    def close_pool(self) -> None:
        """Forget the place for disks; what lies in it stays."""
        with suppress(MachineError):
            self.run([*_VIRSH, "pool-destroy", POOL])


def _running(pid_file: Path) -> ProcessIdentity | None:
    """Return the process that a pid file names, if its program is a daemon of libvirt's."""
    try:
        pid = int(pid_file.read_text())
        program = Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError):
        return None
    if program != pid_file.stem:
        return None
    return ProcessIdentity.of(pid)
