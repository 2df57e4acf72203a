# SPDX-License-Identifier: Apache-2.0
"""What a start takes from the host: opened here, by the shim, before the child exists.

Every source of a mount becomes a descriptor once and is never looked up again
(row S-26); devices are made in a tmpfs of our own, outside the container's
device rules. All descriptors are close-on-exec.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

from toolkit.errors import BackendError, InvalidRequestError, MountError
from toolkit.kernel import mounts, pty
from toolkit.kernel.paths import open_device_at
from toolkit.runtime.native.peers import clone_shm_of, peer_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from toolkit.runtime.native.staging import Staging

Document = dict[str, Any]

# runtime-spec config-linux.md, "Default Devices"; name, major, minor.
DEFAULT_DEVICES: Final = (
    ("null", 1, 3), ("zero", 1, 5), ("full", 1, 7),
    ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0),
)  # fmt: skip
DEFAULT_LINKS: Final = (
    ("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2"), ("core", "/proc/kcore"),
)  # fmt: skip
ATTRIBUTES: Final = {
    "ro": mounts.MOUNT_ATTR_RDONLY,
    "nosuid": mounts.MOUNT_ATTR_NOSUID,
    "nodev": mounts.MOUNT_ATTR_NODEV,
    "noexec": mounts.MOUNT_ATTR_NOEXEC,
}
PROPAGATIONS: Final = {
    "private": mounts.MS_PRIVATE,
    "slave": mounts.MS_SLAVE,
    "shared": mounts.MS_SHARED,
}
_IGNORED: Final = frozenset(
    {"bind", "rbind", "rw", "suid", "dev", "exec", "relatime", "strictatime", "newinstance"}
)
_NULL: Final = os.makedev(1, 3)
PIPE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class PlannedMount:
    """One mount of the document, read: where, what, how.

    Attributes:
        fd: The detached mount if it was made here, else -1: the child makes it.
        is_file: The mount point is a file.
        options: What the filesystem itself is given.
        attributes: MOUNT_ATTR_* flags.
        propagation: MS_* flag, 0 for the parent's.
    """

    target: str
    kind: str
    fd: int = -1
    is_file: bool = False
    recursive: bool = False
    options: dict[str, str | None] = field(default_factory=dict)
    attributes: int = 0
    propagation: int = mounts.MS_PRIVATE

    def with_fd(self, fd: int, *, is_file: bool = False) -> Self:
        """Return the same mount as one that was made here, detached."""
        return replace(self, fd=fd, is_file=is_file)

    def values(self) -> tuple[object, ...]:
        """Return the fields as plain values, in order."""
        return (
            self.target, self.kind, self.fd, self.is_file, self.recursive,
            self.options, self.attributes, self.propagation,
        )  # fmt: skip


@dataclass(kw_only=True)
class Stdio:
    """Both ends of a program's standard streams; -1 for what there is not.

    The first three are the program's; of the others the shim holds one end.
    """

    child_stdin: int = -1
    child_stdout: int = -1
    child_stderr: int = -1
    stdin: int = -1
    stdout: int = -1
    stderr: int = -1
    terminal: int = -1

    def describe(self, fds: list[int]) -> list[int]:
        """Add the program's ends to *fds*; return their positions."""
        ends = (self.child_stdin, self.child_stdout, self.child_stderr)
        positions = range(len(fds), len(fds) + len(ends))
        fds += ends
        return list(positions)

    @classmethod
    def from_description(cls, positions: list[int], fds: list[int]) -> Self:
        """Return the program's ends as they arrived in another process."""
        stdin, stdout, stderr = (fds[position] for position in positions)
        return cls(child_stdin=stdin, child_stdout=stdout, child_stderr=stderr)

    def close_child_ends(self) -> None:
        """Close what only the program should hold."""
        for fd in {self.child_stdin, self.child_stdout, self.child_stderr} - {-1}:
            os.close(fd)
        self.child_stdin = self.child_stdout = self.child_stderr = -1


