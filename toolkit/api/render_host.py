# SPDX-License-Identifier: Apache-2.0
"""``HostConfig`` as docker shows it: every field, also those that nobody set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from toolkit.runtime.document import MASKED_PATHS, READONLY_PATHS

if TYPE_CHECKING:
    from toolkit.engine.model import (
        ContainerRecord,
        Device,
        HostOptions,
        Limits,
        Mount,
        PortBinding,
        RestartPolicy,
        Ulimit,
    )

_UNCOVERED: Final = frozenset({"systempaths=unconfined", "systempaths:unconfined"})
_ALWAYS: Final = {"VolumeDriver": "", "Cgroup": "", "StorageOpt": None, "Isolation": ""}


def host_config(record: ContainerRecord) -> dict[str, Any]:
    """Return ``HostConfig``."""
    host = record.spec.host
    return {
        **_ALWAYS,
        **_network(host),
        **_isolation(host),
        **resources(record.spec.limits),
        "Binds": [bind_text(mount) for mount in host.mounts if _is_bind_text(mount)] or None,
        "ContainerIDFile": host.container_id_file,
        "LogConfig": {"Type": "json-file", "Config": host.log_options},
        "RestartPolicy": restart_policy(host.restart_policy),
        "AutoRemove": host.auto_remove,
        "VolumesFrom": host.volumes_from or None,
        "ConsoleSize": list(host.console_size),
        "Tmpfs": host.tmpfs or None,
        "Runtime": record.backend,
        "Mounts": [_mount(mount) for mount in host.mounts if not _is_bind_text(mount)] or None,
        "Init": host.init,
        "LxcConf": [{"Key": key, "Value": value} for key, value in host.lxc_conf],
    }


def _network(host: HostOptions) -> dict[str, Any]:
    """Return how it is reached, and whom it reaches by which name."""
    return {
        "NetworkMode": host.network_mode,
        "PortBindings": port_bindings(host),
        "Dns": host.dns,
        "DnsOptions": host.dns_options,
        "DnsSearch": host.dns_search,
        "ExtraHosts": host.extra_hosts or None,
        "Links": host.links or None,  # those of the default bridge are the engine's to say
        "PublishAllPorts": host.publish_all_ports,
    }


def _isolation(host: HostOptions) -> dict[str, Any]:
    """Return what it shares with the host, and what it may do there."""
    return {
        "CapAdd": host.cap_add or None,
        "CapDrop": host.cap_drop or None,
        "CgroupnsMode": host.cgroupns_mode or "host",
        "GroupAdd": host.group_add or None,
        "IpcMode": host.ipc_mode or "private",
        "OomScoreAdj": host.oom_score_adj,
        "PidMode": host.pid_mode,
        "Privileged": host.privileged,
        "ReadonlyRootfs": host.read_only_rootfs,
        "SecurityOpt": host.security_options or None,
        "UTSMode": host.uts_mode,
        "UsernsMode": host.userns_mode,
        "ShmSize": host.shm_size_bytes,
        "Sysctls": host.sysctls or None,
        "Devices": [_device(device) for device in host.devices],
        "Ulimits": [_ulimit(limit) for limit in host.ulimits],
        "MaskedPaths": _covered_paths(host, host.masked_paths, MASKED_PATHS),
        "ReadonlyPaths": _covered_paths(host, host.readonly_paths, READONLY_PATHS),
    }


def _covered_paths(
    host: HostOptions, chosen: tuple[str, ...] | None, usual: tuple[str, ...]
) -> tuple[str, ...] | None:
    """Return the paths that are covered in a container; null for a privileged one."""
    if host.privileged or _UNCOVERED & {*host.security_options}:
        return None
    return usual if chosen is None else chosen


def resources(limits: Limits) -> dict[str, Any]:
    """Return what ``HostConfig`` says about limits."""
    return {
        "CpuShares": limits.cpu_shares,
        "Memory": limits.memory_bytes,
        "NanoCpus": limits.nano_cpus,
        "CgroupParent": "",
        "BlkioWeight": limits.blkio_weight,
        "BlkioWeightDevice": [],
        "BlkioDeviceReadBps": [],
        "BlkioDeviceWriteBps": [],
        "BlkioDeviceReadIOps": [],
        "BlkioDeviceWriteIOps": [],
        "CpuPeriod": limits.cpu_period_us,
        "CpuQuota": limits.cpu_quota_us,
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "DeviceCgroupRules": None,
        "DeviceRequests": None,
        "MemoryReservation": limits.memory_reservation_bytes,
        "MemorySwap": limits.memory_swap_bytes,
        "MemorySwappiness": None,
        "OomKillDisable": limits.oom_kill_disable,
        "PidsLimit": limits.pids,
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }


def restart_policy(policy: RestartPolicy) -> dict[str, Any]:
    """Return ``RestartPolicy``."""
    return {"Name": policy.name, "MaximumRetryCount": policy.maximum_retries}


def port_bindings(host: HostOptions) -> dict[str, Any]:
    """Return ``PortBindings``: what was asked for."""
    return {
        port: [
            {
                "HostIp": binding.host_ip,
                "HostPort": _host_port(binding),
            }
            for binding in bindings
        ]
        for port, bindings in host.published_ports.items()
    }


def _host_port(binding: PortBinding) -> str:
    """Return the port or the range of a binding; nothing where the engine chooses."""
    if not binding.host_port:
        return ""
    last = f"-{binding.last_host_port}" if binding.last_host_port else ""
    return f"{binding.host_port}{last}"


def bind_text(mount: Mount) -> str:
    """Return one of ``Binds``, as it came."""
    modes = f":{mount.options}" if mount.options else ":ro" if mount.read_only else ""
    return f"{mount.source}:{mount.target}{modes}"


def _is_bind_text(mount: Mount) -> bool:
    """Say whether a mount came in ``Binds``."""
    return mount.from_binds and mount.kind != "tmpfs" and bool(mount.source)


def _mount(mount: Mount) -> dict[str, Any]:
    """Return one of ``HostConfig.Mounts``."""
    document: dict[str, Any] = {"Type": mount.kind, "Target": mount.target}
    if mount.source:
        document["Source"] = mount.source
    if mount.read_only:
        document["ReadOnly"] = True
    if mount.kind == "bind" and mount.propagation != "rprivate":
        document["BindOptions"] = {"Propagation": mount.propagation}
    return document


def _device(device: Device) -> dict[str, str]:
    """Return one of ``Devices``."""
    return {
        "PathOnHost": device.host_path,
        "PathInContainer": device.container_path,
        "CgroupPermissions": device.permissions,
    }


def _ulimit(limit: Ulimit) -> dict[str, Any]:
    """Return one of ``Ulimits``."""
    return {"Name": limit.name, "Hard": limit.hard, "Soft": limit.soft}
