# SPDX-License-Identifier: Apache-2.0
"""From a launch document to the settings of LXC >= 3: 0.7.2's template, row by row.

Owns which setting stands for which word of the document (rule 4.3). As with
0.7.2 the file says what the container is; who the program runs as, its
environment, its directory and the last of its privileges are the init's
(rule 4.6; here `toolkit.runtime.lxc.calls`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import InvalidRequestError
from toolkit.kernel.capabilities import CAPABILITIES
from toolkit.kernel.cgroup_v2 import cpu_weight, io_weight
from toolkit.kernel.device_filter import DeviceRules
from toolkit.runtime.lxc.config_writer import ConfigWriter, Family, Key, MountEntry
from toolkit.runtime.lxc.passthrough import add_passthrough

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Document = dict[str, Any]

INIT_PATH: Final = "/dev/.toolkit-first-step"
# LXC's words for the kinds of namespaces; "mount" is always the container's own.
_NAMESPACES: Final = {
    "pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup",
}  # fmt: skip
# What the first step needs before it gives them up.
_NEEDED_BY_INIT: Final = frozenset(
    {"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SETPCAP", "CAP_SETGID", "CAP_SETUID", "CAP_SYS_ADMIN",
     "CAP_SYS_RESOURCE"}
)  # fmt: skip
_LAST_WORD: Final = CAPABILITIES.index("CAP_AUDIT_READ")


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """What of this host a configuration depends on.

    Attributes:
        capabilities: Names that the kernel and LXC both know, and that we hold.
    """

    cgroup_version: int
    has_apparmor: bool = False
    capabilities: tuple[str, ...] = CAPABILITIES


def configuration(
    document: Document, *, root_path: str, mounts: Sequence[MountEntry], facts: HostFacts
) -> ConfigWriter:
    """Return the configuration that LXC makes the container of *document* from.

    Args:
        document: The launch document.
        root_path: Where the root is mounted for LXC.
        mounts: What LXC mounts in it, in order.
        facts: See `HostFacts`.

    Raises:
        InvalidRequestError: Something of the document cannot stand in a configuration.
    """
    writer = ConfigWriter()
    _add_namespaces(writer, document)
    writer.set(Key.ROOTFS_PATH, f"dir:{root_path}", field="root path")
    own = {entry["type"] for entry in document["linux"]["namespaces"] if not entry.get("path")}
    if document.get("hostname") and "uts" in own:
        writer.set(Key.UTS_NAME, document["hostname"], field="hostname")
    writer.set(Key.PTY_MAX, 1024)
    writer.set(Key.CONSOLE_PATH, "none")
    writer.set(Key.TTY_MAX, 1)
    writer.set(Key.AUTODEV, 0)
    for entry in mounts:
        writer.mount(entry)
    _add_cgroup(writer, document, facts.cgroup_version)
    _add_security(writer, document, facts)
    for name, value in (document["linux"].get("sysctl") or {}).items():
        writer.set_in(Family.SYSCTL, name, value, field=f"sysctl {name!r}")
    adjustment = document["process"].get("oomScoreAdj")
    if adjustment is not None:
        writer.set_in(Family.PROC, "oom_score_adj", adjustment)
    writer.set(Key.INIT_COMMAND, INIT_PATH)
    add_passthrough(writer, document["annotations"], facts.cgroup_version)
    return writer


def _add_namespaces(writer: ConfigWriter, document: Document) -> None:
    paths = {entry["type"]: entry.get("path") for entry in document["linux"]["namespaces"]}
    unknown = paths.keys() - {*_NAMESPACES, "mount"}
    if unknown or "mount" not in paths:
        raise InvalidRequestError(
            f"the lxc backend cannot make these namespaces: {', '.join(sorted(paths))}"
        )
    # Named one by one: with "keep" LXC makes all others, a user namespace among them.
    made = [word for kind, word in _NAMESPACES.items() if kind in paths and not paths[kind]]
    writer.set(Key.NAMESPACE_CLONE, " ".join(("mnt", *made)))
    for kind, word in _NAMESPACES.items():
        if paths.get(kind):
            writer.set_in(Family.NAMESPACE_SHARE, word, paths[kind], field=f"{kind} namespace")
    if "network" not in paths:
        writer.set_in(Family.NET, "0.type", "none")
    elif not paths["network"]:
        writer.set_in(Family.NET, "0.type", "empty")
        writer.set_in(Family.NET, "0.flags", "up")  # the loopback interface


def _add_cgroup(writer: ConfigWriter, document: Document, version: int) -> None:
    path = document["linux"]["cgroupsPath"].strip("/")
    writer.set(Key.CGROUP_DIR_CONTAINER, path, field="cgroup")
    writer.set(Key.CGROUP_DIR_MONITOR, monitor_group(path), field="cgroup")
    resources = document["linux"].get("resources") or {}
    family = Family.CGROUP if version == 1 else Family.CGROUP2
    rules = resources.get("devices")
    if rules:
        for file, line in DeviceRules.reduce(rules).v1_lines():
            writer.set_in(family, file, line)
    limits = _v1_limits(resources) if version == 1 else _v2_limits(resources)
    for file, value in limits:
        writer.set_in(family, file, value)


def monitor_group(path: str) -> str:
    """Return the group in which LXC's monitor stands while it makes the one at *path*."""
    parent, _, name = path.rpartition("/")
    own = f"lxc-monitor-{name}"
    return f"{parent}/{own}" if parent else own


