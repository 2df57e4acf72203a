# SPDX-License-Identifier: Apache-2.0
"""Request bodies with docker's wire names.

Types are strict, null is allowed everywhere (clients send it for whatever they
leave out), unknown fields are ignored. What a value means is
`toolkit.api.decode`'s.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from toolkit.errors import InvalidRequestError

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Text = str | None
Flag = bool | None
Number = Int64 | None
Texts = list[str] | None
TextMap = dict[str, str] | None
Keys = dict[str, dict[str, Any] | None] | None
Words = str | list[str] | None  # Go's strslice takes one text for a list of one


class Wire(Struct, frozen=True, kw_only=True, rename="pascal"):
    """A body or a part of one; Python's names are docker's in snake case."""


class Healthcheck(Wire, frozen=True):
    """``Healthcheck``; times in nanoseconds."""

    test: Texts = None
    interval: Number = None
    timeout: Number = None
    start_period: Number = None
    start_interval: Number = None
    retries: Number = None


class LogConfig(Wire, frozen=True):
    """``HostConfig.LogConfig``."""

    type: Text = None
    config: TextMap = None


class RestartPolicy(Wire, frozen=True):
    """``HostConfig.RestartPolicy``."""

    name: Text = None
    maximum_retry_count: Number = None


class PortBinding(Wire, frozen=True):
    """One of ``HostConfig.PortBindings``."""

    host_ip: Text = None
    host_port: Text = None


class Ulimit(Wire, frozen=True):
    """One of ``HostConfig.Ulimits``."""

    name: Text = None
    soft: Number = None
    hard: Number = None


class Device(Wire, frozen=True):
    """One of ``HostConfig.Devices``."""

    path_on_host: Text = None
    path_in_container: Text = None
    cgroup_permissions: Text = None


class DeviceRequest(Wire, frozen=True):
    """One of ``HostConfig.DeviceRequests``."""

    driver: Text = None
    capabilities: list[Texts] | None = None


class BindOptions(Wire, frozen=True):
    """``BindOptions`` of a mount."""

    propagation: Text = None
    create_mountpoint: Flag = None
    non_recursive: Flag = None
    read_only_non_recursive: Flag = None


class VolumeDriver(Wire, frozen=True):
    """``DriverConfig`` of a mounted volume."""

    name: Text = None
    options: TextMap = None


class VolumeOptions(Wire, frozen=True):
    """``VolumeOptions`` of a mount."""

    no_copy: Flag = None
    labels: TextMap = None
    driver_config: VolumeDriver | None = None
    subpath: Text = None


class VolumeBody(Wire, frozen=True):
    """The body of a volume's create."""

    name: Text = None
    driver: Text = None
    driver_opts: TextMap = None
    labels: TextMap = None


class TmpfsOptions(Wire, frozen=True):
    """``TmpfsOptions`` of a mount."""

    size_bytes: Number = None
    mode: Number = None
    options: list[list[str]] | None = None


class MountPoint(Wire, frozen=True):
    """One of ``HostConfig.Mounts``."""

    type: Text = None
    source: Text = None
    target: Text = None
    read_only: Flag = None
    bind_options: BindOptions | None = None
    tmpfs_options: TmpfsOptions | None = None
    volume_options: VolumeOptions | None = None


class LxcSetting(Wire, frozen=True):
    """One of 0.7.2's ``LxcConf``."""

    key: Text = None
    value: Text = None


class Resources(Wire, frozen=True):
    """What ``update`` takes and create's ``HostConfig`` holds."""

    cpu_shares: Number = None
    memory: Number = None
    nano_cpus: Number = None
    cgroup_parent: Text = None
    blkio_weight: Number = None
    blkio_weight_device: list[Any] | None = None
    blkio_device_read_bps: list[Any] | None = None
    blkio_device_write_bps: list[Any] | None = None
    blkio_device_read_iops: list[Any] | None = field(default=None, name="BlkioDeviceReadIOps")
    blkio_device_write_iops: list[Any] | None = field(default=None, name="BlkioDeviceWriteIOps")
    cpu_period: Number = None
    cpu_quota: Number = None
    cpu_realtime_period: Number = None
    cpu_realtime_runtime: Number = None
    cpuset_cpus: Text = None
    cpuset_mems: Text = None
    devices: list[Device] | None = None
    device_cgroup_rules: Texts = None
    device_requests: list[DeviceRequest] | None = None
    kernel_memory: Number = None
    memory_reservation: Number = None
    memory_swap: Number = None
    memory_swappiness: Number = None
    oom_kill_disable: Flag = None
    pids_limit: Number = None
    ulimits: list[Ulimit] | None = None
    restart_policy: RestartPolicy | None = None


class HostConfig(Resources, frozen=True):
    """``HostConfig`` of create."""

    binds: Texts = None
    container_id_file: Text = field(default=None, name="ContainerIDFile")
    log_config: LogConfig | None = None
    network_mode: Text = None
    port_bindings: dict[str, list[PortBinding] | None] | None = None
    auto_remove: Flag = None
    volume_driver: Text = None
    volumes_from: Texts = None
    cap_add: Words = None
    cap_drop: Words = None
    cgroupns_mode: Text = None
    dns: Texts = None
    dns_options: Texts = None
    dns_search: Texts = None
    extra_hosts: Texts = None
    group_add: Texts = None
    ipc_mode: Text = None
    cgroup: Text = None
    links: Texts = None
    oom_score_adj: Number = None
    pid_mode: Text = None
    privileged: Flag = None
    publish_all_ports: Flag = None
    readonly_rootfs: Flag = None
    security_opt: Texts = None
    storage_opt: TextMap = None
    tmpfs: TextMap = None
    uts_mode: Text = field(default=None, name="UTSMode")
    userns_mode: Text = None
    shm_size: Number = None
    sysctls: TextMap = None
    runtime: Text = None
    console_size: list[int] | None = None
    isolation: Text = None
    mounts: list[MountPoint] | None = None
    masked_paths: Texts = None
    readonly_paths: Texts = None
    init: Flag = None
    lxc_conf: list[LxcSetting] | None = None


