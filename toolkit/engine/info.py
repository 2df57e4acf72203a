# SPDX-License-Identifier: Apache-2.0
"""What an engine says about itself and its host, as facts; docker's form is the API's."""

from __future__ import annotations

import os
import platform
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import __version__
from toolkit.engine.model import State

if TYPE_CHECKING:
    from toolkit.engine.context import EngineContext
    from toolkit.engine.limits import HostLimits

_KIB = 1024


@dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """An engine and its host.

    Attributes:
        id: Stays the same for one instance on one machine.
        memory_bytes: Of the host.
        warnings: What the kernel lacks, in docker's words.
        security_options: docker's ``name=...`` texts.
        insecure_registries: Hosts and networks (CIDR) that need no TLS.
        registry_mirrors: URLs that are asked before Docker Hub.
    """

    id: str
    instance_name: str
    backend: str
    engine_version: str
    data_dir: str
    containers: int
    containers_running: int
    containers_paused: int
    containers_stopped: int
    images: int
    driver: str
    driver_status: tuple[tuple[str, str], ...]
    cgroup_version: int
    kernel_version: str
    operating_system: str
    os_version: str
    architecture: str
    cpu_count: int
    memory_bytes: int
    host_name: str
    system_time: datetime
    open_descriptors: int
    tasks: int
    limits: HostLimits
    ipv4_forwarding: bool
    bridge_nf_iptables: bool
    bridge_nf_ip6tables: bool
    warnings: tuple[str, ...] = ()
    security_options: tuple[str, ...] = field(default=())
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()


async def collect_info(context: EngineContext) -> EngineInfo:
    """Return the facts as they are now."""
    return await context.on_host(_collect, context)


def limit_warnings(limits: HostLimits) -> list[str]:
    """Return docker's warning for each limit that this host cannot hold."""
    words = {
        "memory": "memory limit",
        "swap": "swap limit",
        "oom_kill_disable": "oom kill disable",
        "cpu_quota": "cpu cfs quota",
        "cpu_shares": "cpu shares",
        "cpuset": "cpuset",
        "pids": "pids limit",
    }
    return [
        f"WARNING: No {text} support" for name, text in words.items() if not getattr(limits, name)
    ]


def _collect(context: EngineContext) -> EngineInfo:
    running, paused, total = _counted(context)
    release = _os_release()
    forwarding = _is_on("/proc/sys/net/ipv4/ip_forward")
    warnings = limit_warnings(context.limits)
    if not forwarding:
        warnings.append("WARNING: IPv4 forwarding is disabled")
    layers = context.parts.layers
    return EngineInfo(
        id=_machine_id(context.instance.name),
        instance_name=context.instance.name,
        backend=context.instance.backend,
        engine_version=__version__,
        data_dir=str(context.instance.data_dir),
        containers=total,
        containers_running=running,
        containers_paused=paused,
        containers_stopped=total - running - paused,
        images=len(context.parts.images.list()),
        driver=layers.driver_name,
        driver_status=(("Backing Directory", str(context.instance.data_dir)),),
        cgroup_version=context.parts.cgroups.version,
        kernel_version=platform.release(),
        operating_system=release.get("PRETTY_NAME", "Linux"),
        os_version=release.get("VERSION_ID", ""),
        architecture=platform.machine(),
        cpu_count=os.cpu_count() or 1,
        memory_bytes=_memory_bytes(),
        host_name=platform.node(),
        system_time=datetime.now(UTC),
        open_descriptors=len(list(Path("/proc/self/fd").iterdir())),
        tasks=len(context.tasks),
        limits=context.limits,
        ipv4_forwarding=forwarding,
        bridge_nf_iptables=_is_on("/proc/sys/net/bridge/bridge-nf-call-iptables"),
        bridge_nf_ip6tables=_is_on("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
        warnings=tuple(warnings),
        security_options=("name=seccomp,profile=builtin", "name=cgroupns"),
        insecure_registries=context.instance.insecure_registries,
        registry_mirrors=context.instance.registry_mirrors,
    )


def _counted(context: EngineContext) -> tuple[int, int, int]:
    """Return how many containers run, are paused, and are there at all."""
    states = Counter(container.record.state.status for container in context.index.newest_first())
    running = states[State.RUNNING] + states[State.RESTARTING] + states[State.STARTING]
    return running, states[State.PAUSED], states.total()


def _machine_id(instance_name: str) -> str:
    machine = _text("/etc/machine-id").strip() or "0" * 32
    return f"{machine}-{instance_name}"


def _os_release() -> dict[str, str]:
    lines = (line.partition("=") for line in _text("/etc/os-release").splitlines())
    return {name: value.strip('"') for name, equals, value in lines if equals}


def _memory_bytes() -> int:
    for line in _text("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemTotal":
            return int(rest.split()[0]) * _KIB
    return 0


def _is_on(path: str) -> bool:
    return _text(path).startswith("1")


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
