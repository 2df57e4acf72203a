# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.vm.doctor import Feature, Host, cgroup_mounts, examine, is_fit

V1 = """\
30 20 0:25 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
31 20 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 20 0:27 / /sys/fs/cgroup/pids rw shared:3 - cgroup cgroup rw,pids
33 20 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
34 20 0:29 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices
35 20 0:30 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
"""
V2 = "30 20 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.fixture
def fit(tmp_path: Path) -> Host:
    """A machine that has everything, with control groups v2."""
    files = {
        "proc/filesystems": "nodev\toverlay\n\text4\n",
        "proc/sys/kernel/seccomp/actions_avail": "kill_process trap errno allow\n",
        "proc/self/mountinfo": V2,
        "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
        **{f"proc/self/ns/{kind}": "" for kind in ("cgroup", "ipc", "mnt", "net", "pid", "uts")},
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Host(
        root=tmp_path,
        release="6.1.0-18-amd64",
        is_root=True,
        which=lambda name: f"/usr/bin/{name}",
        has_system_call=lambda _: True,
        has_library=lambda _: True,
        find_busybox=lambda: Path("/bin/busybox"),
        succeeds=lambda _: True,
    )


def missing(host: Host) -> list[str]:
    return [feature.name for feature in examine(host) if not feature.is_present]


def test_a_fit_machine_misses_nothing(fit: Host) -> None:
    assert missing(fit) == []
    assert is_fit(examine(fit))


def test_a_kernel_before_mount_setattr_is_too_old(fit: Host) -> None:
    assert missing(replace(fit, release="5.10.0-28-amd64")) == ["kernel"]
    assert missing(replace(fit, release="5.12.0")) == []


def test_a_missing_system_call_is_named(fit: Host) -> None:
    host = replace(fit, has_system_call=lambda name: name != "openat2")
    feature = next(f for f in examine(host) if f.name == "system calls")
    assert (feature.is_present, feature.detail) == (False, "openat2")


def test_a_kernel_without_overlay_gets_the_remedy(fit: Host) -> None:
    (fit.root / "proc/filesystems").write_text("\text4\n")
    feature = next(f for f in examine(fit) if f.name == "overlay")
    assert not feature.is_present
    assert "modprobe overlay" in feature.line()


def test_v1_control_groups_need_devices_and_freezer_too(fit: Host) -> None:
    (fit.root / "proc/self/mountinfo").write_text(V1)
    assert missing(fit) == []
    without = "".join(line for line in V1.splitlines(keepends=True) if "freezer" not in line)
    (fit.root / "proc/self/mountinfo").write_text(without)
    feature = next(f for f in examine(fit) if f.name == "control groups")
    assert (feature.is_present, feature.detail) == (False, "lacks freezer")


def test_v2_control_groups_without_a_controller_are_missing_it(fit: Host) -> None:
    (fit.root / "sys/fs/cgroup/cgroup.controllers").write_text("cpu cpuset pids\n")
    feature = next(f for f in examine(fit) if f.name == "control groups")
    assert feature.detail == "lacks memory"


def test_what_only_later_features_need_does_not_make_a_machine_unfit(fit: Host) -> None:
    host = replace(fit, which=lambda _: None, succeeds=lambda _: False)
    assert missing(host) == ["ip", "bridge", "veth", "iptables", "lxc"]
    assert is_fit(examine(host))


def test_without_root_a_machine_is_unfit(fit: Host) -> None:
    assert not is_fit(examine(replace(fit, is_root=False)))


def test_a_line_says_what_to_do_about_a_missing_feature() -> None:
    feature = Feature(name="lxc", is_present=False, remedy="apt-get install lxc")
    assert feature.line().split() == ["lxc", "MISSING", "apt-get", "install", "lxc"]


def test_cgroup_mounts_reads_optional_fields_and_skips_other_file_systems() -> None:
    lines = V1 + "36 20 0:31 / /tmp rw - tmpfs tmpfs rw\n"
    found = {str(place): (version, options) for version, place, options in cgroup_mounts(lines)}
    assert len(found) == 6
    assert found["/sys/fs/cgroup/pids"] == (1, frozenset({"rw", "pids"}))
