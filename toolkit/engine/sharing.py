# SPDX-License-Identifier: Apache-2.0
"""Which namespaces a container shares: the host's, another container's, or none.

A reference to another container is made an id at create; its process is looked
up at each start, when it has to run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import InvalidRequestError
from toolkit.runtime.document import NAMESPACES

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolkit.engine.model import ContainerRecord, ContainerSpec, HostOptions

_PREFIX: Final = "container:"
# OCI's word, the option, its file below /proc/PID/ns.
_SHAREABLE: Final = (
    ("pid", "pid_mode", "pid"),
    ("ipc", "ipc_mode", "ipc"),
    ("network", "network_mode", "net"),
)
_OF_THE_HOST: Final = {
    "pid": "pid_mode",
    "ipc": "ipc_mode",
    "uts": "uts_mode",
    "cgroup": "cgroupns_mode",
    "network": "network_mode",
}
_HAS_AN_IPC_OF_ITS_OWN: Final = frozenset(("", "private", "shareable"))


def resolved_sharing(spec: ContainerSpec, find: Callable[[str], ContainerRecord]) -> ContainerSpec:
    """Return a request whose references to other containers are ids.

    Raises:
        InvalidRequestError: The other one has nothing to share.
        ContainerNotFoundError: There is no such container.
    """
    host = spec.host
    for _, option, _ in _SHAREABLE:
        mode = str(getattr(host, option))
        if is_shared(mode):
            peer = find(mode.removeprefix(_PREFIX))
            host = replace(host, **{option: f"{_PREFIX}{peer.id}"})  # type: ignore[arg-type]  # a field by its name
            if option == "network_mode":
                spec = replace(spec, hostname=peer.spec.hostname)
            if option == "ipc_mode" and peer.spec.host.ipc_mode not in _HAS_AN_IPC_OF_ITS_OWN:
                raise InvalidRequestError(
                    f"cannot join IPC of container {peer.id}: it has none of its own"
                )
    return replace(spec, host=host)


def is_shared(mode: str) -> bool:
    """Say whether a mode names another container, or would."""
    return mode.startswith(_PREFIX)


def shared_with(mode: str) -> str:
    """Return the container whose namespace a mode names; empty for none."""
    return mode.removeprefix(_PREFIX) if mode.startswith(_PREFIX) else ""


def namespaces_of(host: HostOptions, pid_of: Callable[[str], int]) -> list[dict[str, Any]]:
    """Return OCI ``linux.namespaces``: own ones, and others' by path; the host's are left out.

    Raises:
        ConflictError: A container to share with does not run.
    """
    left_out = {
        kind for kind, option in _OF_THE_HOST.items() if str(getattr(host, option)) == "host"
    }
    paths = {}
    for kind, option, file in _SHAREABLE:
        if peer := shared_with(str(getattr(host, option))):
            paths[kind] = f"/proc/{pid_of(peer)}/ns/{file}"
    return [
        {"type": kind, "path": paths[kind]} if kind in paths else {"type": kind}
        for kind in NAMESPACES
        if kind not in left_out
    ]


def has_own_network(host: HostOptions) -> bool:
    """Say whether a container's network namespace is made for it."""
    return host.network_mode != "host" and not shared_with(host.network_mode)