@dataclass(kw_only=True)
class Prepared:
    """All that the child needs from the host.

    Attributes:
        rootfs: What to mount as the root (`toolkit.rootfs`).
        root_path: Where, in the new mount namespace.
        proc_fd: The host's ``/proc``, for our own writes to it (row S-23).
        cgroup_fds: The container's control groups by hierarchy, detached mounts;
            ``""`` for cgroup v2 alone.
    """

    document: Document
    rootfs: dict[str, Any]
    root_path: str
    mounts: list[PlannedMount]
    stdio: Stdio
    seccomp: bytes
    proc_fd: int
    cgroup_fds: dict[str, int] = field(default_factory=dict)

    def describe(self, fds: list[int]) -> Document:
        """Return this as plain values; descriptors go to *fds* and leave their position."""

        def passed(fd: int) -> int:
            if fd < 0:
                return -1
            fds.append(fd)
            return len(fds) - 1

        return {
            "document": self.document,
            "rootfs": self.rootfs,
            "root_path": self.root_path,
            "mounts": [(*entry.values(), passed(entry.fd)) for entry in self.mounts],
            "stdio": self.stdio.describe(fds),
            "seccomp": self.seccomp,
            "proc_fd": passed(self.proc_fd),
            "cgroups": [(name, passed(fd)) for name, fd in self.cgroup_fds.items()],
        }

    @classmethod
    def from_description(cls, description: Document, fds: list[int]) -> Self:
        """Return what `describe` described, as it arrived in another process."""
        planned = []
        for *values, position in description["mounts"]:
            entry = PlannedMount(*values)
            planned.append(
                entry.with_fd(fds[position], is_file=entry.is_file) if position >= 0 else entry
            )
        return cls(
            document=description["document"],
            rootfs=description["rootfs"],
            root_path=description["root_path"],
            mounts=planned,
            stdio=Stdio.from_description(description["stdio"], fds),
            seccomp=description["seccomp"],
            proc_fd=fds[description["proc_fd"]],
            cgroup_fds={name: fds[position] for name, position in description["cgroups"]},
        )


def prepare(
    document: Document, bundle: str, undo: ExitStack, staging: Staging | None = None
) -> Prepared:
    """Open everything that *document* names on the host; *undo* closes it again.

    With *staging* the default mounts are there already, and not among the result's.

    Raises:
        BackendError: The document lacks something, or the host refuses.
        InvalidRequestError: A bind's source does not exist.
    """
    document["linux"].pop("seccomp", None)  # compiled: `toolkit.seccomp.program`
    annotations = document["annotations"]
    proc_fd = _kept(os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), undo)
    root_path = os.path.join(bundle, document["root"]["path"])
    os.makedirs(root_path, mode=0o700, exist_ok=True)
    if staging is None:
        planned, dev_fd, devpts_fd = _plan_mounts(document["mounts"], document, undo)
    else:
        more = document["mounts"][staging.count :]
        planned, dev_fd, devpts_fd = _plan_mounts(more, document, undo)
        dev_fd, devpts_fd = staging.dev_fd, staging.devpts_fd
    if dev_fd < 0:
        raise BackendError("the launch document mounts no tmpfs on /dev")
    stdio = open_stdio(
        has_tty=document["process"]["terminal"],
        open_stdin=bool(annotations.get("toolkit.stdin.open")),
        null_dir_fd=dev_fd,
        devpts_fd=devpts_fd,
        undo=undo,
    )
    set_console_size(stdio, document["process"])
    return Prepared(
        document=document,
        rootfs=json.loads(annotations["toolkit.rootfs"]),
        root_path=root_path,
        mounts=planned,
        stdio=stdio,
        seccomp=read_seccomp(annotations),
        proc_fd=proc_fd,
    )


def read_seccomp(annotations: dict[str, str]) -> bytes:
    """Return the compiled filter that the engine left for us, or nothing."""
    path = annotations.get("toolkit.seccomp.program")
    if not path:
        return b""
    with open(path, "rb") as file:
        return file.read()


def _kept(fd: int, undo: ExitStack) -> int:
    undo.callback(os.close, fd)
    return fd


def _plan_mounts(
    entries: list[Document], document: Document, undo: ExitStack
) -> tuple[list[PlannedMount], int, int]:
    planned: list[PlannedMount] = []
    dev_fd = devpts_fd = -1
    for mount in entries:
        entry = read_mount(mount)
        fd = -1
        if entry.kind == "bind":
            fd, is_file = _open_source(mount["source"], recursive=entry.recursive, undo=undo)
            entry = entry.with_fd(fd, is_file=is_file)
        elif entry.target == "/dev" and entry.kind == "tmpfs":
            dev_fd = fd = make_dev(entry, document["linux"].get("devices") or (), undo)
            entry = entry.with_fd(fd)
        elif entry.kind == "devpts":
            devpts_fd = fd = _kept(
                mounts.new_filesystem("devpts", entry.options, entry.attributes), undo
            )
            entry = entry.with_fd(fd)
        planned.append(entry)
    return planned, dev_fd, devpts_fd


