# SPDX-License-Identifier: Apache-2.0
"""From docker's bodies to the engine's values: forms only, rules are the engine's.

What this version cannot do is refused where leaving it out would be dangerous or
surprising, and becomes a warning of create where it would not.
"""

from __future__ import annotations

from typing import Final, Literal, cast

from toolkit.api import schemas
from toolkit.api.decode_mounts import read_mounts, read_volumes
from toolkit.api.decode_network import network_name, read_endpoints
from toolkit.api.decode_ports import read_exposed_ports, read_published_ports
from toolkit.config import BACKEND_LABEL, BACKENDS
from toolkit.engine.model import (
    ContainerSpec,
    Device,
    ExecSpec,
    HealthCheck,
    HostOptions,
    Limits,
    RestartPolicy,
    Ulimit,
)
from toolkit.errors import InvalidRequestError

PolicyName = Literal["no", "always", "on-failure", "unless-stopped"]

_POLICIES: Final = ("no", "always", "on-failure", "unless-stopped")
_LOG_DRIVERS: Final = frozenset({"", "json-file"})
_OWN_RUNTIMES: Final = frozenset({"", "toolkit", "runc", "io.containerd.runc.v2"})
_DEFAULT_SHM_BYTES: Final = 64 * 1024 * 1024
_OOM_SCORES: Final = range(-1000, 1001)
_SHORTEST_CHECK_NS: Final = 1_000_000
_CHECK_KINDS: Final = ("NONE", "CMD", "CMD-SHELL")
_IGNORED: Final = (
    "blkio_weight_device",
    "blkio_device_read_bps",
    "blkio_device_write_bps",
    "blkio_device_read_iops",
    "blkio_device_write_iops",
    "cpu_realtime_period",
    "cpu_realtime_runtime",
    "device_cgroup_rules",
    "kernel_memory",
    "cgroup_parent",
    "storage_opt",
)


def container_spec(body: schemas.CreateBody) -> tuple[ContainerSpec, list[str]]:
    """Return what a create body asks for, and warnings about what is left out."""
    host = body.host_config or schemas.HostConfig()
    if not body.image:
        raise InvalidRequestError("no image specified")
    spec = ContainerSpec(
        image=body.image,
        command=_words(body.cmd),
        entrypoint=_words(body.entrypoint),
        env=tuple(body.env or ()),
        user=body.user or "",
        working_dir=body.working_dir or "",
        hostname=body.hostname or "",
        domainname=body.domainname or "",
        has_tty=bool(body.tty),
        open_stdin=bool(body.open_stdin),
        stdin_once=bool(body.stdin_once),
        attach_stdin=bool(body.attach_stdin),
        attach_stdout=bool(body.attach_stdout),
        attach_stderr=bool(body.attach_stderr),
        labels=body.labels or {},
        exposed_ports=read_exposed_ports(body.exposed_ports, host.port_bindings),
        volumes=read_volumes(body.volumes),
        network_disabled=bool(body.network_disabled),
        mac_address=body.mac_address or "",
        endpoints=read_endpoints(body.networking_config, host.network_mode),
        on_build=tuple(body.on_build or ()),
        shell=_words(body.shell) or (),
        stop_signal=body.stop_signal or "",
        stop_timeout_seconds=body.stop_timeout,
        health=health_check(body.healthcheck),
        limits=limits(host),
        host=_host_options(body, host),
    )
    return spec, _warnings(host)


def limits(resources: schemas.Resources) -> Limits:
    """Return what a body says about limits."""
    return Limits(
        memory_bytes=resources.memory or 0,
        memory_swap_bytes=resources.memory_swap or 0,
        memory_reservation_bytes=resources.memory_reservation or 0,
        cpu_shares=resources.cpu_shares or 0,
        cpu_period_us=resources.cpu_period or 0,
        cpu_quota_us=resources.cpu_quota or 0,
        nano_cpus=resources.nano_cpus or 0,
        cpuset_cpus=resources.cpuset_cpus or "",
        cpuset_mems=resources.cpuset_mems or "",
        pids=resources.pids_limit or None,
        blkio_weight=resources.blkio_weight or 0,
        oom_kill_disable=bool(resources.oom_kill_disable),
    )


