# SPDX-License-Identifier: Apache-2.0
"""What a test asks of a container, and docker's create body for it. Pure.

The words are those of `run_container`; their meaning on the wire stands here alone.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from toolkit.testing.container import Container
    from toolkit.testing.readiness import Ready

Command = str | Sequence[str]
Body = dict[str, Any]

DEFAULT_WAIT_SECONDS: Final = 60.0
FILES_LABEL: Final = "toolkit.files"
_NS_PER_SECOND: Final = 1_000_000_000
_ALONE: Final = frozenset({"none", "host"})
_LAST_PORT: Final = 65535
_PROTOCOLS: Final = frozenset({"", "tcp", "udp", "sctp"})


class HealthCheck(NamedTuple):
    """How an engine asks a container whether it is well; 0 takes the engine's default.

    Attributes:
        command: A text for the container's shell, or a program with its arguments.
        start_seconds: Failures this soon after the start do not count.
    """

    command: Command
    interval_seconds: float = 0
    timeout_seconds: float = 0
    retries: int = 0
    start_seconds: float = 0

    def wire(self) -> Body:
        """Return docker's ``Healthcheck``."""
        shell = isinstance(self.command, str)
        return {
            "Test": ["CMD-SHELL", self.command] if shell else ["CMD", *self.command],
            "Interval": int(self.interval_seconds * _NS_PER_SECOND),
            "Timeout": int(self.timeout_seconds * _NS_PER_SECOND),
            "Retries": self.retries,
            "StartPeriod": int(self.start_seconds * _NS_PER_SECOND),
        }


class RunOptions(TypedDict, total=False):
    """What `run_container` and `shared_container` take beside image and command.

    Attributes:
        ports: Ports of the container that `Container.address` shall reach: ``8080``, ``"53/udp"``.
        env: Variables of its program.
        volumes: A volume, its name, or a path of this machine, to where the container
            finds it: ``"/v"`` or ``"/v:ro"``.
        files: What is put into the container before it starts: path there, and a text,
            bytes, or a file of the tests' machine, which need not be the engine's.
        network: A network, its name, ``none``, ``host``, or a container whose network it shares.
        aliases: Further names on the network, beside its own.
        name: The container's name; one is made up if there is none.
        wait: What to wait for before the test goes on: a condition, or a callable
            that is true when it is ready.
        timeout_seconds: Longest wait; 60 without one.
        reuse: Take a running container of the same specification, and leave this one running.
        health: How the engine finds out whether it is well; the image's own without it.
        wire: Further fields of docker's create body, merged in last: what has no word here.
    """

    ports: Sequence[int | str]
    env: Mapping[str, str]
    volumes: Mapping[str | Path, str]
    files: Mapping[str, str | bytes | Path]
    network: str | Container | None
    aliases: Sequence[str]
    name: str
    wait: Ready | None
    timeout_seconds: float
    reuse: bool
    entrypoint: Command
    user: str
    working_dir: str
    hostname: str
    labels: Mapping[str, str]
    tty: bool
    open_stdin: bool
    init: bool
    privileged: bool
    read_only: bool
    cap_add: Sequence[str]
    cap_drop: Sequence[str]
    tmpfs: Mapping[str, str]
    memory_bytes: int
    cpus: float
    pids_limit: int
    restart: str
    backend: str
    stop_seconds: int
    health: HealthCheck
    wire: Mapping[str, Any]


_CONFIG: Final = {
    "user": "User",
    "working_dir": "WorkingDir",
    "hostname": "Hostname",
    "tty": "Tty",
    "open_stdin": "OpenStdin",
    "stop_seconds": "StopTimeout",
}
_HOST: Final = {
    "init": "Init",
    "privileged": "Privileged",
    "read_only": "ReadonlyRootfs",
    "memory_bytes": "Memory",
    "pids_limit": "PidsLimit",
    "backend": "Runtime",
}
_HOST_LISTS: Final = {"cap_add": "CapAdd", "cap_drop": "CapDrop"}


def words(command: Command) -> list[str]:
    """Return a program and its arguments; a text is split as a shell would, but not run by one."""
    return shlex.split(command) if isinstance(command, str) else [str(word) for word in command]


def port_key(port: int | str) -> str:
    """Return docker's name of a port, ``8080/tcp``.

    Raises:
        InvalidRequestError: It is none.
    """
    number, _, protocol = str(port).partition("/")
    is_number = number.isdecimal() and 0 < int(number) <= _LAST_PORT
    if not is_number or protocol not in _PROTOCOLS:
        raise InvalidRequestError(f"port {port!r}: use a number, or one with /tcp or /udp")
    return f"{int(number)}/{protocol or 'tcp'}"


