# SPDX-License-Identifier: Apache-2.0
"""Topics 4 and 11: environment, user, entry point, privileges; the first program as an init."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.client import ApiError
from toolkit.engine.inits import InitMissingError, find_static_init

if TYPE_CHECKING:
    from integration.contract.conftest import Containers


@pytest.mark.parametrize("user", ["", "root", "0"])
def test_root_by_any_name(containers: Containers, user: str) -> None:
    """RT-057."""
    _, out, _ = containers.run("id", User=user)
    assert out.startswith(b"uid=0(root) gid=0(root)")


@pytest.mark.parametrize("user", ["1", "daemon"])
def test_another_user_by_any_name(containers: Containers, user: str) -> None:
    """RT-057."""
    code, out, _ = containers.run("id", User=user)
    assert (code, out.split(b" groups")[0].strip()) == (0, b"uid=1(daemon) gid=1(daemon)")


def test_an_unknown_user_is_refused(containers: Containers) -> None:
    """RT-057."""
    made = containers.create("id", User="unknownuser")
    with pytest.raises(ApiError, match="unable to find user unknownuser"):
        containers.client.start(made)


def test_supplementary_groups_by_name_and_number(containers: Containers) -> None:
    _, out, _ = containers.run("id", "-G", User="1", host={"GroupAdd": ["root", "4711"]})
    assert set(out.split()) == {b"1", b"0", b"4711"}


def test_the_environment_is_exactly_this(containers: Containers) -> None:
    """RT-058: without `container=lxc`, which stands in docs/compatibility.md."""
    env = ["FALSE=true", "TRUE=false", "TRICKY=tri\ncky\n"]
    _, out, _ = containers.run("env", Env=env)
    own = containers.made[-1][:12].encode()
    lines = sorted(line for line in out.split(b"\n") if line != b"container=lxc")
    default = b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert [line for line in lines if line] == sorted(
        [default, b"HOME=/root", b"HOSTNAME=" + own, b"FALSE=true", b"TRUE=false",
         b"TRICKY=tri", b"cky"]
    )  # fmt: skip


def test_an_entry_point_with_and_without_a_command(containers: Containers) -> None:
    """RT-059, RT-060."""
    assert containers.run("-n", "foobar", Entrypoint=["/bin/echo"])[1] == b"foobar"
    made = containers.client.create(
        {"Image": "busybox", "Entrypoint": ["/bin/echo", "foobar"],
         "HostConfig": {"NetworkMode": "none", "Runtime": containers.backend}}
    ).id  # fmt: skip
    containers.made.append(made)
    containers.client.start(made)
    containers.client.wait(made).result()
    assert containers.output(made) == b"foobar\n"


def test_host_and_domain_name(containers: Containers) -> None:
    """RT-061."""
    assert containers.run("hostname", Hostname="foobar")[1] == b"foobar\n"
    _, out, _ = containers.run("cat", "/etc/hostname", "/etc/hosts", Hostname="h", Domainname="d.e")
    assert b"h.d.e h\n" in out


@pytest.mark.parametrize("path", ["/foo/bar", "/proc"])
def test_the_working_directory_is_made(containers: Containers, path: str) -> None:
    """RT-062, RT-063, API-038, API-039."""
    assert containers.run("pwd", WorkingDir=path)[1].decode() == f"{path}\n"


@pytest.mark.parametrize(
    "command", ["mknod /tmp/sda b 8 0", "mount -t tmpfs none /tmp"], ids=["mknod", "mount"]
)
@pytest.mark.parametrize("privileged", [True, False])
def test_only_the_privileged_make_devices_and_mounts(
    containers: Containers,
    command: str,
    privileged: bool,  # noqa: FBT001 - a test's parameter
) -> None:
    """RT-064, RT-065, RT-066, RT-067."""
    code, *_ = containers.run("sh", "-c", command, host={"Privileged": privileged})
    assert (code == 0) is privileged


def test_a_container_forwards_nothing_unless_asked_to(containers: Containers) -> None:
    """Whatever the host does for its bridges."""
    show = ("cat", "/proc/sys/net/ipv4/ip_forward")
    assert containers.run(*show)[1] == b"0\n"
    wish = {"Sysctls": {"net.ipv4.ip_forward": "1"}}
    assert containers.run(*show, host=wish)[1] == b"1\n"


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ({"CapDrop": ["ALL"]}, "0000000000000000"),
        ({"CapDrop": ["ALL"], "CapAdd": ["CHOWN"]}, "0000000000000001"),
        ({"CapDrop": ["all"], "CapAdd": ["cap_net_raw"]}, "0000000000002000"),
    ],
)
def test_capabilities_are_what_was_asked_for(
    containers: Containers, host: dict[str, Any], wanted: str
) -> None:
    _, out, _ = containers.run("sh", "-c", "grep CapEff /proc/self/status", host=host)
    assert out.split()[1].decode() == wanted


@pytest.mark.parametrize(
    ("options", "wanted"),
    [([], b"0 2"), (["no-new-privileges"], b"1 2"), (["seccomp=unconfined"], b"0 0")],
)
def test_security_options(containers: Containers, options: list[str], wanted: bytes) -> None:
    script = "echo $(grep -E 'NoNewPrivs|Seccomp:' /proc/self/status | cut -f2)"
    _, out, _ = containers.run("sh", "-c", script, host={"SecurityOpt": options})
    assert out.strip() == wanted


def test_a_filter_of_ones_own(containers: Containers) -> None:
    profile = (
        '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":'
        '[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}'
    )
    code, _, problem = containers.run(
        "mkdir", "/made", host={"SecurityOpt": [f"seccomp={profile}"]}
    )
    assert code != 0
    assert b"not implemented" in problem
    with pytest.raises(ApiError, match="seccomp profile"):
        containers.create("true", host={"SecurityOpt": ["seccomp={}"]})


def test_a_read_only_root_with_places_to_write(containers: Containers) -> None:
    script = "touch /x; touch /run/y && echo ok; df -k /run | tail -1 | awk '{print $2}'"
    _, out, problem = containers.run(
        "sh", "-c", script, host={"ReadonlyRootfs": True, "Tmpfs": {"/run": "size=64k,mode=700"}}
    )
    assert (b"Read-only" in problem, out) == (True, b"ok\n64\n")


def test_the_size_of_shared_memory(containers: Containers) -> None:
    script = "df -k /dev/shm | tail -1 | awk '{print $2}'"
    assert containers.run("sh", "-c", script, host={"ShmSize": 1 << 20})[1] == b"1024\n"


def test_kernel_settings_of_its_own_namespaces(containers: Containers) -> None:
    host = {"Sysctls": {"kernel.msgmax": "9000", "net.ipv4.ip_forward": "1"}}
    script = "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_forward"
    assert containers.run("sh", "-c", script, host=host)[1] == b"9000\n1\n"
    with pytest.raises(ApiError, match="sysctl"):
        containers.create("true", host={"Sysctls": {"kernel.panic": "1"}})


def test_added_hosts_and_resolver(containers: Containers) -> None:
    host = {
        "ExtraHosts": ["other:10.1.2.3"], "Dns": ["9.9.9.9"], "DnsSearch": ["a.b"],
        "DnsOptions": ["ndots:2"],
    }  # fmt: skip
    _, out, _ = containers.run("cat", "/etc/hosts", "/etc/resolv.conf", host=host)
    for line in (b"10.1.2.3\tother", b"nameserver 9.9.9.9", b"search a.b", b"options ndots:2"):
        assert line in out


def test_an_init_reaps_what_others_leave(containers: Containers) -> None:
    """Topic 11: the first program is an init, and passes signals on."""
    try:
        find_static_init()
    except InitMissingError as error:
        pytest.skip(str(error))
    script = "trap 'exit 9' TERM; (sleep 0.05 & exec true) ; while :; do sleep 0.05; done"
    made = containers.start("sh", "-c", script, host={"Init": True})
    top = containers.client.top(made)["Processes"]
    assert "docker-init" in top[0][-1]
    containers.client.stop(made, timeout_seconds=5)
    assert containers.state(made, "ExitCode") == 9


def test_processes_are_shared_with_another_container(containers: Containers) -> None:
    peer = containers.start("sleep", "4711")
    _, out, _ = containers.run("ps", host={"PidMode": f"container:{peer}"})
    assert b"sleep 4711" in out
    assert b"sleep 4711" not in containers.run("ps")[1]
    assert containers.state(peer)


def test_ipc_and_its_memory_are_shared_with_another_container(containers: Containers) -> None:
    peer = containers.start("sh", "-c", "echo here >/dev/shm/note; echo; sleep 60")
    while not containers.output(peer):
        time.sleep(0.01)
    mode = {"IpcMode": f"container:{peer}"}
    script = "cat /dev/shm/note; echo there >/dev/shm/answer; readlink /proc/self/ns/ipc"
    _, out, err = containers.run("sh", "-c", script, host=mode)
    shared = Path(f"/proc/{containers.client.inspect(peer)['State']['Pid']}/ns/ipc").readlink()
    assert (out.decode().split(), err) == (["here", str(shared)], b"")
    seen = Path(f"/proc/{containers.client.inspect(peer)['State']['Pid']}/root/dev/shm/answer")
    assert seen.read_text() == "there\n"


def test_a_network_is_shared_with_another_container(containers: Containers) -> None:
    peer = containers.start("nc", "-l", "-p", "4712")
    mode = {"NetworkMode": f"container:{peer[:12]}"}
    code, *_ = containers.run("sh", "-c", "hostname; echo x | nc -w 1 127.0.0.1 4712", host=mode)
    assert code == 0
    containers.client.wait(peer).result()
    made = containers.create("true", host=mode)
    with pytest.raises(ApiError, match="non running") as refused:
        containers.client.start(made)
    assert refused.value.status == 409


@pytest.mark.parametrize(
    ("option", "kind"),
    [("PidMode", "pid"), ("IpcMode", "ipc"), ("UTSMode", "uts"), ("CgroupnsMode", "cgroup"),
     ("NetworkMode", "net")],
)  # fmt: skip
def test_namespaces_of_the_host(containers: Containers, option: str, kind: str) -> None:
    of_host = str(Path(f"/proc/self/ns/{kind}").readlink())
    script = f"readlink /proc/self/ns/{kind}"
    _, out, _ = containers.run("sh", "-c", script, host={option: "host"})
    assert out.decode().strip() == of_host
    _, out, _ = containers.run("sh", "-c", script)
    assert out.decode().strip() != of_host