def _v1_limits(resources: Document) -> Iterator[tuple[str, str | int]]:
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    files = (
        ("memory.limit_in_bytes", memory.get("limit")),
        ("memory.soft_limit_in_bytes", memory.get("reservation")),
        ("memory.memsw.limit_in_bytes", memory.get("swap")),
        ("cpu.shares", cpu.get("shares")),
        ("cpu.cfs_period_us", cpu.get("period")),
        ("cpu.cfs_quota_us", cpu.get("quota")),
        ("cpuset.cpus", cpu.get("cpus")),
        ("cpuset.mems", cpu.get("mems")),
        ("pids.max", _pids(resources)),
    )
    return ((file, value) for file, value in files if value)


def _v2_limits(resources: Document) -> Iterator[tuple[str, str | int]]:
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
    weight = (resources.get("blockIO") or {}).get("weight")
    swap_max: str | int = max(swap - limit, 0) if swap > 0 and limit > 0 else ""
    files = (
        ("memory.max", limit),
        ("memory.low", memory.get("reservation")),
        ("cpu.weight", cpu_weight(cpu["shares"]) if cpu.get("shares") else 0),
        ("cpu.max", f"{quota if quota > 0 else 'max'} {period or 100000}"
         if quota or period else ""),
        ("cpuset.cpus", cpu.get("cpus")),
        ("cpuset.mems", cpu.get("mems")),
        ("io.weight", io_weight(weight) if weight else 0),
        ("pids.max", _pids(resources)),
    )  # fmt: skip
    if swap_max != "":
        yield "memory.swap.max", swap_max
    elif swap < 0:
        yield "memory.swap.max", "max"
    yield from ((file, value) for file, value in files if value)


def _pids(resources: Document) -> str | int:
    limit: int = (resources.get("pids") or {}).get("limit") or 0
    return "max" if limit < 0 else limit


def _add_security(writer: ConfigWriter, document: Document, facts: HostFacts) -> None:
    """Drop the capabilities that nobody needs any more; the first step drops the rest."""
    kept = set(document["process"]["capabilities"].get("bounding") or ())
    is_privileged = kept >= set(facts.capabilities)
    for name in facts.capabilities:
        if name not in kept and name not in _NEEDED_BY_INIT:
            writer.set(Key.CAP_DROP, _lxc_capability(name))
    if is_privileged and facts.has_apparmor:
        writer.set(Key.APPARMOR_PROFILE, "unconfined")


def _lxc_capability(name: str) -> str:
    """Return LXC's word for a capability; those that older ones have no word for, by number."""
    number = CAPABILITIES.index(name)
    return name.removeprefix("CAP_").lower() if number <= _LAST_WORD else str(number)