class EndpointAddresses(Wire, frozen=True):
    """``IPAMConfig`` of an endpoint."""

    ipv4_address: Text = field(default=None, name="IPv4Address")
    ipv6_address: Text = field(default=None, name="IPv6Address")
    link_local_ips: Texts = field(default=None, name="LinkLocalIPs")


class EndpointSettings(Wire, frozen=True):
    """One of ``NetworkingConfig.EndpointsConfig``, and ``EndpointConfig`` of connect."""

    ipam_config: EndpointAddresses | None = field(default=None, name="IPAMConfig")
    links: Texts = None
    aliases: Texts = None
    mac_address: Text = None
    driver_opts: TextMap = None


class NetworkingConfig(Wire, frozen=True):
    """``NetworkingConfig`` of create."""

    endpoints_config: dict[str, EndpointSettings | None] | None = None


class Pool(Wire, frozen=True):
    """One of ``IPAM.Config`` of a network."""

    subnet: Text = None
    ip_range: Text = field(default=None, name="IPRange")
    gateway: Text = None
    auxiliary_addresses: TextMap = None


class AddressPlan(Wire, frozen=True):
    """``IPAM`` of a network."""

    driver: Text = None
    options: TextMap = None
    config: list[Pool | None] | None = None


class ConfigFrom(Wire, frozen=True):
    """``ConfigFrom`` of a network."""

    network: Text = None


class NetworkBody(Wire, frozen=True):
    """The body of a network's create."""

    name: Text = None
    check_duplicate: Flag = None
    driver: Text = None
    scope: Text = None
    enable_ipv4: Flag = field(default=None, name="EnableIPv4")
    enable_ipv6: Flag = field(default=None, name="EnableIPv6")
    ipam: AddressPlan | None = field(default=None, name="IPAM")
    internal: Flag = None
    attachable: Flag = None
    ingress: Flag = None
    config_only: Flag = None
    config_from: ConfigFrom | None = None
    options: TextMap = None
    labels: TextMap = None


class ConnectBody(Wire, frozen=True):
    """The body of a network's connect and disconnect."""

    container: Text = None
    endpoint_config: EndpointSettings | None = None
    force: Flag = None


class ProgramBody(Wire, frozen=True):
    """What the bodies of create and of exec create say of a program."""

    user: Text = None
    attach_stdin: Flag = None
    attach_stdout: Flag = None
    attach_stderr: Flag = None
    tty: Flag = None
    env: Texts = None
    cmd: Words = None
    working_dir: Text = None


class CreateBody(ProgramBody, frozen=True):
    """The body of create: docker's ``Config`` and what belongs to it."""

    hostname: Text = None
    domainname: Text = None
    exposed_ports: Keys = None
    open_stdin: Flag = None
    stdin_once: Flag = None
    healthcheck: Healthcheck | None = None
    image: Text = None
    volumes: Keys = None
    entrypoint: Words = None
    network_disabled: Flag = None
    mac_address: Text = None
    on_build: Texts = None
    labels: TextMap = None
    stop_signal: Text = None
    stop_timeout: Number = None
    shell: Words = None
    host_config: HostConfig | None = None
    networking_config: NetworkingConfig | None = None


class ExecBody(ProgramBody, frozen=True):
    """The body of exec create."""

    detach_keys: Text = None
    privileged: Flag = None
    console_size: list[int] | None = None


class ExecStartBody(Wire, frozen=True):
    """The body of exec start."""

    detach: Flag = None
    tty: Flag = None
    console_size: list[int] | None = None


_Body = TypeVar("_Body", bound=Wire)
_BODIES: Final = (
    ConnectBody,
    CreateBody,
    ExecBody,
    ExecStartBody,
    NetworkBody,
    Resources,
    VolumeBody,
)
_decoders: dict[type[Wire], msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in _BODIES
}


def read_body(raw: bytes, kind: type[_Body]) -> _Body:
    """Return a body as what it has to be.

    Raises:
        InvalidRequestError: It is no JSON, or a value has another type than docker's;
            the message names the value's path (S-95).
    """
    try:
        body: _Body = _decoders[kind].decode(raw)
        if b"\\u0000" in raw:
            _refuse_nul(msgspec.json.decode(raw), "$")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"invalid JSON: {error}") from None
    except RecursionError:
        raise InvalidRequestError("invalid JSON: nested too deeply") from None
    return body


def _refuse_nul(value: Any, path: str) -> None:
    """Refuse a text that the kernel would cut short."""
    if isinstance(value, str) and "\0" in value:
        raise InvalidRequestError(f"invalid JSON: NUL character in a text - at `{path}`")
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_nul(key, path)
            _refuse_nul(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_nul(inner, f"{path}[{index}]")
