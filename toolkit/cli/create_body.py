# SPDX-License-Identifier: Apache-2.0
"""The flags of `run` and `create` as docker's create body. Pure.

Only what was asked for is sent; the engine knows the defaults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from toolkit.cli import network_specs, specs
from toolkit.cli.health_options import read_health
from toolkit.cli.security_options import read_security_options
from toolkit.cli.units import parse_cpus, parse_memory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from toolkit.cli.terminal import Size

_HOST_TEXTS: Final = {
    "cgroupns": "CgroupnsMode",
    "cidfile": "ContainerIDFile",
    "cpuset_cpus": "CpusetCpus",
    "cpuset_mems": "CpusetMems",
    "ipc": "IpcMode",
    "pid": "PidMode",
    "runtime": "Runtime",
    "userns": "UsernsMode",
    "uts": "UTSMode",
}
_HOST_NUMBERS: Final = {
    "blkio_weight": "BlkioWeight",
    "cpu_period": "CpuPeriod",
    "cpu_quota": "CpuQuota",
    "cpu_shares": "CpuShares",
    "memory_swappiness": "MemorySwappiness",
    "oom_score_adj": "OomScoreAdj",
    "pids_limit": "PidsLimit",
}
_HOST_SWITCHES: Final = {
    "init": "Init",
    "oom_kill_disable": "OomKillDisable",
    "privileged": "Privileged",
    "publish_all": "PublishAllPorts",
    "read_only": "ReadonlyRootfs",
    "rm": "AutoRemove",
}
_HOST_LISTS: Final = {
    "cap_add": "CapAdd",
    "cap_drop": "CapDrop",
    "dns_option": "DnsOptions",
    "dns_search": "DnsSearch",
    "group_add": "GroupAdd",
    "volumes_from": "VolumesFrom",
}
_CONFIG_TEXTS: Final = {
    "domainname": "Domainname",
    "hostname": "Hostname",
    "stop_signal": "StopSignal",
    "user": "User",
    "workdir": "WorkingDir",
}


class Attached(NamedTuple):
    """Which streams of the container are joined to the person's."""

    stdin: bool
    stdout: bool
    stderr: bool


def attached_streams(options: Mapping[str, Any]) -> Attached:
    """Return what ``-a``, ``-d`` and ``-i`` say together.

    Raises:
        InvalidRequestError: A stream is unknown.
    """
    named = specs.parse_streams(options["attach"])
    if named:
        return Attached(*(stream in named for stream in specs.STREAMS))
    is_attached = not options.get("detach", False)
    return Attached(is_attached and options["interactive"], is_attached, is_attached)


def create_body(
    image: str,
    arguments: Sequence[str],
    options: Mapping[str, Any],
    *,
    environ: Mapping[str, str],
    console: Size | None = None,
) -> dict[str, Any]:
    """Return the body of a create request.

    Raises:
        InvalidRequestError: A flag's value cannot be used.
    """
    attached = attached_streams(options)
    volumes, binds = specs.parse_volumes(options["volume"])
    ports, bindings = network_specs.parse_ports(options["publish"], options["expose"])
    body: dict[str, Any] = {
        "Image": image,
        "AttachStdin": attached.stdin,
        "AttachStdout": attached.stdout,
        "AttachStderr": attached.stderr,
        "Tty": options["tty"],
        "OpenStdin": options["interactive"],
        "StdinOnce": options["interactive"] and attached.stdin,
        "Env": specs.parse_environment(options["env"], options["env_file"], environ),
        "Labels": _labels(options),
        "Volumes": volumes,
        "ExposedPorts": ports,
        "HostConfig": _host_config(options, binds, bindings),
    }
    _add_given(body, options, arguments)
    if console and options["tty"]:
        body["HostConfig"]["ConsoleSize"] = list(console)
    _set_networks(body, options)
    return body


def _add_given(body: dict[str, Any], options: Mapping[str, Any], arguments: Sequence[str]) -> None:
    """Add what a body holds only where it was said."""
    if arguments:
        body["Cmd"] = list(arguments)
    if options["entrypoint"] is not None:
        body["Entrypoint"] = [options["entrypoint"]]
    if options["stop_timeout"] is not None:
        body["StopTimeout"] = options["stop_timeout"]
    if health := read_health(options):
        body["Healthcheck"] = health
    _copy_given(_CONFIG_TEXTS, options, body)


def _copy_given(
    names: Mapping[str, str], options: Mapping[str, Any], target: dict[str, Any]
) -> None:
    target.update({wire: options[name] for name, wire in names.items() if options[name]})


def _labels(options: Mapping[str, Any]) -> dict[str, str]:
    from_files = [line for path in options["label_file"] for line in specs.read_lines(path)]
    return specs.parse_labels([*from_files, *options["label"]])


def _host_config(
    options: Mapping[str, Any], binds: list[str], bindings: Mapping[str, Any]
) -> dict[str, Any]:
    host: dict[str, Any] = {
        "Binds": binds or None,
        "PortBindings": bindings,
        "RestartPolicy": specs.parse_restart_policy(options["restart"]),
        "LogConfig": {
            "Type": options["log_driver"],
            "Config": specs.parse_pairs("log-opt", options["log_opt"]),
        },
    }
    _copy_given(_HOST_TEXTS, options, host)
    _copy_given(_HOST_SWITCHES, options, host)
    host.update({wire: options[n] for n, wire in _HOST_NUMBERS.items() if options[n] is not None})
    host.update({wire: list(options[n]) for n, wire in _HOST_LISTS.items() if options[n]})
    if options["security_opt"]:
        host["SecurityOpt"] = read_security_options(options["security_opt"])
    host.update(_parsed_lists(options))
    host.update(_memory(options))
    if options["cpus"]:
        host["NanoCpus"] = parse_cpus(options["cpus"])
    return host


def _parsed_lists(options: Mapping[str, Any]) -> dict[str, Any]:
    lxc_conf = specs.parse_pairs("lxc-conf", options["lxc_conf"])
    parsed: dict[str, Any] = {
        "Devices": [specs.parse_device(text) for text in options["device"]],
        "Dns": [network_specs.parse_address("dns", text) for text in options["dns"]],
        "ExtraHosts": [network_specs.parse_extra_host(text) for text in options["add_host"]],
        "Links": [network_specs.parse_link(text) for text in options["link"]],
        "LxcConf": [{"Key": key, "Value": value} for key, value in lxc_conf.items()],
        "Mounts": [specs.parse_mount(text) for text in options["mount"]],
        "Sysctls": specs.parse_pairs("sysctl", options["sysctl"]),
        "Tmpfs": specs.parse_tmpfs(options["tmpfs"]),
        "Ulimits": [specs.parse_ulimit(text) for text in options["ulimit"]],
    }
    return {wire: value for wire, value in parsed.items() if value}


def _memory(options: Mapping[str, Any]) -> dict[str, int]:
    sizes = {
        "memory": "Memory",
        "memory_reservation": "MemoryReservation",
        "shm_size": "ShmSize",
    }
    host = {wire: parse_memory(options[name]) for name, wire in sizes.items() if options[name]}
    if swap := options["memory_swap"]:
        host["MemorySwap"] = -1 if swap == "-1" else parse_memory(swap)
    return host


def _set_networks(body: dict[str, Any], options: Mapping[str, Any]) -> None:
    mode, endpoints = network_specs.parse_networks(options["network"], options)
    body["HostConfig"]["NetworkMode"] = mode
    if endpoints:
        body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    if mac_address := endpoints.get(mode, {}).get("MacAddress"):
        body["MacAddress"] = mac_address
