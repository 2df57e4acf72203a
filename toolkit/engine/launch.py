# SPDX-License-Identifier: Apache-2.0
"""From a container's record to the OCI document that its start is described by.

Owns what each option of docker means in the standard's words. What every
container gets is `toolkit.runtime.document`'s; carrying it out is the backend's.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from toolkit.engine.files import put_new_file
from toolkit.engine.inits import TARGET as INIT_TARGET
from toolkit.engine.inits import init_arguments
from toolkit.engine.launch_mounts import asked_mount, bind, default_mounts, etc_mounts
from toolkit.engine.limits import HostLimits, resources
from toolkit.engine.loglimits import log_limits
from toolkit.engine.security import SecurityChoice
from toolkit.engine.sharing import has_own_network, namespaces_of
from toolkit.errors import InvalidRequestError
from toolkit.kernel.capabilities import CAPABILITIES
from toolkit.kernel.rlimits import hard_limits, most_open_files, parse_rlimit, plan_rlimits
from toolkit.runtime import document as defaults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from toolkit.engine.files import ContainerFiles
    from toolkit.engine.model import ContainerRecord, Device, ExecSpec, HostOptions, Ulimit
    from toolkit.engine.ports import Rootfs
    from toolkit.engine.volumes import VolumeDirectories
    from toolkit.network.hosts_file import HostsEntry
    from toolkit.runtime.document import Document

DEFAULT_LOG_BYTES: Final = 0  # docker's: one file that grows
DEFAULT_LOG_FILES: Final = 1
_encoder: Final = msgspec.json.Encoder()


@dataclass(frozen=True, kw_only=True)
class LaunchContext:
    """What a start needs beside the record.

    Attributes:
        cgroup: Path of the container's control group below each hierarchy's root.
        seccomp_program: Returns the path of the compiled filter; empty for none.
        pid_of: Returns the process of another container, which has to run.
        init_program: Returns our copy of an init program.
        linked: What links add to the hosts file.
        capability_profile: As `Instance` has it.
    """

    instance_name: str
    cgroup: str
    files: ContainerFiles
    rootfs: Rootfs
    volumes: VolumeDirectories
    limits: HostLimits
    seccomp_program: Callable[[frozenset[str], str], str]
    pid_of: Callable[[str], int]
    init_program: Callable[[], Path]
    linked: tuple[HostsEntry, ...] = ()
    capability_profile: str = "podman"


def write_bundle(record: ContainerRecord, context: LaunchContext) -> None:
    """Write the bundle that a start is made from, and what it mounts.

    Raises:
        InvalidRequestError: A bind or a device cannot be used.
    """
    files = context.files
    files.write_etc(record, context.linked)
    document = launch_document(record, context)
    files.bundle_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    (files.bundle_dir / "rootfs").mkdir(mode=0o700, exist_ok=True)  # only a place to mount on
    put_new_file(files.bundle_dir / "config.json", _encoder.encode(document), 0o644)


def launch_document(record: ContainerRecord, context: LaunchContext) -> Document:
    """Return the whole document of a start.

    Raises:
        InvalidRequestError: A bind or a device cannot be used.
    """
    spec, host = record.spec, record.spec.host
    security = SecurityChoice.of(host)
    kept = capabilities_of(host, context.capability_profile)
    document = defaults.default_document()
    _fill_process(document["process"], record, security, kept)
    document["root"]["readonly"] = host.read_only_rootfs
    document["hostname"] = spec.hostname
    document["domainname"] = spec.domainname
    document["mounts"] = [
        *default_mounts(record, context.pid_of),
        *etc_mounts(record, context.files),
        *(asked_mount(mount, context.volumes) for mount in record.mounts),
    ]
    if host.init:
        _put_init_before(document, context.init_program())
    _fill_linux(document["linux"], record, context, security, kept)
    document["annotations"] = _annotations(record, context, security, kept)
    return document


def environment(record: ContainerRecord) -> list[str]:
    """Return a container's variables: the defaults, its links', its own over them (rule 2.9)."""
    env = [f"PATH={defaults.DEFAULT_PATH}", f"HOSTNAME={record.spec.hostname}"]
    if record.spec.has_tty:
        env.append("TERM=xterm")
    return replaced_env([*env, *record.link_environment], record.spec.env)


def replaced_env(env: Iterable[str], changes: Iterable[str]) -> list[str]:
    """Return variables with changes: the last one wins, a bare name removes."""
    values = {entry.partition("=")[0]: entry for entry in env}
    for entry in changes:
        name, equals, _ = entry.partition("=")
        if equals:
            values[name] = entry
        else:
            values.pop(name, None)
    return list(values.values())


def exec_process(record: ContainerRecord, spec: ExecSpec, capability_profile: str) -> Document:
    """Return the OCI ``process`` of one more program in a running container."""
    process: Document = defaults.default_document()["process"]
    host = record.spec.host
    kept = list(CAPABILITIES) if spec.privileged else capabilities_of(host, capability_profile)
    _fill_process(process, record, SecurityChoice.of(host), kept)
    env = environment(record)
    if spec.has_tty:
        env = replaced_env(env, ["TERM=xterm"])
    process["terminal"] = spec.has_tty
    process["args"] = list(spec.command)
    process["env"] = replaced_env(env, spec.env)
    process["cwd"] = spec.working_dir or record.spec.working_dir or "/"
    _fill_console(process, spec.console_size)
    return process


def capabilities_of(host: HostOptions, profile: str) -> list[str]:
    """Return the capabilities that a container keeps, by what the profile begins with."""
    if host.privileged:
        return list(CAPABILITIES)
    dropped = {_capability(name) for name in host.cap_drop}
    added = {_capability(name) for name in host.cap_add}
    kept = set() if "CAP_ALL" in dropped else set(defaults.CAPABILITY_PROFILES[profile])
    if "CAP_ALL" in added:
        kept = set(CAPABILITIES)
    kept = (kept | (added & set(CAPABILITIES))) - dropped
    return [name for name in CAPABILITIES if name in kept]


def planned_rlimits(ulimits: Iterable[Ulimit]) -> tuple[list[Document], list[str]]:
    """Return OCI ``rlimits`` as this host allows them, and a warning for each one lowered."""
    asked = [parse_rlimit(ulimit.name, ulimit.soft, ulimit.hard) for ulimit in ulimits]
    if not asked:
        return [], []
    plan = plan_rlimits(
        asked, host_hard=hard_limits(), may_raise=False, most_files=most_open_files()
    )
    entries = [
        {"type": f"RLIMIT_{limit.name.upper()}", "soft": limit.soft, "hard": limit.hard}
        for limit in plan.limits
    ]
    return entries, list(plan.warnings)


def _fill_process(
    process: Document, record: ContainerRecord, security: SecurityChoice, kept: list[str]
) -> None:
    spec = record.spec
    process["terminal"] = spec.has_tty
    process["args"] = [record.path, *record.args]
    process["env"] = environment(record)
    process["cwd"] = spec.working_dir or "/"
    _fill_console(process, spec.host.console_size)
    process["capabilities"] = _capability_sets(kept)
    process["noNewPrivileges"] = security.no_new_privileges
    process["user"]["additionalGids"] = list(spec.host.group_add)
    rlimits, _ = planned_rlimits(spec.host.ulimits)
    asked = {entry["type"] for entry in rlimits}
    process["rlimits"] = [
        *(entry for entry in process["rlimits"] if entry["type"] not in asked),
        *rlimits,
    ]
    if spec.host.oom_score_adj:
        process["oomScoreAdj"] = spec.host.oom_score_adj


def _fill_console(process: Document, size: tuple[int, int]) -> None:
    process.pop("consoleSize", None)
    if process["terminal"] and all(size):
        process["consoleSize"] = {"height": size[0], "width": size[1]}


def _fill_linux(
    linux: Document,
    record: ContainerRecord,
    context: LaunchContext,
    security: SecurityChoice,
    kept: list[str],
) -> None:
    host = record.spec.host
    linux["namespaces"] = namespaces_of(host, context.pid_of)
    linux["cgroupsPath"] = context.cgroup
    sysctls = defaults.default_sysctls() if has_own_network(host) else {}
    linux["sysctl"] = {**sysctls, **host.sysctls}
    rules = linux["resources"]["devices"]
    linux["resources"] = resources(record.spec.limits, context.limits)
    if host.privileged:
        rules = [{"allow": True, "access": "rwm"}]
    elif "CAP_MKNOD" in kept:
        rules = [*rules, *defaults.node_making_rules()]
    devices = [_device(device) for device in host.devices]
    linux["devices"] = devices
    linux["resources"]["devices"] = rules + [
        _device_rule(asked, made) for asked, made in zip(host.devices, devices, strict=True)
    ]
    if security.masked_paths is not None:
        linux["maskedPaths"] = list(security.masked_paths)
    if security.readonly_paths is not None:
        linux["readonlyPaths"] = list(security.readonly_paths)


def _annotations(
    record: ContainerRecord, context: LaunchContext, security: SecurityChoice, kept: list[str]
) -> dict[str, str]:
    spec, files = record.spec, context.files
    has_home = any(entry.startswith("HOME=") for entry in spec.env)
    log_bytes, log_files = log_limits(
        spec.host.log_options, default_bytes=DEFAULT_LOG_BYTES, default_files=DEFAULT_LOG_FILES
    )
    found = {
        "toolkit.container.id": record.id,
        "toolkit.instance": context.instance_name,
        "toolkit.rootfs": _encoder.encode(_plain(context.rootfs)).decode(),
        "toolkit.user": spec.user,
        "toolkit.log.path": str(files.log),
        "toolkit.log.max_bytes": str(log_bytes),
        "toolkit.log.max_files": str(log_files),
        "toolkit.exit.path": str(files.exit_status),
        "toolkit.stdin.open": "1" if spec.open_stdin else "",
        "toolkit.stdin.once": "1" if spec.stdin_once else "",
        "toolkit.home.default": "" if has_home else "1",
    }
    if record.backend == "lxc":
        found["toolkit.backend"] = "lxc"
        found["toolkit.lxc.conf"] = _encoder.encode(spec.host.lxc_conf).decode()
        found["toolkit.lxc.unsafe"] = os.environ.get("TOOLKIT_LXC_UNSAFE", "")
    if security.has_filter:
        program = context.seccomp_program(frozenset(kept), security.profile)
        found["toolkit.seccomp.program"] = program
    return found


def _plain(rootfs: Rootfs) -> dict[str, Any]:
    """Return a rootfs source as JSON values: paths as texts."""
    return {
        field.name: _plain_value(getattr(rootfs, field.name))
        for field in dataclasses.fields(rootfs)
    }


def _plain_value(value: Any) -> Any:
    match value:
        case os.PathLike():
            return os.fspath(value)
        case tuple() | list():
            return [_plain_value(item) for item in value]
        case _:
            return value


def _put_init_before(document: Document, program: Path) -> None:
    options = ["bind", "ro", "nosuid", "nodev", "rprivate"]
    document["mounts"].append(bind(str(program), INIT_TARGET, options))
    document["process"]["args"] = init_arguments(document["process"]["args"])


def _device(device: Device) -> Document:
    try:
        found = Path(device.host_path).stat()
    except OSError as error:
        raise InvalidRequestError(
            f"error gathering device information while adding custom device "
            f"{device.host_path!r}: {error.strerror}"
        ) from error
    if not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        raise InvalidRequestError(f"device {device.host_path!r} is not a device node")
    return {
        "path": device.container_path or device.host_path,
        "type": "b" if stat.S_ISBLK(found.st_mode) else "c",
        "major": os.major(found.st_rdev),
        "minor": os.minor(found.st_rdev),
        "fileMode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
    }


def _device_rule(asked: Device, made: Document) -> Document:
    return {
        "allow": True,
        "type": made["type"],
        "major": made["major"],
        "minor": made["minor"],
        "access": asked.permissions,
    }


def _capability(name: str) -> str:
    upper = name.upper()
    return upper if upper.startswith("CAP_") else f"CAP_{upper}"


def _capability_sets(names: Iterable[str]) -> dict[str, list[str]]:
    kept = list(names)
    return {"bounding": kept, "effective": kept, "permitted": kept}
