# SPDX-License-Identifier: Apache-2.0
"""Containers and execs as docker shows them: list entries and inspect documents."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from toolkit.api.render_health import health_object, health_words, healthcheck_object
from toolkit.api.render_host import host_config
from toolkit.api.render_network import endpoints, network_settings, ports_of_list
from toolkit.api.times import human_duration, rfc3339_nano, unix_seconds
from toolkit.engine.files import ContainerFiles
from toolkit.engine.model import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from toolkit.config import Instance
    from toolkit.engine.health import Health
    from toolkit.engine.model import (
        ContainerRecord,
        ContainerSpec,
        ContainerState,
        ExecSpec,
        Mount,
    )

_SHOWN: Final = {State.STARTING: State.CREATED}  # an intent is not shown
_ALIVE: Final = frozenset({State.RUNNING, State.PAUSED, State.RESTARTING})


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where an instance keeps what inspect documents point at.

    Attributes:
        network_ids: Of the networks that there are, by name.
    """

    instance: Instance
    volume_dir: Callable[[str], Path]
    network_ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a container takes on disk: its own layer, and all of its root."""

    rw_bytes: int
    rootfs_bytes: int


def size_fields(sizes: Sizes) -> dict[str, int]:
    """Return what list entries and inspect documents say about sizes."""
    return {"SizeRw": sizes.rw_bytes, "SizeRootFs": sizes.rootfs_bytes}


def shown_status(state: ContainerState) -> str:
    """Return docker's word for a state."""
    return str(_SHOWN.get(state.status, state.status))


def list_entry(
    record: ContainerRecord,
    *,
    image: str,
    now: datetime,
    places: Places,
    names: Sequence[str] = (),
    health: Health | None = None,
) -> dict[str, Any]:
    """Return a container as ``GET /containers/json`` shows it.

    Args:
        record: The container.
        names: The paths that lead to it; its own name where none are given.
        image: The image's name as it now is true.
        now: For the words about how long ago.
        places: Where volumes are.
        health: What its health check has found.
    """
    mode = record.spec.host.network_mode
    return {
        "Id": record.id,
        "Names": list(names) or [f"/{record.name}"],
        "Image": image,
        "ImageID": record.image_id,
        "Command": command_line(record),
        "Created": unix_seconds(record.created),
        "Ports": ports_of_list(record),
        "Labels": record.spec.labels,
        "State": shown_status(record.state),
        "Status": status_words(record.state, now, health),
        "HostConfig": {"NetworkMode": mode},
        "NetworkSettings": {"Networks": endpoints(record, places.network_ids)},
        "Mounts": [mount_point(mount, places) for mount in record.mounts],
    }


def command_line(record: ContainerRecord) -> str:
    """Return the program and its arguments in one line."""
    return " ".join(
        [
            record.path,
            *(f"'{argument}'" if " " in argument else argument for argument in record.args),
        ]
    )


def status_words(state: ContainerState, now: datetime, health: Health | None = None) -> str:
    """Return docker's words about a state (``Up 3 hours``)."""
    if state.status in {State.CREATED, State.STARTING}:
        return "Created"
    if state.status is State.REMOVING:
        return "Removal In Progress"
    if state.status is State.DEAD:
        return "Dead"
    since_end = _ago(state.finished_at, now)
    if state.status is State.RESTARTING:
        return f"Restarting ({state.exit_code}) {since_end} ago"
    if state.status is State.EXITED:
        return f"Exited ({state.exit_code}) {since_end} ago"
    more = " (Paused)" if state.status is State.PAUSED else health_words(health)
    return f"Up {_ago(state.started_at, now)}{more}"


def _ago(moment: datetime | None, now: datetime) -> str:
    """Return how long ago something was."""
    return human_duration(max(0.0, (now - (moment or now)).total_seconds()))


def inspect(
    record: ContainerRecord,
    *,
    places: Places,
    exec_ids: list[str],
    sizes: Sizes | None,
    links: Sequence[str] = (),
    health: Health | None = None,
) -> dict[str, Any]:
    """Return a container as ``GET /containers/{name}/json`` shows it."""
    document = {
        **_ALWAYS,
        **_paths(ContainerFiles.of(places.instance, record.id)),
        "Id": record.id,
        "Created": rfc3339_nano(record.created),
        "Path": record.path,
        "Args": record.args,
        "State": state_object(record.state, health),
        "Image": record.image_id,
        "Name": f"/{record.name}",
        "RestartCount": record.state.restart_count,
        "Driver": record.driver,
        "ExecIDs": exec_ids or None,
        "HostConfig": host_config(record) | ({"Links": list(links)} if links else {}),
        "GraphDriver": {"Name": record.driver, "Data": None},
        "Mounts": [mount_point(mount, places) for mount in record.mounts],
        "Config": config_object(record.spec, record.id),
        "NetworkSettings": network_settings(record, places.instance, places.network_ids),
    }
    if sizes is not None:
        document |= size_fields(sizes)
    return document


