# SPDX-License-Identifier: Apache-2.0
"""What of a person's own LXC settings passes."""

from __future__ import annotations

import json

import pytest

from toolkit.errors import InvalidRequestError
from toolkit.runtime.lxc.config_writer import ConfigWriter
from toolkit.runtime.lxc.passthrough import add_passthrough, translate


def passed(*pairs: tuple[str, str], unsafe: str = "", version: int = 1) -> list[tuple[str, str]]:
    writer = ConfigWriter()
    annotations = {"toolkit.lxc.conf": json.dumps(pairs), "toolkit.lxc.unsafe": unsafe}
    add_passthrough(writer, annotations, version)
    return writer.settings()


def test_settings_come_in_order_under_their_names_of_today() -> None:
    """RT-071: with the key that LXC >= 3 knows."""
    assert passed(("lxc.utsname", "docker"), ("lxc.cgroup.cpuset.cpus", "0,1")) == [
        ("lxc.uts.name", "docker"),
        ("lxc.cgroup.cpuset.cpus", "0,1"),
    ]


def test_without_settings_nothing_is_written() -> None:
    writer = ConfigWriter()
    add_passthrough(writer, {}, 1)
    assert writer.settings() == []


@pytest.mark.parametrize(
    "key",
    [
        "lxc.hook.pre-start", "lxc.hook.start", "lxc.hook.version", "lxc.include", "lxc.mount",
        "lxc.mount.entry", "lxc.mount.auto", "lxc.mount.fstab", "lxc.rootfs", "lxc.rootfs.path",
        "lxc.rootfs.mount", "lxc.init.cmd", "lxc.init_cmd", "lxc.execute.cmd", "lxc.logfile",
        "lxc.log.file", "lxc.console.logfile", "lxc.console", "lxc.net.0.script.up", "lxc.idmap",
        "lxc.cgroup.dir", "lxc.cgroup.dir.container", "lxc.cgroup.relative", "lxc.namespace.keep",
        "lxc.monitor.signal.pdeath", "lxc.environment", "lxc.group", "lxc.ephemeral",
        "lxc.seccomp.notify.proxy", "lxc.seccomp", "lxc.something.new",
    ],
)  # fmt: skip
def test_a_setting_that_can_leave_the_container_is_refused(key: str) -> None:
    """S-42: by a list of what may pass, so that what LXC adds one day does not."""
    with pytest.raises(InvalidRequestError, match=r"TOOLKIT_LXC_UNSAFE=1"):
        passed((key, "/bin/x"))


def test_an_engine_that_was_told_so_takes_every_setting() -> None:
    """S-42."""
    assert passed(("lxc.hook.start", "/bin/x"), unsafe="1") == [("lxc.hook.start", "/bin/x")]


@pytest.mark.parametrize("unsafe", ["", "1"])
@pytest.mark.parametrize(
    ("key", "value"),
    [("lxc.utsname", "a\nlxc.hook.start = /bin/x"), ("lxc.utsname\nlxc.hook.start", "x")],
)
def test_a_newline_is_refused_even_then(key: str, value: str, unsafe: str) -> None:
    """S-42."""
    with pytest.raises(InvalidRequestError):
        passed((key, value), unsafe=unsafe)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("lxc.network.flags", "lxc.net.0.flags"),
        ("lxc.network.hwaddr", "lxc.net.0.hwaddr"),
        ("lxc.network.ipv4", "lxc.net.0.ipv4.address"),
        ("lxc.network.ipv4.gateway", "lxc.net.0.ipv4.gateway"),
        ("lxc.seccomp", "lxc.seccomp.profile"),
        ("lxc.se_context", "lxc.selinux.context"),
        ("lxc.id_map", "lxc.idmap"),
        ("lxc.logfile", "lxc.log.file"),
        ("lxc.loglevel", "lxc.log.level"),
        ("lxc.mount", "lxc.mount.fstab"),
        ("lxc.stopsignal", "lxc.signal.stop"),
        ("lxc.init_cmd", "lxc.init.cmd"),
        ("lxc.cap.drop", "lxc.cap.drop"),
    ],
)
def test_legacy_names_are_translated(key: str, name: str) -> None:
    """Rule 4.7."""
    assert translate(key, "v", 1) == (name, "v")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (("lxc.cgroup.memory.limit_in_bytes", "5"), ("lxc.cgroup2.memory.max", "5")),
        (("lxc.cgroup.cpuset.cpus", "0"), ("lxc.cgroup2.cpuset.cpus", "0")),
        (("lxc.cgroup.cpu.shares", "1024"), ("lxc.cgroup2.cpu.weight", "39")),
    ],
)
def test_cgroup_settings_follow_the_host(
    setting: tuple[str, str], expected: tuple[str, str]
) -> None:
    assert translate(*setting, 2) == expected
    assert translate(*setting, 1) == setting
