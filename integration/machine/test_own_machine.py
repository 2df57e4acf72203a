# SPDX-License-Identifier: Apache-2.0
"""What provisioning sees to on a machine of our own, and that it does it once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integration.machine.conftest import Machine

UNIT = "toolkit-engine"
# size, mode, owner and content of all that provisioning could touch
STATE = (
    "find /etc /usr/local /usr/lib/modules-load.d -xdev -type f ! -path '*/__pycache__/*' "
    "-printf '%p %s %m %U:%G %T@\\n' | sort | sha256sum; "
    "dpkg-query -W | sha256sum; sysctl -n net.ipv4.ip_forward; getent group toolkit; "
    "cut -d' ' -f1 /proc/modules | sort | sha256sum; "
    "systemctl show -p MainPID -p ActiveEnterTimestamp toolkit-engine"
)


def test_the_engine_is_a_service_that_starts_by_itself(own: Machine) -> None:
    service = own.host.service(UNIT)
    assert service.is_enabled
    assert service.is_running


def test_containers_would_outlive_the_service(own: Machine) -> None:
    shown = own.host.check_output(f"systemctl show -p KillMode -p Delegate {UNIT}")
    assert set(shown.split()) == {"KillMode=process", "Delegate=yes"}


def test_the_user_may_open_the_socket(own: Machine) -> None:
    user = own.host.user("vagrant")
    assert "toolkit" in user.groups
    assert own.host.file(own.socket_path).group == "toolkit"
    asked = "sudo -u vagrant env DOCKER_HOST=unix://%s toolkit ps --quiet"
    assert own.host.run(asked, own.socket_path).rc == 0


def test_nobody_else_may_open_the_socket(own: Machine) -> None:
    asked = "sudo -u nobody env DOCKER_HOST=unix://%s toolkit ps --quiet"
    refused = own.host.run(asked, own.socket_path)
    assert refused.rc != 0
    assert "permission" in refused.stderr.lower()


def test_forwarding_is_on_now_and_after_a_restart(own: Machine) -> None:
    assert own.host.sysctl("net.ipv4.ip_forward") == 1
    kept = own.host.file("/etc/sysctl.d/60-toolkit.conf").content_string
    assert "net.ipv4.ip_forward = 1" in kept.splitlines()


def test_modules_are_there_now_and_after_a_restart(own: Machine) -> None:
    kept = own.host.file("/etc/modules-load.d/toolkit.conf").content_string.split()
    assert {"overlay", "bridge", "veth", "iptable_nat"} <= set(kept)
    for name in ("overlay", "bridge", "veth"):
        assert own.host.file(f"/sys/module/{name}").exists


def test_lxc_makes_no_bridge_and_starts_nothing_of_its_own(own: Machine) -> None:
    assert not own.host.service("lxc-net").is_running
    assert not own.host.interface("lxcbr0").exists


def test_control_groups_have_the_flavour_that_was_asked_for(own: Machine) -> None:
    wanted = os.environ.get("TOOLKIT_CGROUPS") or "v2"
    assert own.cgroups == wanted


def test_docker_s_command_is_there_and_no_daemon_of_its(own: Machine) -> None:
    asked = "env DOCKER_HOST=unix://%s docker version --format {{.Server.Version}}"
    assert own.host.check_output(asked, own.socket_path)
    assert not own.host.exists("dockerd")


def test_provisioning_again_changes_nothing(own: Machine) -> None:
    before = own.host.check_output(STATE)
    environ = f"env TOOLKIT_PROVISION=machine TOOLKIT_CGROUPS={own.cgroups}"
    done = own.host.check_output(f"{environ} sh /toolkit/vagrant/provision/all.sh")
    assert done.splitlines()[-1] == "provisioning: 0 changes"
    assert own.host.check_output(STATE) == before
