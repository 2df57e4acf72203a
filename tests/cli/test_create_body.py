# SPDX-License-Identifier: Apache-2.0
"""What the flags of `create` become on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.stub_engine import StubEngine, says

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine

ID = "ab" * 32


def created(toolkit: CommandLine, stub: StubEngine, *words: str) -> dict[str, Any]:
    stub.on("POST /containers/create", says(201, {"Id": ID, "Warnings": []}))
    result = toolkit("create", *words)
    assert (result.exit_code, result.out, result.err) == (0, ID + "\n", "")
    body: dict[str, Any] = stub.request("POST /containers/create").document
    return body


@pytest.mark.parametrize(
    ("words", "attached"),
    [
        (["-a", "stdin"], (True, False, False)),
        (["-a", "stdin", "-a", "stdout"], (True, True, False)),
        (["-a", "STDIN", "-a", "stdout", "-a", "stderr"], (True, True, True)),
        ([], (False, True, True)),
        (["-i"], (True, True, True)),
    ],
)
def test_the_streams_that_are_attached(
    toolkit: CommandLine, stub: StubEngine, words: list[str], attached: tuple[bool, ...]
) -> None:
    """RT-077, API-081."""
    body = created(toolkit, stub, *words, "busybox")
    assert tuple(body[f"Attach{name}"] for name in ("Stdin", "Stdout", "Stderr")) == attached


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["-m", "64m"], "Memory", 64 << 20),
        (["--memory-swap", "-1"], "MemorySwap", -1),
        (["-c", "512"], "CpuShares", 512),
        (["--cpus", "1.5"], "NanoCpus", 1_500_000_000),
        (["--cpuset-cpus", "0-1"], "CpusetCpus", "0-1"),
        (["--pids-limit", "10"], "PidsLimit", 10),
        (["--pids-limit=-1"], "PidsLimit", -1),
        (["--rm"], "AutoRemove", True),
        (["--privileged=true"], "Privileged", True),
        (["--init"], "Init", True),
        (["--read-only"], "ReadonlyRootfs", True),
        (["-P"], "PublishAllPorts", True),
        (["--network", "host"], "NetworkMode", "host"),
        (["--net=none"], "NetworkMode", "none"),
        (["--network", "lan", "--network", "wan"], "NetworkMode", "lan"),
        (["--dns-opt", "ndots:1", "--dns-option", "rotate"], "DnsOptions", ["ndots:1", "rotate"]),
        (["--dns", "9.9.9.9"], "Dns", ["9.9.9.9"]),
        (["--dns-search", "."], "DnsSearch", ["."]),
        (["--link", "db:store"], "Links", ["db:store"]),
        ([], "NetworkMode", "default"),
        (["--cap-add", "SYS_ADMIN", "--cap-add=NET_RAW"], "CapAdd", ["SYS_ADMIN", "NET_RAW"]),
        (["--cap-drop", "ALL"], "CapDrop", ["ALL"]),
        (["--security-opt", "no-new-privileges"], "SecurityOpt", ["no-new-privileges"]),
        (["--tmpfs", "/run:size=1m"], "Tmpfs", {"/run": "size=1m"}),
        (["--sysctl", "a.b=1"], "Sysctls", {"a.b": "1"}),
        (["--shm-size", "1g"], "ShmSize", 1 << 30),
        (["--oom-score-adj", "-500"], "OomScoreAdj", -500),
        (["--dns", "8.8.8.8"], "Dns", ["8.8.8.8"]),
        (["--add-host", "a:1.2.3.4"], "ExtraHosts", ["a:1.2.3.4"]),
        (["--pid", "host"], "PidMode", "host"),
        (["--uts", "host"], "UTSMode", "host"),
        (["--ipc", "host"], "IpcMode", "host"),
        (["--cgroupns", "private"], "CgroupnsMode", "private"),
        (["--link", "a:b", "--link", "c:d"], "Links", ["a:b", "c:d"]),
        (["--volumes-from", "x:ro"], "VolumesFrom", ["x:ro"]),
        (["--lxc-conf", "a=b"], "LxcConf", [{"Key": "a", "Value": "b"}]),
        (["--log-opt", "max-size=1m"], "LogConfig", {"Type": "", "Config": {"max-size": "1m"}}),
        (
            ["--restart", "on-failure:2"],
            "RestartPolicy",
            {"Name": "on-failure", "MaximumRetryCount": 2},
        ),
        (["-v", "/a:/b:ro"], "Binds", ["/a:/b:ro"]),
    ],
)
def test_flags_of_the_host_configuration(
    toolkit: CommandLine, stub: StubEngine, words: list[str], key: str, value: object
) -> None:
    assert created(toolkit, stub, *words, "busybox")["HostConfig"][key] == value


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["-u", "daemon"], "User", "daemon"),
        (["-w", "/x"], "WorkingDir", "/x"),
        (["-h", "foo.bar"], "Hostname", "foo.bar"),
        (["-e", "A=b"], "Env", ["A=b"]),
        (["--entrypoint", "/bin/x"], "Entrypoint", ["/bin/x"]),
        (["--entrypoint", ""], "Entrypoint", [""]),
        (["-l", "a=b", "--label", "c"], "Labels", {"a": "b", "c": ""}),
        (["-t"], "Tty", True),
        (["-it"], "OpenStdin", True),
        (["-it"], "StdinOnce", True),
        (["-v", "/data"], "Volumes", {"/data": {}}),
        (["-p", "8080:80"], "ExposedPorts", {"80/tcp": {}}),
        (["--stop-signal", "INT"], "StopSignal", "INT"),
        (["--stop-timeout", "3"], "StopTimeout", 3),
        (
            ["--net", "lan", "--net-alias", "a", "--ip", "10.1.0.5"],
            "NetworkingConfig",
            {
                "EndpointsConfig": {
                    "lan": {"Aliases": ["a"], "IPAMConfig": {"IPv4Address": "10.1.0.5"}}
                }
            },
        ),
    ],
)
def test_flags_of_the_configuration(
    toolkit: CommandLine, stub: StubEngine, words: list[str], key: str, value: object
) -> None:
    assert created(toolkit, stub, *words, "busybox")[key] == value


def test_everything_after_the_image_belongs_to_the_container(
    toolkit: CommandLine, stub: StubEngine
) -> None:
    body = created(toolkit, stub, "-m", "1g", "busybox", "sh", "-c", "x", "--rm=false", "-m", "2g")
    assert body["Cmd"] == ["sh", "-c", "x", "--rm=false", "-m", "2g"]
    assert body["HostConfig"]["Memory"] == 1 << 30
    assert "AutoRemove" not in body["HostConfig"]


def test_no_command_takes_the_images(toolkit: CommandLine, stub: StubEngine) -> None:
    body = created(toolkit, stub, "busybox")
    assert "Cmd" not in body
    assert "Entrypoint" not in body


@pytest.mark.parametrize("word", ["--rm=false", "--rm=0", "-i=false"])
def test_a_flag_can_be_said_to_be_off(toolkit: CommandLine, stub: StubEngine, word: str) -> None:
    body = created(toolkit, stub, word, "busybox")
    assert not body["HostConfig"].get("AutoRemove")
    assert not body["OpenStdin"]


def test_the_name_goes_into_the_query(toolkit: CommandLine, stub: StubEngine) -> None:
    created(toolkit, stub, "--name", "a b", "busybox")
    assert stub.lines == ["POST /containers/create?name=a%20b"]


@pytest.mark.parametrize(
    "words",
    [
        ["-a", "invalid"],
        ["-a", "invalid", "-a", "stdout"],
        ["-m", "1x"],
        ["--cpus", "many"],
        ["-v", "/srv:"],
        ["--link", "a"],
        ["--ulimit", "x"],
        ["--dns", "127"],
        ["-p", "a:b:c:d"],
    ],
)
def test_a_bad_value_is_one_line_and_nothing_is_sent(
    toolkit: CommandLine, stub: StubEngine, words: list[str]
) -> None:
    """RT-076, RT-077, RT-078, RT-079."""
    result = toolkit("run", *words, "busybox")
    assert result.exit_code == 125
    assert result.err.startswith("toolkit: ")
    assert len(result.err.splitlines()) == 1
    assert stub.requests == []


@pytest.mark.parametrize("flag", ["-a", "-v", "--link"])
def test_a_flag_that_swallows_the_image_leaves_none(
    toolkit: CommandLine, stub: StubEngine, flag: str
) -> None:
    """RT-076, RT-077, RT-078: a bare flag takes the next word."""
    result = toolkit("run", flag, "ubuntu")
    assert result.exit_code == 1
    assert "IMAGE" in result.err
    assert stub.requests == []
