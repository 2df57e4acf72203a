# SPDX-License-Identifier: Apache-2.0
"""Whose a container is, on an engine without sessions: the process that made it.

The label names machine, boot, process and its start, so the process can be told
from every other. What carries the label of one that is gone is removed by the
next run on the same machine.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from toolkit.client import ApiError
from toolkit.client.query import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from toolkit.client import Client

OWNER_LABEL: Final = "toolkit.owner"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_START_TIME: Final = 19  # fields of /proc/PID/stat behind the command's name, proc(5)


def own_name() -> str:
    """Return the label of this process."""
    return f"{_machine()}/{os.getpid()}/{_started(os.getpid())}"


def is_gone(owner: str) -> bool:
    """Tell whether a label names a process of this machine that has ended."""
    machine, _, rest = owner.partition("/")
    pid, _, started = rest.partition("/")
    if machine != _machine() or not pid.isdecimal():
        return False
    return _started(int(pid)) != started


def remove_orphans(client: Client) -> list[str]:
    """Remove what processes of this machine left on an engine that could not know; return ids."""
    filters = {"label": [OWNER_LABEL]}
    removed = []
    for container in _orphans(client.containers.list(every=True, filters=filters)):
        with suppress(ApiError):
            client.containers.remove(container["Id"], force=True, volumes=True)
            removed.append(str(container["Id"]))
    for network in _orphans(client.request("GET", "/networks", query={"filters": filters}).json()):
        with suppress(ApiError):
            client.request("DELETE", f"/networks/{quote(network['Id'])}").read()
            removed.append(str(network["Id"]))
    for volume in _orphans(client.volumes.list(filters=filters)):
        with suppress(ApiError):
            client.volumes.remove(volume["Name"], force=True)
            removed.append(str(volume["Name"]))
    return removed


def _orphans(found: Iterable[Mapping[str, Any]] | None) -> Iterable[Mapping[str, Any]]:
    return (one for one in found or () if is_gone((one.get("Labels") or {}).get(OWNER_LABEL, "")))


def _machine() -> str:
    with suppress(OSError):
        return _BOOT_ID.read_text(encoding="ascii").strip()
    return socket.gethostname()


def _started(pid: int) -> str:
    """Return when a process began; empty if there is none, or this system does not tell."""
    with suppress(OSError, IndexError):
        status = (Path("/proc") / str(pid) / "stat").read_text(encoding="latin-1")
        return status.rpartition(")")[2].split()[_START_TIME]
    return ""
