# SPDX-License-Identifier: Apache-2.0
"""What a start mounts, in the words of the OCI: defaults, files below /etc, what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolkit.engine.sharing import shared_with
from toolkit.errors import InvalidRequestError
from toolkit.runtime import document as defaults

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolkit.engine.files import ContainerFiles
    from toolkit.engine.model import ContainerRecord, Mount
    from toolkit.engine.volumes import VolumeDirectories
    from toolkit.runtime.document import Document

_TMPFS_GUARDS: Final = frozenset({"nosuid", "nodev", "noexec"})
_ETC_OPTIONS: Final = ["bind", "rw", "nosuid", "nodev", "noexec", "rprivate"]


def default_mounts(record: ContainerRecord, pid_of: Callable[[str], int]) -> list[Document]:
    """Return the file systems that every container gets, less what it replaces.

    Args:
        record: The container's.
        pid_of: Returns the process of another container, which has to run.
    """
    host = record.spec.host
    taken = {mount.target for mount in record.mounts}
    peer = shared_with(host.ipc_mode)
    if peer:
        taken.add("/dev/shm")  # noqa: S108 - a path inside the container
    if host.ipc_mode in {"host", "none"}:
        taken |= {"/dev/shm"} if host.ipc_mode == "none" else {"/dev/shm", "/dev/mqueue"}  # noqa: S108 - a path inside the container
    mounts = defaults.default_mounts(
        shm_size_bytes=host.shm_size_bytes or defaults.DEFAULT_SHM_BYTES, privileged=host.privileged
    )
    if host.ipc_mode == "host":
        shared = ("/dev/shm", "/dev/mqueue")  # noqa: S108 - the host's own
        mounts += [bind(path, path, ["bind"]) for path in shared if Path(path).is_dir()]
    if peer:
        source = f"/proc/{pid_of(peer)}/root/dev/shm"
        mounts.append(bind(source, "/dev/shm", ["bind", "nosuid", "nodev", "noexec"]))  # noqa: S108 - a path inside the container
    return [
        mount for mount in mounts if mount["type"] == "bind" or mount["destination"] not in taken
    ]


def _etc_files(record: ContainerRecord, files: ContainerFiles) -> ContainerFiles:
    """Return whose files a container sees: those of the one whose network it shares."""
    peer = shared_with(record.spec.host.network_mode)
    return files.of_peer(peer) if peer else files


def etc_mounts(record: ContainerRecord, files: ContainerFiles) -> list[Document]:
    """Return the binds of a container's own files below /etc, where nothing else is mounted."""
    files = _etc_files(record, files)
    taken = {mount.target for mount in record.mounts}
    sources: tuple[tuple[str, Path], ...] = (
        ("/etc/resolv.conf", files.resolv_conf),
        ("/etc/hostname", files.hostname),
        ("/etc/hosts", files.hosts),
    )
    return [
        bind(str(source), target, _ETC_OPTIONS) for target, source in sources if target not in taken
    ]


def asked_mount(mount: Mount, volumes: VolumeDirectories) -> Document:
    """Return one mount that a container asked for; a bind's missing source is made.

    Raises:
        InvalidRequestError: It cannot be made.
    """
    access = "ro" if mount.read_only else "rw"
    if mount.kind == "tmpfs":
        asked = [option for option in mount.options.split(",") if option]
        lifted = {f"no{option}" for option in asked}
        options = [word for word in ("nosuid", "nodev", "noexec") if word not in lifted]
        options += [access, *(option for option in asked if f"no{option}" not in _TMPFS_GUARDS)]
        return {
            "destination": mount.target,
            "type": "tmpfs",
            "source": "tmpfs",
            "options": options,
        }
    words = ["rbind" if mount.is_recursive else "bind", access, mount.propagation or "rprivate"]
    if mount.kind == "volume":
        return bind(str(volumes.create(mount.source)[0]), mount.target, words)
    _make_source(mount)
    return bind(mount.source, mount.target, words)


def _make_source(mount: Mount) -> None:
    if not mount.from_binds:
        return
    try:
        Path(mount.source).mkdir(mode=0o755, parents=True, exist_ok=True)
    except FileExistsError:
        return  # a file: bound as one
    except OSError as error:
        raise InvalidRequestError(
            f"error while creating mount source path '{mount.source}': {error.strerror}"
        ) from error


def bind(source: str, target: str, options: list[str]) -> Document:
    """Return one bind mount."""
    return {"destination": target, "type": "bind", "source": source, "options": options}
