# SPDX-License-Identifier: Apache-2.0
"""What a container is, as values: what was asked for, and what became of it.

Frozen data only. Wire names and shapes are `toolkit.api`'s; how a value is kept
is `toolkit.engine.store`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - msgspec reads the annotations at run time
from typing import Literal, NewType

from toolkit.engine.network_model import (
    AttachedContainer,
    EndpointId,
    EndpointRecord,
    EndpointSpec,
    Network,
    NetworkId,
    NetworkRecord,
    NetworkSpec,
    PoolSpec,
    PublishedPort,
)
from toolkit.runtime.lifecycle import State

__all__ = [
    "AttachedContainer",
    "ContainerId",
    "ContainerRecord",
    "ContainerSpec",
    "ContainerState",
    "Device",
    "EndpointId",
    "EndpointRecord",
    "EndpointSpec",
    "ExecId",
    "ExecSpec",
    "HealthCheck",
    "HostOptions",
    "ImageId",
    "Limits",
    "Mount",
    "Network",
    "NetworkId",
    "NetworkRecord",
    "NetworkSpec",
    "PoolSpec",
    "PortBinding",
    "PublishedPort",
    "RestartPolicy",
    "State",
    "Ulimit",
]

ContainerId = NewType("ContainerId", str)
ImageId = NewType("ImageId", str)
ExecId = NewType("ExecId", str)


@dataclass(frozen=True, kw_only=True)
class Ulimit:
    """One resource limit: the name without ``RLIMIT_``, in lower case."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a container may use; 0, None or empty means no limit of ours.

    Attributes:
        memory_bytes: Hard limit (rule 3.5: at least 512 KiB).
        memory_swap_bytes: Memory and swap together; -1 for unlimited swap.
        cpu_period_us: CFS period, microseconds; with cpu_quota_us.
        nano_cpus: CPUs in billionths, as docker's ``--cpus``.
        pids: Most processes; None takes the engine's default, -1 is unlimited.
    """

    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    memory_reservation_bytes: int = 0
    cpu_shares: int = 0
    cpu_period_us: int = 0
    cpu_quota_us: int = 0
    nano_cpus: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids: int | None = None
    blkio_weight: int = 0
    oom_kill_disable: bool = False


@dataclass(frozen=True, kw_only=True)
class RestartPolicy:
    """What to do when the program ends; ``on-failure`` may carry a maximum."""

    name: Literal["no", "always", "on-failure", "unless-stopped"] = "no"
    maximum_retries: int = 0


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A bind, named volume or tmpfs of a container.

    Attributes:
        kind: How *source* is read: a host path, a volume's name, or nothing.
        propagation: One of the kernel's words, e.g. ``rprivate``.
        anonymous: The engine made the volume up; it goes with the last container that has it.
        no_copy: A new volume gets nothing of the image.
        is_recursive: What is mounted below a bind's source is bound along.
        volume_labels: Of a volume that is made by this.
    """

    kind: Literal["bind", "volume", "tmpfs"]
    source: str
    target: str
    read_only: bool = False
    propagation: str = "rprivate"
    options: str = ""
    from_binds: bool = True  # came in docker's Binds, not Mounts: a missing source is made
    anonymous: bool = False
    no_copy: bool = False
    is_recursive: bool = True
    volume_labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device of the host that the container gets."""

    host_path: str
    container_path: str
    permissions: str = "rwm"


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """How the engine finds out whether a container is well; 0 and empty take the defaults.

    Attributes:
        test: ``CMD`` and a program, ``CMD-SHELL`` and a text, or ``NONE``.
        start_period_ns: Failures this soon after the start do not count.
        start_interval_ns: Time between two checks while they do not.
        retries: So many failures in a row make it unhealthy.
    """

    test: tuple[str, ...] = ()
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


@dataclass(frozen=True, kw_only=True)
class PortBinding:
    """Where a container's port is published; 0 or empty lets the engine choose.

    Attributes:
        last_host_port: Of a range, the last one; 0 for *host_port* alone.
    """

    host_ip: str = ""
    host_port: int = 0
    last_host_port: int = 0


@dataclass(frozen=True, kw_only=True)
class HostOptions:
    """What depends on this host, beside the limits (docker's HostConfig).

    Attributes:
        network_mode: ``none``, ``host``, ``bridge``, ``container:<id>`` or a network's name.
        published_ports: ``"80/tcp"`` to its bindings.
        security_options: docker's ``--security-opt`` texts.
        is_build_step: A build made it, and removes it: an engine that finds it is after a crash.
    """

    network_mode: str = "none"
    mounts: tuple[Mount, ...] = ()
    volumes_from: tuple[str, ...] = ()
    published_ports: dict[str, tuple[PortBinding, ...]] = field(default_factory=dict)
    publish_all_ports: bool = False
    links: tuple[str, ...] = ()
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    group_add: tuple[str, ...] = ()
    read_only_rootfs: bool = False
    auto_remove: bool = False
    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)
    log_options: dict[str, str] = field(default_factory=dict)
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    pid_mode: str = ""
    ipc_mode: str = ""
    uts_mode: str = ""
    cgroupns_mode: str = ""
    userns_mode: str = ""
    security_options: tuple[str, ...] = ()
    shm_size_bytes: int = 64 * 1024 * 1024
    tmpfs: dict[str, str] = field(default_factory=dict)
    sysctls: dict[str, str] = field(default_factory=dict)
    ulimits: tuple[Ulimit, ...] = ()
    devices: tuple[Device, ...] = ()
    oom_score_adj: int = 0
    init: bool = False
    container_id_file: str = ""
    lxc_conf: tuple[tuple[str, str], ...] = ()
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None
    backend: str = ""
    is_build_step: bool = False
    console_size: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """What was asked for at create; immutable but for limits and the name.

    Attributes:
        image: The image as the person typed it.
        command: None takes the image's (rule 10.18).
        env: ``K=V`` texts; a bare ``K`` removes the image's variable.
        volumes: Container paths that get an anonymous volume.
        exposed_ports: ``"80/tcp"`` texts.
        endpoints: What is asked for of each network, by its name; the one of the network mode
            need not be named. Connecting and disconnecting change it.
    """

    image: str
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    hostname: str = ""
    domainname: str = ""
    has_tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    network_disabled: bool = False
    mac_address: str = ""
    endpoints: dict[str, EndpointSpec] = field(default_factory=dict)
    on_build: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()
    stop_signal: str = ""
    stop_timeout_seconds: int | None = None
    health: HealthCheck | None = None
    limits: Limits = field(default_factory=Limits)
    host: HostOptions = field(default_factory=HostOptions)


@dataclass(frozen=True, kw_only=True)
class ContainerState:
    """Where a container stands (rule 1.12, in today's words).

    Attributes:
        pid: The program's process on the host; 0 when it does not run.
        start_time_ticks: With the pid and the boot id, the process's identity.
        stopped_by_user: A stop or kill was asked for: no restart policy acts.
    """

    status: State = State.CREATED
    pid: int = 0
    start_time_ticks: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    restart_count: int = 0
    stopped_by_user: bool = False


@dataclass(frozen=True, kw_only=True)
class ContainerRecord:
    """Everything the store keeps of a container.

    Attributes:
        path, args: The program and its arguments, after entrypoint and command (rule 10.16).
        spec: As asked for, merged with the image (rule 10.18).
        mounts: The binds, volumes and tmpfs that it has; sources are host paths or volume names.
        endpoints: Its seats, by the networks' names, while it runs.
        ports: What of it is published, while it runs.
        chosen_ports: Where the choice was the engine's: what it chose last (defect D-22).
        links: Whom it is linked to on the default bridge, by alias; some may be gone.
        link_environment: The variables that links gave its program, while it runs (rule 7.9).
    """

    id: ContainerId
    name: str
    created: datetime
    image_id: ImageId
    path: str
    args: tuple[str, ...]
    spec: ContainerSpec
    mounts: tuple[Mount, ...] = ()
    state: ContainerState = field(default_factory=ContainerState)
    backend: str = "native"
    driver: str = "overlay"
    endpoints: dict[str, EndpointRecord] = field(default_factory=dict)
    ports: tuple[PublishedPort, ...] = ()
    chosen_ports: tuple[PublishedPort, ...] = ()
    links: dict[str, ContainerId] = field(default_factory=dict)
    link_environment: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExecSpec:
    """A program to run in a running container."""

    command: tuple[str, ...]
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    has_tty: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    privileged: bool = False
    detach_keys: str = ""
    console_size: tuple[int, int] = (0, 0)