_ALWAYS: Final = {
    "Platform": "linux",
    "MountLabel": "",
    "ProcessLabel": "",
    "AppArmorProfile": "",
}


def _paths(files: ContainerFiles) -> dict[str, str]:
    return {
        "ResolvConfPath": str(files.resolv_conf),
        "HostnamePath": str(files.hostname),
        "HostsPath": str(files.hosts),
        "LogPath": str(files.log),
    }


def state_object(state: ContainerState, health: Health | None = None) -> dict[str, Any]:
    """Return ``State``."""
    document = {
        "Status": shown_status(state),
        "Running": state.status in _ALIVE,
        "Paused": state.status is State.PAUSED,
        "Restarting": state.status is State.RESTARTING,
        "OOMKilled": state.oom_killed,
        "Dead": state.status is State.DEAD,
        "Pid": state.pid if state.status in _ALIVE else 0,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": rfc3339_nano(state.started_at),
        "FinishedAt": rfc3339_nano(state.finished_at),
    }
    if health is not None:
        document["Health"] = health_object(health)
    return document


def config_object(spec: ContainerSpec, container_id: str) -> dict[str, Any]:
    """Return ``Config``."""
    return {
        "Hostname": spec.hostname or container_id[:12],
        "Domainname": spec.domainname,
        "User": spec.user,
        "AttachStdin": spec.attach_stdin,
        "AttachStdout": spec.attach_stdout,
        "AttachStderr": spec.attach_stderr,
        "Tty": spec.has_tty,
        "OpenStdin": spec.open_stdin,
        "StdinOnce": spec.stdin_once,
        "Env": [entry for entry in spec.env if "=" in entry],
        "Cmd": spec.command,
        "Image": spec.image,
        "Volumes": dict.fromkeys(spec.volumes, _NOTHING) or None,
        "WorkingDir": spec.working_dir,
        "Entrypoint": spec.entrypoint,
        "OnBuild": spec.on_build or None,
        "Labels": spec.labels,
        **_given(spec),
    }


def _given(spec: ContainerSpec) -> dict[str, Any]:
    """Return the part of ``Config`` that docker leaves out where nothing was said."""
    health = healthcheck_object(spec.health) if spec.health is not None else None
    said = {
        "ExposedPorts": dict.fromkeys(spec.exposed_ports, _NOTHING) or None,
        "MacAddress": spec.mac_address or None,
        "NetworkDisabled": spec.network_disabled or None,
        "StopSignal": spec.stop_signal or None,
        "StopTimeout": spec.stop_timeout_seconds,
        "Shell": spec.shell or None,
        "Healthcheck": health,
    }
    return {name: value for name, value in said.items() if value is not None}


_NOTHING: Final[dict[str, Any]] = {}


def mount_point(mount: Mount, places: Places) -> dict[str, Any]:
    """Return one of ``Mounts``."""
    document: dict[str, Any] = {"Type": mount.kind}
    if mount.kind == "volume":
        source = str(places.volume_dir(mount.source)) if mount.source else ""
        document |= {"Name": mount.source, "Source": source, "Driver": "local"}
    else:
        document["Source"] = mount.source
    mode = mount.options if mount.from_binds and mount.kind != "tmpfs" else ""
    return document | {
        "Destination": mount.target,
        "Mode": mode,
        "RW": not mount.read_only,
        "Propagation": mount.propagation if mount.kind == "bind" else "",
    }


def exec_object(
    *,
    exec_id: str,
    spec: ExecSpec,
    container_id: str,
    running: bool,
    exit_code: int | None,
    pid: int,
) -> dict[str, Any]:
    """Return an exec as ``GET /exec/{id}/json`` shows it."""
    return {
        "ID": exec_id,
        "Running": running,
        "ExitCode": exit_code,
        "ProcessConfig": {
            "tty": spec.has_tty,
            "entrypoint": spec.command[0],
            "arguments": spec.command[1:],
            "privileged": spec.privileged,
            "user": spec.user,
        },
        "OpenStdin": spec.attach_stdin,
        "OpenStdout": spec.attach_stdout,
        "OpenStderr": spec.attach_stderr,
        "CanRemove": False,
        "ContainerID": container_id,
        "DetachKeys": spec.detach_keys,
        "Pid": pid,
    }


def now_utc() -> datetime:
    """Return the time."""
    return datetime.now(UTC)
