# SPDX-License-Identifier: Apache-2.0
"""From a record to the document of its start."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.host import FakeRootfs
from toolkit.config import Instance
from toolkit.engine.files import ContainerFiles
from toolkit.engine.launch import (
    LaunchContext,
    capabilities_of,
    environment,
    exec_process,
    launch_document,
    replaced_env,
    write_bundle,
)
from toolkit.engine.limits import HostLimits
from toolkit.engine.model import (
    ContainerId,
    ContainerRecord,
    ContainerSpec,
    Device,
    ExecSpec,
    HostOptions,
    ImageId,
    Limits,
    Mount,
    Ulimit,
)
from toolkit.engine.volumes import VolumeDirectories
from toolkit.errors import InvalidRequestError
from toolkit.kernel.capabilities import CAPABILITIES

ID = ContainerId("f" * 64)
SHM = "/dev/shm"  # noqa: S108 - a path inside the container


@pytest.fixture
def context(tmp_path: Path) -> LaunchContext:
    instance = Instance(name="test", data_dir=tmp_path / "data", run_dir=tmp_path / "run")
    files = ContainerFiles.of(instance, ID)
    files.dir.mkdir(parents=True)
    return LaunchContext(
        instance_name="test",
        cgroup=f"test/{ID}",
        files=files,
        rootfs=FakeRootfs(lower_dirs=(Path("/l/1"), Path("/l/2"))),
        volumes=VolumeDirectories(instance.data_dir),
        limits=HostLimits(),
        seccomp_program=lambda kept, _: f"/filters/{len(kept)}.bpf",
        pid_of=lambda _: 4711,
        init_program=lambda: Path("/run/t/init"),
    )


def record(*mounts: Mount, host: HostOptions | None = None, **fields: Any) -> ContainerRecord:
    spec = ContainerSpec(image="x", hostname="web", host=host or HostOptions(), **fields)
    return ContainerRecord(
        id=ID,
        name="n",
        created=datetime.now(UTC),
        image_id=ImageId(""),
        path="sh",
        args=("-c", "x"),
        spec=spec,
        mounts=mounts,
    )


def mount_of(document: dict[str, Any], target: str) -> dict[str, Any]:
    found = [mount for mount in document["mounts"] if mount["destination"] == target]
    assert len(found) == 1
    return dict(found[0])


def test_a_plain_container_is_closed(context: LaunchContext) -> None:
    """Section 3 of the security notes: capabilities, namespaces, masks, pids, filter."""
    document = launch_document(record(), context)
    process, linux = document["process"], document["linux"]
    assert process["args"] == ["sh", "-c", "x"]
    assert process["cwd"] == "/"
    assert len(process["capabilities"]["bounding"]) == 11
    assert {*process["capabilities"]} == {"bounding", "effective", "permitted"}
    assert {entry["type"] for entry in linux["namespaces"]} == {
        *("pid", "network", "ipc", "uts", "mount", "cgroup")
    }
    assert "/proc/kcore" in linux["maskedPaths"]
    assert "/proc/sys" in linux["readonlyPaths"]
    assert linux["resources"]["pids"] == {"limit": 2048}
    assert linux["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    assert linux["cgroupsPath"] == f"test/{ID}"
    assert document["annotations"]["toolkit.seccomp.program"] == "/filters/11.bpf"
    assert json.loads(document["annotations"]["toolkit.rootfs"])["lower_dirs"] == ["/l/1", "/l/2"]


def test_a_privileged_container_is_open(context: LaunchContext) -> None:
    """RT-064, RT-065."""
    document = launch_document(record(host=HostOptions(privileged=True)), context)
    linux = document["linux"]
    assert document["process"]["capabilities"]["bounding"] == list(CAPABILITIES)
    assert linux["maskedPaths"] == linux["readonlyPaths"] == []
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert "toolkit.seccomp.program" not in document["annotations"]
    assert "rw" in mount_of(document, "/sys")["options"]


def test_the_environment_is_dockers_and_the_last_word_is_the_containers() -> None:
    """RT-058: defaults, then the container's own, each name once."""
    plain = record(env=("A=1", "A=2", "HOSTNAME=other", "EMPTY="))
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert environment(plain) == [path, "HOSTNAME=other", "A=2", "EMPTY="]
    with_tty = record(has_tty=True, env=("PATH",))
    assert environment(with_tty) == ["HOSTNAME=web", "TERM=xterm"]
    assert replaced_env(["A=1", "B=2"], ["B", "C=a=b"]) == ["A=1", "C=a=b"]


