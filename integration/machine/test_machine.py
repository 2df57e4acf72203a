# SPDX-License-Identifier: Apache-2.0
"""What a machine has to have for containers, whatever made it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from integration.machine.conftest import Machine

PACKAGES = ("busybox-static", "iproute2", "iptables", "libseccomp2", "lxc")
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
CONTROLLERS = ("cpu", "cpuset", "memory", "pids")
OLDEST_KERNEL = (5, 12)
LXC_SCRIPT = """
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
mkdir -p "$directory/root/bin" "$directory/lxc"
cp /bin/busybox "$directory/root/bin/"
cat >"$directory/conf" <<END
lxc.rootfs.path = dir:$directory/root
lxc.net.0.type = empty
lxc.console.path = none
lxc.uts.name = tkt-machine
END
lxc-start -F -P "$directory/lxc" -n tkt-machine -f "$directory/conf" -- /bin/busybox hostname
"""


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_is_installed(machine: Machine, name: str) -> None:
    assert machine.host.package(name).is_installed


def test_the_kernel_is_new_enough(machine: Machine) -> None:
    release = machine.host.check_output("uname -r").split(".")
    assert (int(release[0]), int(release[1])) >= OLDEST_KERNEL


@pytest.mark.parametrize("name", NAMESPACES)
def test_the_kernel_has_the_namespace(machine: Machine, name: str) -> None:
    assert machine.host.file(f"/proc/self/ns/{name}").exists


def test_the_kernel_has_overlay_and_seccomp(machine: Machine) -> None:
    assert "\toverlay\n" in machine.host.file("/proc/filesystems").content_string
    actions = machine.host.file("/proc/sys/kernel/seccomp/actions_avail").content_string
    assert "errno" in actions.split()


@pytest.mark.parametrize("name", CONTROLLERS)
def test_the_kernel_controls(machine: Machine, name: str) -> None:
    if machine.cgroups == "v2":
        names = machine.host.file("/sys/fs/cgroup/cgroup.controllers").content_string.split()
        assert name in names
    else:
        assert machine.host.file(f"/sys/fs/cgroup/{name}/cgroup.procs").exists


def test_a_bridge_and_a_pair_of_links_can_be_made(machine: Machine) -> None:
    made = machine.host.run(
        "unshare --net sh -ec '"
        "ip link add br9 type bridge; ip link add v0 type veth peer name v1; "
        "ip link set v0 master br9; ip -o link show master br9'"
    )
    assert made.rc == 0, made.stderr
    assert "v0@v1" in made.stdout


@pytest.mark.parametrize("program", ["iptables", "ip6tables"])
def test_the_firewall_takes_a_rule_of_each_kind_that_ports_need(
    machine: Machine, program: str
) -> None:
    address = "192.0.2.9" if program == "iptables" else "[2001:db8::9]"
    chain = "printf '*nat\\n:TKT - [0:0]\\n%s\\nCOMMIT\\n*filter\\n%s\\nCOMMIT\\n'"
    nat = (
        f"-A TKT -p tcp -m tcp --dport 80 -m comment --comment x -j DNAT --to {address}\\n"
        "-A POSTROUTING -j MASQUERADE"
    )
    passing = "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    rules = chain % (nat, passing)
    script = f"{rules} | {program}-restore --wait && {program}-save"
    done = machine.host.run("unshare --net sh -c %s", script)
    assert done.rc == 0, done.stderr
    assert "-j MASQUERADE" in done.stdout
    assert "ctstate RELATED,ESTABLISHED" in done.stdout


def test_lxc_runs_a_program(machine: Machine) -> None:
    """With LXC's own command, in namespaces of its own, from the machine's busybox."""
    done = machine.host.run("sh -ec %s", LXC_SCRIPT)
    assert done.rc == 0, done.stderr
    assert "tkt-machine" in done.stdout


def test_the_engine_answers_and_says_what_it_runs_on(machine: Machine) -> None:
    if not machine.host.file(machine.socket_path).exists and not machine.is_own:
        pytest.skip(f"no engine of that instance was started here ({machine.socket_path})")
    info = json.loads(machine.ask("/info"))
    assert info["KernelVersion"] == machine.host.check_output("uname -r")
    assert info["CgroupVersion"] == machine.cgroups.removeprefix("v")


def test_the_socket_is_for_root_and_the_group(machine: Machine) -> None:
    socket = machine.host.file(machine.socket_path)
    if not socket.exists and not machine.is_own:
        pytest.skip(f"no engine of that instance was started here ({machine.socket_path})")
    assert socket.is_socket
    assert socket.user == "root"
    assert socket.mode == 0o660 if machine.is_own else socket.mode in {0o600, 0o660}