def create_body(
    image: str,
    command: Command | None,
    options: RunOptions,
    *,
    labels: Mapping[str, str],
    publish_on: str = "127.0.0.1",
) -> Body:
    """Return docker's create body of what a test asks for.

    Args:
        image: Name of the image.
        command: Program with arguments; None takes the image's.
        options: What `run_container` was given.
        labels: Whose it is; volumes that are made for it get them, too.
        publish_on: Address of the engine's machine that ports are published on.

    Raises:
        InvalidRequestError: A value cannot be used.
    """
    ports = [port_key(port) for port in options.get("ports", ())]
    body: Body = {
        "Image": image,
        "Env": [f"{name}={value}" for name, value in options.get("env", {}).items()],
        "Labels": {**_file_label(options), **options.get("labels", {}), **labels},
        "ExposedPorts": {port: {} for port in ports},
        "HostConfig": _host_config(options, ports, labels, publish_on),
    }
    _copy(_CONFIG, options, body)
    if command is not None:
        body["Cmd"] = words(command)
    if "entrypoint" in options:
        body["Entrypoint"] = words(options["entrypoint"])
    if "health" in options:
        body["Healthcheck"] = options["health"].wire()
    _join_network(body, options)
    return merged(body, options.get("wire", {}))


def content_of(content: str | bytes | Path) -> bytes:
    """Return what a file of ``files=`` is to hold."""
    if isinstance(content, Path):
        return content.read_bytes()
    return content.encode() if isinstance(content, str) else content


def _file_label(options: RunOptions) -> dict[str, str]:
    """Return a label that tells containers with different files from each other."""
    digest = hashlib.sha256()
    for path, content in sorted(options.get("files", {}).items()):
        digest.update(json.dumps([path, content_of(content).hex()]).encode())
    return {FILES_LABEL: digest.hexdigest()[:32]} if options.get("files") else {}


def specification_hash(image_id: str, body: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """Return a text that two containers share if they were asked for alike.

    Args:
        image_id: What the image's name means now.
        body: The create body.
        labels: Left out: they say whose it is, not what it is.
    """
    own = {key: value for key, value in body["Labels"].items() if key not in labels}
    mounts = [
        {key: value for key, value in mount.items() if key != "VolumeOptions"}
        for mount in body["HostConfig"].get("Mounts", ())
    ]
    host = {**body["HostConfig"], "Mounts": mounts}
    alike = {**body, "Image": image_id, "Labels": own, "HostConfig": host}
    text = json.dumps(alike, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def merged(body: Body, more: Mapping[str, Any]) -> Body:
    """Return a document with the fields of another over its own, objects field by field."""
    result = dict(body)
    for key, value in more.items():
        inner = result.get(key)
        if isinstance(inner, dict) and isinstance(value, Mapping):
            result[key] = merged(inner, value)
        else:
            result[key] = value
    return result


def _copy(names: Mapping[str, str], options: RunOptions, target: Body) -> None:
    target.update({wire: options[name] for name, wire in names.items() if name in options})  # type: ignore[literal-required]  # names of the table


def _host_config(
    options: RunOptions, ports: Sequence[str], labels: Mapping[str, str], publish_on: str
) -> Body:
    bindings = {port: [{"HostIp": publish_on, "HostPort": ""}] for port in ports}
    host: Body = {"PortBindings": bindings, "NetworkMode": network_mode(options.get("network"))}
    _copy(_HOST, options, host)
    for name, wire in _HOST_LISTS.items():
        if name in options:
            host[wire] = list(options[name])  # type: ignore[literal-required]  # names of the table
    if "tmpfs" in options:
        host["Tmpfs"] = dict(options["tmpfs"])
    if "cpus" in options:
        host["NanoCpus"] = int(options["cpus"] * _NS_PER_SECOND)
    if "restart" in options:
        name, _, most = options["restart"].partition(":")
        host["RestartPolicy"] = {"Name": name, "MaximumRetryCount": int(most or 0)}
    binds, mounts = _volumes(options.get("volumes", {}), labels)
    if binds:
        host["Binds"] = binds
    if mounts:
        host["Mounts"] = mounts
    return host


def _volumes(
    volumes: Mapping[str | Path, str], labels: Mapping[str, str]
) -> tuple[list[str], list[Body]]:
    """Return binds of paths, and mounts of volumes: one that this makes is labelled as ours."""
    binds, mounts = [], []
    for source, target in volumes.items():
        place, _, mode = target.partition(":")
        if not place.startswith("/"):
            raise InvalidRequestError(f"volume {source}: {target!r} is no path of a container")
        if isinstance(source, Path) or "/" in source:
            binds.append(f"{Path(source).absolute()}:{place}" + (f":{mode}" if mode else ""))
        else:
            mounts.append(
                {
                    "Type": "volume",
                    "Source": str(source),
                    "Target": place,
                    "ReadOnly": mode == "ro",
                    "VolumeOptions": {"Labels": dict(labels)},
                }
            )
    return binds, mounts


def network_mode(network: str | Container | None) -> str:
    """Return docker's ``NetworkMode``."""
    if network is None:
        return "default"
    return str(network) if isinstance(network, str) else f"container:{network.id}"


def _join_network(body: Body, options: RunOptions) -> None:
    aliases = list(options.get("aliases", ()))
    if not aliases:
        return
    mode = body["HostConfig"]["NetworkMode"]
    if mode in _ALONE or mode == "default" or mode.startswith("container:"):
        raise InvalidRequestError("aliases= needs a network of its own: network=container_network")
    body["NetworkingConfig"] = {"EndpointsConfig": {mode: {"Aliases": aliases}}}
