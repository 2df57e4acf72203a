# SPDX-License-Identifier: Apache-2.0
"""The engine and its host as docker shows them: ``/info`` and ``/version``."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any, Final

from toolkit import __version__
from toolkit.api.router import MAXIMUM_VERSION, MINIMUM_VERSION, version_text
from toolkit.api.times import NEVER, rfc3339_nano
from toolkit.config import BACKENDS

if TYPE_CHECKING:
    from toolkit.engine.info import EngineInfo

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_LOOPBACK: Final = "127.0.0.0/8"
_INDEX: Final = "https://index.docker.io/v1/"
_ALWAYS: Final[dict[str, Any]] = {
    "Plugins": {
        "Volume": ["local"],
        "Network": ["bridge", "host", "null"],
        "Authorization": None,
        "Log": ["json-file"],
    },
    "Debug": False,
    "LoggingDriver": "json-file",
    "CgroupDriver": "cgroupfs",
    "OSType": "linux",
    "IndexServerAddress": _INDEX,
    "GenericResources": None,
    "HttpProxy": "",
    "HttpsProxy": "",
    "NoProxy": "",
    "ExperimentalBuild": False,
    "ServerVersion": __version__,
    "Swarm": {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive"},
    "LiveRestoreEnabled": True,
    "Isolation": "",
    "InitBinary": "",
    "ContainerdCommit": {"ID": "", "Expected": ""},
    "RuncCommit": {"ID": "", "Expected": ""},
    "InitCommit": {"ID": "", "Expected": ""},
}


def version_object(info: EngineInfo) -> dict[str, Any]:
    """Return what ``GET /version`` shows."""
    details = {
        "ApiVersion": version_text(MAXIMUM_VERSION),
        "Arch": _ARCHITECTURES.get(info.architecture, info.architecture),
        "BuildTime": NEVER,
        "Experimental": "false",
        "GitCommit": "none",
        "GoVersion": f"python{platform.python_version()}",
        "KernelVersion": info.kernel_version,
        "MinAPIVersion": version_text(MINIMUM_VERSION),
        "Os": "linux",
    }
    return {
        "Platform": {"Name": "container-toolkit"},
        "Components": [{"Name": "Engine", "Version": __version__, "Details": details}],
        "Version": __version__,
        **details,
        "Experimental": False,
    }


def info_object(info: EngineInfo, listener_count: int) -> dict[str, Any]:
    """Return what ``GET /info`` shows."""
    return {
        **_ALWAYS,
        **_counts(info),
        **_abilities(info),
        **_host(info),
        "ID": info.id,
        "Driver": info.driver,
        "DriverStatus": info.driver_status,
        "DockerRootDir": info.data_dir,
        "NEventsListener": listener_count,
        "RegistryConfig": _registries(info),
        "Labels": [f"toolkit.instance={info.instance_name}"],
        "Runtimes": {backend: {"path": backend} for backend in BACKENDS},
        "DefaultRuntime": info.backend,
        "SecurityOptions": info.security_options,
        "Warnings": info.warnings or None,
    }


def _host(info: EngineInfo) -> dict[str, Any]:
    """Return what it tells of the machine."""
    return {
        "Name": info.host_name,
        "SystemTime": rfc3339_nano(info.system_time),
        "CgroupVersion": str(info.cgroup_version),
        "KernelVersion": info.kernel_version,
        "OperatingSystem": info.operating_system,
        "OSVersion": info.os_version,
        "Architecture": info.architecture,
    }


def _registries(info: EngineInfo) -> dict[str, Any]:
    """Return how registries are reached; this machine's own needs no TLS."""
    networks = [text for text in info.insecure_registries if "/" in text]
    hosts = [text for text in info.insecure_registries if "/" not in text]
    mirrors = list(info.registry_mirrors)
    hub = {"Name": "docker.io", "Mirrors": mirrors, "Secure": True, "Official": True}
    others = {
        name: {"Name": name, "Mirrors": [], "Secure": False, "Official": False} for name in hosts
    }
    return {
        "AllowNondistributableArtifactsCIDRs": None,
        "AllowNondistributableArtifactsHostnames": None,
        "InsecureRegistryCIDRs": [*networks, _LOOPBACK],
        "IndexConfigs": {"docker.io": hub, **others},
        "Mirrors": mirrors,
    }


def _counts(info: EngineInfo) -> dict[str, int]:
    """Return how many of everything there are."""
    return {
        "Containers": info.containers,
        "ContainersRunning": info.containers_running,
        "ContainersPaused": info.containers_paused,
        "ContainersStopped": info.containers_stopped,
        "Images": info.images,
        "NFd": info.open_descriptors,
        "NGoroutines": info.tasks,
        "NCPU": info.cpu_count,
        "MemTotal": info.memory_bytes,
    }


def _abilities(info: EngineInfo) -> dict[str, bool]:
    """Return what this host can limit and do."""
    limits = info.limits
    return {
        "MemoryLimit": limits.memory,
        "SwapLimit": limits.swap,
        "CpuCfsPeriod": limits.cpu_quota,
        "CpuCfsQuota": limits.cpu_quota,
        "CPUShares": limits.cpu_shares,
        "CPUSet": limits.cpuset,
        "PidsLimit": limits.pids,
        "OomKillDisable": limits.oom_kill_disable,
        "IPv4Forwarding": info.ipv4_forwarding,
        "BridgeNfIptables": info.bridge_nf_iptables,
        "BridgeNfIp6tables": info.bridge_nf_ip6tables,
    }