def test_home_is_left_to_the_passwd_file_unless_it_is_given(context: LaunchContext) -> None:
    def annotation(spec: ContainerRecord) -> str:
        return str(launch_document(spec, context)["annotations"]["toolkit.home.default"])

    assert annotation(record()) == "1"
    assert annotation(record(env=("HOME=/x",))) == ""


@pytest.mark.parametrize(
    ("add", "drop", "kept"),
    [
        ((), ("ALL",), []),
        (("NET_RAW",), ("all",), ["CAP_NET_RAW"]),
        (("ALL",), ("cap_sys_admin",), [name for name in CAPABILITIES if name != "CAP_SYS_ADMIN"]),
        (("ALL",), ("ALL",), list(CAPABILITIES)),
    ],
)
def test_capabilities_are_added_and_dropped(
    add: tuple[str, ...], drop: tuple[str, ...], kept: list[str]
) -> None:
    assert capabilities_of(HostOptions(cap_add=add, cap_drop=drop), "podman") == kept


def test_the_profile_of_docker_adds_three_and_lets_nodes_be_made(context: LaunchContext) -> None:
    """S-09: nodes can be made where CAP_MKNOD is kept; none can be opened that could not before."""
    strict = launch_document(record(), context)
    docker = launch_document(record(), dataclasses.replace(context, capability_profile="docker"))
    more = {"CAP_AUDIT_WRITE", "CAP_MKNOD", "CAP_NET_RAW"}
    bounding = [set(each["process"]["capabilities"]["bounding"]) for each in (strict, docker)]
    assert bounding[1] - bounding[0] == more
    assert bounding[0] < bounding[1]
    rules = [each["linux"]["resources"]["devices"] for each in (strict, docker)]
    assert rules[1] == [
        *rules[0],
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "b", "access": "m"},
    ]
    process = exec_process(record(), ExecSpec(command=("ls",)), "docker")
    assert process["capabilities"] == docker["process"]["capabilities"]


def test_namespaces_of_the_host_are_shared_when_asked(context: LaunchContext) -> None:
    host = HostOptions(
        network_mode="host", pid_mode="host", uts_mode="host", ipc_mode="host",
        cgroupns_mode="host",
    )  # fmt: skip
    document = launch_document(record(host=host), context)
    assert document["linux"]["namespaces"] == [{"type": "mount"}]
    assert document["linux"]["sysctl"] == {}
    assert mount_of(document, SHM)["type"] == "bind"


def test_mounts_become_the_standards(context: LaunchContext, tmp_path: Path) -> None:
    source = tmp_path / "made"
    document = launch_document(
        record(
            Mount(kind="bind", source=str(source), target="/b", read_only=True),
            Mount(kind="volume", source="v", target="/v"),
            Mount(kind="tmpfs", source="", target="/t", options="size=1m"),
            Mount(kind="bind", source="/h", target="/etc/hosts", from_binds=False),
        ),
        context,
    )
    assert source.is_dir()
    assert mount_of(document, "/b")["options"] == ["rbind", "ro", "rprivate"]
    assert Path(mount_of(document, "/v")["source"]).is_dir()
    assert "size=1m" in mount_of(document, "/t")["options"]
    assert mount_of(document, "/etc/hosts")["source"] == "/h"


def test_a_container_may_mount_over_shm(context: LaunchContext) -> None:
    mount = Mount(kind="tmpfs", source="", target=SHM, options="size=1g")
    assert "size=1g" in mount_of(launch_document(record(mount), context), SHM)["options"]


