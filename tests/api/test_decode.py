# SPDX-License-Identifier: Apache-2.0
"""From docker's bodies, as the CLI 28 sent them, to the engine's values."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from toolkit.api.decode import container_spec, exec_spec, limits, restart_policy
from toolkit.api.schemas import CreateBody, ExecBody, Resources, RestartPolicy, read_body
from toolkit.engine import model
from toolkit.engine.model import ContainerSpec, Device, Mount, PortBinding, Ulimit
from toolkit.errors import InvalidRequestError

Recorded = Callable[[str], bytes]


def decoded(host: dict[str, Any] | None = None, **config: Any) -> ContainerSpec:
    body = {"Image": "busybox", "HostConfig": host or {}} | config
    return container_spec(read_body(json.dumps(body).encode(), CreateBody))[0]


def test_everything_that_docker_run_can_say_arrives(recorded: Recorded) -> None:
    spec, warnings = container_spec(read_body(recorded("create_full"), CreateBody))
    assert (spec.image, spec.command, spec.entrypoint) == ("busybox", ("-c", "ls"), ("/bin/sh",))
    assert spec.env == ("A=b", "FOO")
    assert (spec.hostname, spec.user, spec.working_dir) == ("a.b.c", "1:2", "/w")
    assert (spec.open_stdin, spec.stdin_once, spec.has_tty) == (True, True, False)
    assert spec.exposed_ports == ("53/udp", "80/tcp")
    assert spec.volumes == ("/anon",)
    assert spec.labels == {"k": "v"}
    assert (spec.stop_signal, spec.stop_timeout_seconds) == ("INT", 3)
    assert spec.health is not None
    assert spec.health.test[0] == "CMD-SHELL"
    assert warnings == []


def test_limits_of_docker_run_arrive(recorded: Recorded) -> None:
    spec, _ = container_spec(read_body(recorded("create_full"), CreateBody))
    assert spec.limits == model.Limits(
        memory_bytes=64 * 2**20,
        memory_swap_bytes=128 * 2**20,
        cpu_shares=512,
        nano_cpus=1_500_000_000,
        cpuset_cpus="0",
        pids=20,
    )


def test_host_options_of_docker_run_arrive(recorded: Recorded) -> None:
    host = container_spec(read_body(recorded("create_full"), CreateBody))[0].host
    assert host.mounts == (
        Mount(kind="bind", source="/a", target="/b", read_only=True, options="ro"),
        Mount(kind="volume", source="x1", target="/y"),
        Mount(kind="bind", source="/s", target="/t", read_only=True, from_binds=False),
    )
    assert host.published_ports == {
        "53/udp": (PortBinding(host_ip="127.0.0.1"),),
        "80/tcp": (PortBinding(host_port=8080),),
    }
    assert host.restart_policy == model.RestartPolicy(name="on-failure", maximum_retries=3)
    assert host.devices == (
        Device(host_path="/dev/null", container_path="/dev/x", permissions="r"),
    )
    assert host.ulimits == (Ulimit(name="nofile", soft=10, hard=20),)
    assert (host.network_mode, host.tmpfs) == ("none", {"/run": "size=1m"})
    assert (host.cap_add, host.cap_drop) == (("CAP_SYS_ADMIN",), ("ALL",))
    assert (host.privileged, host.read_only_rootfs, host.init) == (True, True, True)
    assert (host.dns, host.extra_hosts, host.sysctls) == (
        ("1.1.1.1",),
        ("h:1.2.3.4",),
        {"net.x": "1"},
    )
    assert (host.links, host.volumes_from, host.group_add) == (("a:b",), ("z:ro",), ("5",))
    assert (host.shm_size_bytes, host.log_options) == (32 * 2**20, {"max-size": "1m"})


def test_the_plainest_docker_run_has_dockers_defaults(recorded: Recorded) -> None:
    spec, warnings = container_spec(read_body(recorded("create_plain"), CreateBody))
    assert warnings == []
    assert spec == ContainerSpec(
        image="busybox",
        command=("sleep", "1"),
        host=model.HostOptions(network_mode="host"),
    )


@pytest.mark.parametrize("mode", ["", "default", None, "bridge"])
def test_the_default_network_is_the_bridge(mode: str | None) -> None:
    endpoints = {"EndpointsConfig": {"default": None}}
    assert decoded({"NetworkMode": mode}, NetworkingConfig=endpoints).host.network_mode == "bridge"


def test_one_text_is_a_list_of_one_word() -> None:
    spec = decoded({"CapAdd": "ALL"}, Cmd="echo", Entrypoint="sh")
    assert (spec.command, spec.entrypoint, spec.host.cap_add) == (("echo",), ("sh",), ("ALL",))


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"Binds": ["a"]}, "invalid volume specification"),
        ({"Binds": ["/a:b"]}, "must be absolute"),
        ({"Binds": ["/a:/"]}, "destination can't be '/'"),
        ({"Binds": ["/a:/b:bad"]}, "invalid mode"),
        ({"Binds": ["/a:/b:ro:x"]}, "invalid volume specification"),
        ({"Binds": ["../a:/b"]}, "use absolute path"),
        ({"Binds": ["/a:/b", "/c:/b/"]}, "Duplicate mount point: /b"),
        ({"Mounts": [{"Type": "bind", "Target": "/t"}]}, "Source must not be empty"),
        ({"Mounts": [{"Type": "bind", "Source": "/s"}]}, "Target must not be empty"),
        ({"Mounts": [{"Type": "bind", "Source": "s", "Target": "/t"}]}, "must be absolute"),
        ({"Mounts": [{"Type": "odd", "Target": "/t"}]}, "mount type unknown"),
        ({"PortBindings": {"80/odd": []}}, "invalid proto"),
        ({"PortBindings": {"x/tcp": []}}, "invalid port"),
        ({"PortBindings": {"80/tcp": [{"HostPort": "65536"}]}}, "invalid port"),
        ({"PortBindings": {"80/tcp": [{"HostIp": "x"}]}}, "invalid IP address"),
        ({"RestartPolicy": {"Name": "odd"}}, "unknown policy 'odd'"),
        ({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 1}}, "only be used with"),
        ({"RestartPolicy": {"Name": "always"}, "AutoRemove": True}, "AutoRemove"),
        ({"LogConfig": {"Type": "syslog"}}, "no log driver named 'syslog'"),
        ({"Runtime": "odd"}, "invalid runtime name"),
        ({"DeviceRequests": [{"Capabilities": [["gpu"]]}]}, "could not select device driver"),
        ({"OomScoreAdj": 1001}, "oom score adj"),
        ({"ShmSize": -1}, "SHM size"),
        ({"Ulimits": [{"Name": "nofile", "Soft": 2, "Hard": 1}]}, "soft limit"),
        ({"Devices": [{"PathOnHost": "null"}]}, "absolute"),
        ({"Devices": [{"PathOnHost": "/dev/null", "CgroupPermissions": "x"}]}, "device mode"),
    ],
)
def test_what_cannot_be_meant_is_refused(host: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        decoded(host)


@pytest.mark.parametrize("volumes", [{"x:/y": {}}, {"y": None}, {"/": {}}])
def test_a_volume_without_an_absolute_path_is_refused(volumes: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="invalid volume specification"):
        decoded(Volumes=volumes)


def test_a_create_without_an_image_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="no image"):
        container_spec(CreateBody())


def test_what_is_left_out_becomes_a_warning() -> None:
    body = read_body(
        b'{"Image":"a","HostConfig":{"CgroupParent":"x","MemorySwappiness":60}}', CreateBody
    )
    assert container_spec(body)[1] == [
        "CgroupParent is not supported by this engine. Ignored.",
        "MemorySwappiness is not supported by this engine. Ignored.",
    ]


def test_the_runtime_chooses_the_backend() -> None:
    assert decoded({"Runtime": "lxc"}).host.backend == "lxc"
    assert decoded({"Runtime": "runc"}).host.backend == ""


def test_port_ranges_are_spread_out() -> None:
    assert decoded(ExposedPorts={"80-82": {}}).exposed_ports == ("80/tcp", "81/tcp", "82/tcp")


def test_zero_and_null_leave_limits_alone() -> None:
    assert limits(Resources(memory=0, pids_limit=None)) == model.Limits()
    assert restart_policy(RestartPolicy(name="")) == model.RestartPolicy()


def test_an_exec_needs_a_command() -> None:
    with pytest.raises(InvalidRequestError, match="No exec command"):
        exec_spec(ExecBody(cmd=[]))


def test_an_exec_has_what_was_asked_for() -> None:
    raw = b'{"Cmd":["sh"],"Tty":true,"AttachStdin":true,"Env":["A=1"],"User":"1","WorkingDir":"/x"}'
    spec = exec_spec(read_body(raw, ExecBody))
    assert spec == model.ExecSpec(
        command=("sh",), has_tty=True, attach_stdin=True, env=("A=1",), user="1", working_dir="/x"
    )


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({"Interval": 10}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"StartPeriod": -1}, "StartPeriod in Healthcheck cannot be less than 1ms"),
        ({"Retries": -1}, "Retries in Healthcheck cannot be negative"),
        ({"Test": ["RUN", "x"]}, "Unknown healthcheck type 'RUN'"),
    ],
)
def test_a_health_check_that_cannot_be_is_refused(check: dict[str, Any], message: str) -> None:
    body = json.dumps({"Image": "busybox", "Healthcheck": check}).encode()
    with pytest.raises(InvalidRequestError, match=message):
        container_spec(read_body(body, CreateBody))
