# SPDX-License-Identifier: Apache-2.0
"""Which settings a document becomes: 0.7.2's template, row by row (rule 4.3)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import InvalidRequestError
from toolkit.kernel.capabilities import CAPABILITIES
from toolkit.runtime.document import default_document
from toolkit.runtime.lxc.config_writer import MountEntry
from toolkit.runtime.lxc.template import HostFacts, configuration, monitor_group

V1 = HostFacts(cgroup_version=1)
V2 = HostFacts(cgroup_version=2)


def document(**linux: Any) -> dict[str, Any]:
    made = default_document()
    made["hostname"] = "box"
    made["linux"] |= {"cgroupsPath": "toolkit/abc", **linux}
    return made


def written(
    doc: dict[str, Any], facts: HostFacts = V1, mounts: tuple[MountEntry, ...] = ()
) -> list[tuple[str, str]]:
    return configuration(doc, root_path="/run/x/rootfs", mounts=mounts, facts=facts).settings()


def limits(**resources: Any) -> dict[str, Any]:
    return document(resources=resources)


def test_every_container_gets_the_fixed_rows() -> None:
    """Rule 4.3, rows 6, 9, 10, 11, and the group that the engine finds it by."""
    found = dict(written(document()))

    assert found["lxc.rootfs.path"] == "dir:/run/x/rootfs"
    assert found["lxc.pty.max"] == "1024"
    assert found["lxc.console.path"] == "none"
    assert found["lxc.tty.max"] == "1"
    assert found["lxc.autodev"] == "0"
    assert found["lxc.uts.name"] == "box"
    assert found["lxc.cgroup.dir.container"] == "toolkit/abc"
    assert found["lxc.cgroup.dir.monitor"] == "toolkit/lxc-monitor-abc"


def test_namespaces_are_named_one_by_one() -> None:
    found = dict(written(document()))
    assert found["lxc.namespace.clone"] == "mnt pid net ipc uts cgroup"
    assert (found["lxc.net.0.type"], found["lxc.net.0.flags"]) == ("empty", "up")


def test_the_hosts_namespaces_are_not_made() -> None:
    kinds = [{"type": kind} for kind in ("mount", "ipc", "cgroup")]
    found = dict(written(document(namespaces=kinds)))

    assert found["lxc.namespace.clone"] == "mnt ipc cgroup"
    assert found["lxc.net.0.type"] == "none"
    assert "lxc.uts.name" not in found


def test_anothers_network_is_joined() -> None:
    kinds = [{"type": "mount"}, {"type": "pid"}, {"type": "network", "path": "/proc/7/ns/net"}]
    found = dict(written(document(namespaces=kinds)))

    assert found["lxc.namespace.share.net"] == "/proc/7/ns/net"
    assert not [key for key in found if key.startswith("lxc.net.")]


@pytest.mark.parametrize("kinds", [["mount", "user"], ["mount", "time"], ["pid"]])
def test_namespaces_that_lxc_is_not_used_for_are_refused(kinds: list[str]) -> None:
    with pytest.raises(InvalidRequestError, match="cannot make these namespaces"):
        written(document(namespaces=[{"type": kind} for kind in kinds]))


def test_mounts_come_in_their_order_with_escapes() -> None:
    """Rule 4.3, row 22, and 4.5: the document is sorted, parents come before children."""
    mounts = tuple(
        MountEntry(
            source=f"/host/{n}", target=f"a b/{n}", kind="none", options=("bind", "ro"), field="v"
        )
        for n in (1, 2)
    )
    entries = [value for key, value in written(document(), mounts=mounts) if "mount" in key]
    assert entries == [f"/host/{n} a\\040b/{n} none bind,ro 0 0" for n in (1, 2)]


def test_devices_are_a_list_of_what_is_allowed() -> None:
    """Rule 4.3, row 13, and 4.4: deny all, then the list, on both versions."""
    for facts, family in ((V1, "lxc.cgroup"), (V2, "lxc.cgroup2")):
        rules = [(k, v) for k, v in written(document(), facts) if ".devices." in k]
        assert rules[0] == (f"{family}.devices.deny", "a")
        assert {key for key, _ in rules[1:]} == {f"{family}.devices.allow"}
        assert "c 1:3 rw" in [value for _, value in rules]
        assert "c 136:* rw" in [value for _, value in rules]


def test_a_privileged_container_may_use_every_device_and_capability() -> None:
    """Rule 4.3, rows 12 and 23."""
    doc = limits(devices=[{"allow": True, "access": "rwm"}])
    doc["process"]["capabilities"]["bounding"] = list(CAPABILITIES)
    found = written(doc, HostFacts(cgroup_version=1, has_apparmor=True))

    assert [(k, v) for k, v in found if ".devices." in k] == [("lxc.cgroup.devices.allow", "a")]
    assert ("lxc.apparmor.profile", "unconfined") in found
    assert "lxc.cap.drop" not in dict(found)
    assert "lxc.apparmor.profile" not in dict(written(doc))


def test_an_ordinary_container_stays_confined() -> None:
    """Rule 4.3, row 23; LXC drops at once what neither container nor init needs."""
    found = written(document(), HostFacts(cgroup_version=1, has_apparmor=True))
    dropped = {value for key, value in found if key == "lxc.cap.drop"}

    assert "lxc.apparmor.profile" not in dict(found)
    assert {"sys_module", "dac_read_search", "sys_rawio", "mknod", "sys_ptrace"} <= dropped
    assert not dropped & {"chown", "setuid", "kill"}


@given(
    memory=st.integers(32 << 20, 512 << 20),
    shares=st.integers(100, 10000),
)
def test_memory_and_shares_are_set(memory: int, shares: int) -> None:
    """RT-070: with the keys of today."""
    doc = limits(
        memory={"limit": memory, "reservation": memory, "swap": 2 * memory}, cpu={"shares": shares}
    )
    found = written(doc)
    assert ("lxc.cgroup.memory.limit_in_bytes", str(memory)) in found
    assert ("lxc.cgroup.memory.soft_limit_in_bytes", str(memory)) in found
    assert ("lxc.cgroup.memory.memsw.limit_in_bytes", str(2 * memory)) in found
    assert ("lxc.cgroup.cpu.shares", str(shares)) in found


def test_cgroup_v2_gets_its_own_names() -> None:
    """Rule 4.3, rows 24 to 27: swap alone, and a weight."""
    found = dict(
        written(
            limits(
                memory={"limit": 100, "swap": 250},
                cpu={"shares": 1024, "quota": 50000, "cpus": "0"},
                pids={"limit": -1},
            ),
            V2,
        )
    )
    assert found["lxc.cgroup2.memory.max"] == "100"
    assert found["lxc.cgroup2.memory.swap.max"] == "150"
    assert found["lxc.cgroup2.cpu.weight"] == "39"
    assert found["lxc.cgroup2.cpu.max"] == "50000 100000"
    assert found["lxc.cgroup2.cpuset.cpus"] == "0"
    assert found["lxc.cgroup2.pids.max"] == "max"
    assert not [key for key in found if key.startswith("lxc.cgroup.") and "dir" not in key]


def test_without_limits_none_is_written() -> None:
    found = written(limits())
    assert not [key for key, _ in found if key.startswith("lxc.cgroup.") and "dir" not in key]


def test_sysctls_and_the_oom_score_are_lxcs() -> None:
    doc = document(sysctl={"net.ipv4.ip_forward": "1"})
    doc["process"]["oomScoreAdj"] = 300
    found = dict(written(doc))
    assert found["lxc.sysctl.net.ipv4.ip_forward"] == "1"
    assert found["lxc.proc.oom_score_adj"] == "300"


def test_own_settings_come_last() -> None:
    """Rule 4.3, row 28; RT-071."""
    doc = document()
    doc["annotations"]["toolkit.lxc.conf"] = '[["lxc.utsname", "docker"]]'
    assert written(doc)[-1] == ("lxc.uts.name", "docker")


@pytest.mark.parametrize("field", ["hostname", "cgroupsPath", "sysctl", "root"])
def test_no_string_of_a_document_becomes_a_line(field: str) -> None:
    """S-40."""
    bad = "x\nlxc.hook.pre-start\t=\t/bin/touch\t/tmp/canary\n#"
    doc = document()
    if field == "hostname":
        doc["hostname"] = bad
    elif field == "cgroupsPath":
        doc["linux"]["cgroupsPath"] = bad
    elif field == "sysctl":
        doc["linux"]["sysctl"] = {"net.x": bad}
    with pytest.raises(InvalidRequestError, match=r"U\+000A"):
        configuration(doc, root_path=bad if field == "root" else "/r", mounts=(), facts=V1)


def test_the_monitors_group_stands_beside_the_containers() -> None:
    assert monitor_group("toolkit/abc") == "toolkit/lxc-monitor-abc"
    assert monitor_group("abc") == "lxc-monitor-abc"