def test_a_bind_source_below_a_file_is_refused(context: LaunchContext, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    mount = Mount(kind="bind", source=str(tmp_path / "file" / "x"), target="/b")
    with pytest.raises(InvalidRequestError, match="mount source path"):
        launch_document(record(mount), context)


def test_a_device_of_the_host_is_made_and_allowed(context: LaunchContext) -> None:
    device = Device(host_path="/dev/full", container_path="/dev/mine", permissions="r")
    linux = launch_document(record(host=HostOptions(devices=(device,))), context)["linux"]
    assert [linux["devices"][0][key] for key in ("path", "type", "major", "minor")] == [
        *("/dev/mine", "c", 1, 7)
    ]
    rule = {"allow": True, "type": "c", "major": 1, "minor": 7, "access": "r"}
    assert linux["resources"]["devices"][-1] == rule


@pytest.mark.parametrize("path", ["/dev/nosuch", "/etc/passwd"])
def test_what_is_no_device_is_refused(context: LaunchContext, path: str) -> None:
    host = HostOptions(devices=(Device(host_path=path, container_path=path),))
    with pytest.raises(InvalidRequestError, match="device"):
        launch_document(record(host=host), context)


def test_security_options_are_read(context: LaunchContext) -> None:
    host = HostOptions(security_options=("no-new-privileges", "seccomp=unconfined"))
    document = launch_document(record(host=host), context)
    assert document["process"]["noNewPrivileges"] is True
    assert "toolkit.seccomp.program" not in document["annotations"]
    with pytest.raises(InvalidRequestError, match="security-opt"):
        launch_document(record(host=replace(host, security_options=("x=y",))), context)


def test_ulimits_limits_log_and_the_rest_arrive(context: LaunchContext) -> None:
    host = HostOptions(
        ulimits=(Ulimit(name="nofile", soft=10, hard=20), Ulimit(name="core", soft=0, hard=0)),
        log_options={"max-size": "2k", "max-file": "5"},
        group_add=("audio", "7"),
        read_only_rootfs=True,
        oom_score_adj=5,
    )
    document = launch_document(
        record(
            host=host,
            limits=Limits(memory_bytes=1 << 20),
            working_dir="/w",
            user="1:2",
            open_stdin=True,
        ),
        context,
    )
    process, annotations = document["process"], document["annotations"]
    assert {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20} in process["rlimits"]
    assert len([entry for entry in process["rlimits"] if entry["type"] == "RLIMIT_CORE"]) == 1
    assert (process["cwd"], process["oomScoreAdj"]) == ("/w", 5)
    assert process["user"]["additionalGids"] == ["audio", "7"]
    assert document["root"]["readonly"] is True
    assert document["linux"]["resources"]["memory"]["limit"] == 1 << 20
    assert annotations["toolkit.log.max_bytes"] == "2048"
    assert annotations["toolkit.log.max_files"] == "5"
    assert annotations["toolkit.user"] == "1:2"
    assert annotations["toolkit.stdin.open"] == "1"
    assert all(isinstance(value, str) for value in annotations.values())


def test_a_bundle_is_a_file_that_reads_back(context: LaunchContext) -> None:
    write_bundle(record(), context)
    path = context.files.bundle_dir / "config.json"
    assert json.loads(path.read_bytes())["hostname"] == "web"
    assert (context.files.bundle_dir / "rootfs").is_dir()
    assert context.files.hostname.read_text() == "web\n"


def test_an_exec_has_the_containers_environment_and_its_own() -> None:
    spec = ExecSpec(command=("ls",), env=("B=2",), has_tty=True, privileged=True)
    process = exec_process(record(env=("A=1",), working_dir="/w"), spec, "podman")
    assert process["args"] == ["ls"]
    assert process["env"][-3:] == ["A=1", "TERM=xterm", "B=2"]
    assert (process["cwd"], process["terminal"]) == ("/w", True)
    assert process["capabilities"]["bounding"] == list(CAPABILITIES)