def read_mount(mount: Document) -> PlannedMount:
    """Sort the options of an OCI mount into flags, propagation and the filesystem's own."""
    attributes, propagation = 0, mounts.MS_PRIVATE
    options: dict[str, str | None] = {}
    words = mount.get("options") or ()
    for word in words:
        if word in ATTRIBUTES:
            attributes |= ATTRIBUTES[word]
        elif word.removeprefix("r") in PROPAGATIONS:
            propagation = PROPAGATIONS[word.removeprefix("r")]
        elif word not in _IGNORED:
            key, equals, value = word.partition("=")
            options[key] = value if equals else None
    kind = "bind" if {"bind", "rbind"} & set(words) else mount["type"]
    return PlannedMount(
        target=mount["destination"],
        kind=kind,
        recursive="rbind" in words,
        options=options,
        attributes=attributes,
        propagation=propagation,
    )


def _open_source(source: str, *, recursive: bool, undo: ExitStack) -> tuple[int, bool]:
    if peer := peer_of(source):
        return clone_shm_of(peer, undo), False
    try:
        source_fd = os.open(source, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise InvalidRequestError(f"bind source path does not exist: {source}") from error
        raise MountError("open", source, error.errno or 0) from error
    try:
        is_file = not stat.S_ISDIR(os.fstat(source_fd).st_mode)
        return _kept(mounts.clone_tree(source_fd, recursive=recursive), undo), is_file
    finally:
        os.close(source_fd)


def make_dev(entry: PlannedMount, devices: Sequence[Document], undo: ExitStack) -> int:
    """Return a detached ``/dev`` with the default devices and those of the document."""
    dev_fd = _kept(mounts.new_filesystem("tmpfs", entry.options, entry.attributes), undo)
    for name, major, minor in DEFAULT_DEVICES:
        _make_node(dev_fd, name, stat.S_IFCHR, 0o666, os.makedev(major, minor))
    for device in devices:
        _make_document_device(dev_fd, device)
    for name, target in DEFAULT_LINKS:
        os.symlink(target, name, dir_fd=dev_fd)
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(name, 0o755, dir_fd=dev_fd)
    return dev_fd


def _make_document_device(dev_fd: int, device: Document) -> None:
    path = device["path"]
    if not path.startswith("/dev/") or "/" in path.removeprefix("/dev/"):
        raise InvalidRequestError(f"device {path}: give it a name directly below /dev")
    kind = stat.S_IFBLK if device["type"] == "b" else stat.S_IFCHR
    name = path.removeprefix("/dev/")
    number = os.makedev(device["major"], device["minor"])
    _make_node(dev_fd, name, kind, device.get("fileMode", 0o660), number)
    os.chown(name, device.get("uid", 0), device.get("gid", 0), dir_fd=dev_fd)


def _make_node(dev_fd: int, name: str, kind: int, mode: int, number: int) -> None:
    os.mknod(name, kind | mode, number, dir_fd=dev_fd)
    os.chmod(name, mode, dir_fd=dev_fd)  # whatever the umask


def open_stdio(
    *, has_tty: bool, open_stdin: bool, null_dir_fd: int, devpts_fd: int, undo: ExitStack
) -> Stdio:
    """Open the program's streams: a pty of the container's own devpts, or pipes.

    Without an open stdin it reads the container's own ``null``, not the host's.
    """
    stdio = Stdio()
    if has_tty:
        if devpts_fd < 0:
            raise BackendError("a terminal was asked for, and the document mounts no devpts")
        stdio.terminal, slave, _ = pty.open_pty(devpts_fd)
        stdio.child_stdin = stdio.child_stdout = stdio.child_stderr = slave
    else:
        if open_stdin:
            stdio.child_stdin, stdio.stdin = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(stdio.stdin, False)
        else:
            stdio.child_stdin = open_device_at(null_dir_fd, "null", _NULL, os.O_RDONLY)
        stdio.stdout, stdio.child_stdout = _open_output()
        stdio.stderr, stdio.child_stderr = _open_output()
    undo.callback(stdio.close_child_ends)
    return stdio


def set_console_size(stdio: Stdio, process: Document) -> None:
    """Give the terminal its first size, before the program can ask for it."""
    size = process.get("consoleSize")
    if stdio.terminal >= 0 and size:
        pty.resize(stdio.terminal, size["height"], size["width"])


def _open_output() -> tuple[int, int]:
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    with suppress(PermissionError):  # over the user's share of pipe memory: less will do
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return read_fd, write_fd