def health_check(wire: schemas.Healthcheck | None) -> HealthCheck | None:
    """Return a health check; one that says nothing takes the image's."""
    if wire is None:
        return None
    for name in ("interval", "timeout", "start_period", "start_interval"):
        value = getattr(wire, name) or 0
        if value and value < _SHORTEST_CHECK_NS:
            raise InvalidRequestError(f"{wire_name(name)} in Healthcheck cannot be less than 1ms")
    if (wire.retries or 0) < 0:
        raise InvalidRequestError("Retries in Healthcheck cannot be negative")
    test = tuple(wire.test or ())
    if test and test[0] not in _CHECK_KINDS:
        raise InvalidRequestError(f"Unknown healthcheck type '{test[0]}' (expected 'CMD')")
    return HealthCheck(
        test=test,
        interval_ns=wire.interval or 0,
        timeout_ns=wire.timeout or 0,
        start_period_ns=wire.start_period or 0,
        start_interval_ns=wire.start_interval or 0,
        retries=wire.retries or 0,
    )


def restart_policy(wire: schemas.RestartPolicy | None) -> RestartPolicy:
    """Return a restart policy; nothing said means ``no``."""
    name = (wire.name if wire else None) or "no"
    retries = (wire.maximum_retry_count if wire else None) or 0
    if name not in _POLICIES:
        raise InvalidRequestError(
            f"invalid restart policy: unknown policy '{name}'; "
            "use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )
    if retries and name != "on-failure":
        raise InvalidRequestError(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        )
    if retries < 0:
        raise InvalidRequestError("invalid restart policy: maximum retry count cannot be negative")
    return RestartPolicy(name=cast("PolicyName", name), maximum_retries=retries)


def exec_spec(body: schemas.ExecBody) -> ExecSpec:
    """Return what an exec body asks for."""
    command = _words(body.cmd)
    if not command:
        raise InvalidRequestError("No exec command specified")
    return ExecSpec(
        command=command,
        env=tuple(body.env or ()),
        user=body.user or "",
        working_dir=body.working_dir or "",
        has_tty=bool(body.tty),
        attach_stdin=bool(body.attach_stdin),
        attach_stdout=bool(body.attach_stdout),
        attach_stderr=bool(body.attach_stderr),
        privileged=bool(body.privileged),
        detach_keys=body.detach_keys or "",
        console_size=console_size(body.console_size),
    )


def console_size(wire: list[int] | None) -> tuple[int, int]:
    """Return rows and columns of a terminal; zeros for a size that is not said."""
    if not wire:
        return 0, 0
    if len(wire) != 2:  # noqa: PLR2004 - rows and columns
        raise InvalidRequestError("ConsoleSize must be [height, width]")
    return wire[0], wire[1]


def _host_options(body: schemas.CreateBody, host: schemas.HostConfig) -> HostOptions:
    """Return what depends on this host."""
    policy = restart_policy(host.restart_policy)
    if host.auto_remove and policy.name != "no":
        raise InvalidRequestError("can't create 'AutoRemove' container with restart policy")
    return HostOptions(
        network_mode=network_name(host.network_mode),
        mounts=read_mounts(host.binds, host.mounts),
        volumes_from=tuple(host.volumes_from or ()),
        published_ports=read_published_ports(host.port_bindings),
        publish_all_ports=bool(host.publish_all_ports),
        links=tuple(host.links or ()),
        privileged=bool(host.privileged),
        cap_add=_words(host.cap_add) or (),
        cap_drop=_words(host.cap_drop) or (),
        group_add=tuple(host.group_add or ()),
        read_only_rootfs=bool(host.readonly_rootfs),
        auto_remove=bool(host.auto_remove),
        restart_policy=policy,
        log_options=_log_options(host.log_config),
        dns=tuple(host.dns or ()),
        dns_search=tuple(host.dns_search or ()),
        dns_options=tuple(host.dns_options or ()),
        extra_hosts=tuple(host.extra_hosts or ()),
        pid_mode=host.pid_mode or "",
        ipc_mode=host.ipc_mode or "",
        uts_mode=host.uts_mode or "",
        cgroupns_mode=host.cgroupns_mode or "",
        userns_mode=host.userns_mode or "",
        security_options=tuple(host.security_opt or ()),
        shm_size_bytes=_shm_size(host),
        tmpfs=host.tmpfs or {},
        sysctls=host.sysctls or {},
        ulimits=tuple(read_ulimit(wire) for wire in host.ulimits or ()),
        devices=tuple(_device(wire) for wire in host.devices or ()),
        oom_score_adj=_oom_score(host),
        init=bool(host.init),
        container_id_file=host.container_id_file or "",
        lxc_conf=tuple((wire.key or "", wire.value or "") for wire in host.lxc_conf or ()),
        masked_paths=None if host.masked_paths is None else tuple(host.masked_paths),
        readonly_paths=None if host.readonly_paths is None else tuple(host.readonly_paths),
        backend=_backend(body, host),
        console_size=console_size(host.console_size),
    )


def _words(value: schemas.Words) -> tuple[str, ...] | None:
    """Return a list of words that may have come as one text; null takes the image's."""
    if value is None:
        return None
    return (value,) if isinstance(value, str) else tuple(value)


def _log_options(wire: schemas.LogConfig | None) -> dict[str, str]:
    """Return the log's options; there is one driver, docker's ``json-file``."""
    if wire is None:
        return {}
    if (wire.type or "") not in _LOG_DRIVERS:
        raise InvalidRequestError(f"logger: no log driver named '{wire.type}' is registered")
    return wire.config or {}


def _shm_size(host: schemas.HostConfig) -> int:
    """Return the size of ``/dev/shm``."""
    size = host.shm_size or 0
    if size < 0:
        raise InvalidRequestError("SHM size can not be less than 0")
    return size or _DEFAULT_SHM_BYTES


def _oom_score(host: schemas.HostConfig) -> int:
    """Return how gladly the kernel should kill it."""
    score = host.oom_score_adj or 0
    if score not in _OOM_SCORES:
        raise InvalidRequestError(
            f"Invalid value {score}, range for oom score adj is [-1000, 1000]"
        )
    return score


def read_ulimit(wire: schemas.Ulimit) -> Ulimit:
    """Return one resource limit."""
    name, soft, hard = (wire.name or "").lower(), wire.soft or 0, wire.hard or 0
    if not name:
        raise InvalidRequestError("invalid ulimit: it has no name")
    if soft > hard != -1:
        raise InvalidRequestError(
            f"invalid ulimit {name}: soft limit must be less than or equal to hard limit: "
            f"{soft} > {hard}"
        )
    return Ulimit(name=name, soft=soft, hard=hard)


def _device(wire: schemas.Device) -> Device:
    """Return one device of the host."""
    host_path = wire.path_on_host or ""
    permissions = wire.cgroup_permissions or "rwm"
    if not host_path.startswith("/"):
        raise InvalidRequestError(f"invalid device path {host_path!r}: it has to be absolute")
    if not set(permissions) <= set("rwm"):
        raise InvalidRequestError(f"invalid device mode: {permissions}")
    return Device(
        host_path=host_path,
        container_path=wire.path_in_container or host_path,
        permissions=permissions,
    )


def _backend(body: schemas.CreateBody, host: schemas.HostConfig) -> str:
    """Return the backend that ``--runtime`` or a label names; empty for the instance's own.

    Only a label of the request: an image has no say in it.
    """
    name = host.runtime or ""
    if name not in BACKENDS and name not in _OWN_RUNTIMES:
        raise InvalidRequestError(f"unknown or invalid runtime name: {name}")
    label = (body.labels or {}).get(BACKEND_LABEL, "")
    if label and label not in BACKENDS:
        raise InvalidRequestError(
            f"label {BACKEND_LABEL}={label}: there is no such backend, but {' and '.join(BACKENDS)}"
        )
    if name in BACKENDS and label and label != name:
        raise InvalidRequestError(
            f"label {BACKEND_LABEL}={label} and runtime {name} are not the same backend"
        )
    return name if name in BACKENDS else label


def _warnings(host: schemas.HostConfig) -> list[str]:
    """Return what was asked for and is left out; refuse what a program would miss at once."""
    if host.device_requests:
        first = host.device_requests[0]
        wanted = " ".join(f"[{' '.join(group or ())}]" for group in first.capabilities or ())
        raise InvalidRequestError(
            f'could not select device driver "{first.driver or ""}" with capabilities: [{wanted}]'
        )
    if (host.isolation or "default") != "default":
        raise InvalidRequestError(f"invalid isolation '{host.isolation}': this is Linux")
    ignored = [name for name in _IGNORED if getattr(host, name)]
    if host.memory_swappiness not in {None, -1}:
        ignored.append("memory_swappiness")
    warnings = [f"{wire_name(name)} is not supported by this engine. Ignored." for name in ignored]
    if host.network_mode == "host" and host.port_bindings:
        warnings.append("Published ports are discarded when using host network mode")
    return warnings


def wire_name(name: str) -> str:
    """Return docker's name of one of our words."""
    return "".join(part.capitalize() for part in name.split("_"))
