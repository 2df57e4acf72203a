# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.cgroupfs import HYBRID_MOUNTS, V1_MOUNTS, V2_MOUNTS, FakeCgroupfs
from toolkit.errors import InvalidRequestError, KernelFeatureMissingError
from toolkit.kernel.cgroup_v1 import CgroupV1
from toolkit.kernel.cgroup_v2 import CgroupV2
from toolkit.kernel.cgroups import FEATURES, CgroupHost

if TYPE_CHECKING:
    from pathlib import Path

V1_CONTROLLERS = frozenset(
    {"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"}
)


def host_of(
    mounts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *without: str
) -> CgroupHost:
    return FakeCgroupfs(tmp_path, mounts, frozenset(without)).host(monkeypatch)


def test_a_v1_host_has_its_controllers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_of(V1_MOUNTS, tmp_path, monkeypatch)
    assert (host.version, host.controllers) == (1, V1_CONTROLLERS)
    assert not host.has_unified


def test_a_hybrid_host_is_v1_with_a_unified_hierarchy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = host_of(HYBRID_MOUNTS, tmp_path, monkeypatch)
    assert (host.version, host.controllers) == (1, V1_CONTROLLERS)
    assert host.has_unified
    assert isinstance(host.cgroup("a"), CgroupV1)


def test_a_v2_host_says_its_controllers_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = host_of(V2_MOUNTS, tmp_path, monkeypatch)
    assert host.version == 2
    assert host.controllers == {"cpuset", "cpu", "io", "memory", "pids"}
    assert isinstance(host.cgroup("a"), CgroupV2)


def test_v1_leftovers_beside_a_full_v2_do_not_make_it_v1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_over = "50 23 0:50 / /sys/fs/cgroup/net_cls rw - cgroup cgroup rw,net_cls\n"
    assert host_of(V2_MOUNTS + left_over, tmp_path, monkeypatch).version == 2


def test_a_host_without_control_groups_says_so(tmp_path: Path) -> None:
    with pytest.raises(KernelFeatureMissingError):
        CgroupHost.detect("22 27 0:21 / /proc rw - proc proc rw\n", root=str(tmp_path))


def test_a_full_host_supports_every_feature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = host_of(HYBRID_MOUNTS, tmp_path, monkeypatch, "blkio.bfq.weight")
    missing = {feature for feature in FEATURES if not host.supports(feature)}
    assert missing == {"blkio.weight"}


def test_swap_accounting_that_is_off_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 3.2."""
    host = host_of(V1_MOUNTS, tmp_path, monkeypatch, "memory.memsw.limit_in_bytes")
    assert (host.supports("memory"), host.supports("swap")) == (True, False)


def test_without_the_memory_hierarchy_there_is_no_memory_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 3.2."""
    mounts = "".join(line for line in V1_MOUNTS.splitlines(keepends=True) if "memory" not in line)
    host = host_of(mounts, tmp_path, monkeypatch)
    assert not host.supports("memory")
    assert host.supports("pids")


def test_v2_looks_for_swap_in_a_group_that_has_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Remark H-6."""
    host = host_of(V2_MOUNTS, tmp_path, monkeypatch, "memory.swap.max")
    assert host.supports("swap")
    host.cgroup("other").create()
    assert not host.supports("swap")


def test_v2_cannot_disable_the_oom_killer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_of(V2_MOUNTS, tmp_path, monkeypatch)
    assert not host.supports("oom_kill_disable")
    assert host.supports("devices")


@pytest.mark.parametrize(
    "path", ["", "/", "a/../b", "..", "a//b", "./a", "a\nb", "a\0b", "x" * 5000]
)
def test_a_path_that_leads_elsewhere_is_refused(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidRequestError):
        host_of(V2_MOUNTS, tmp_path, monkeypatch).cgroup(path)


def test_an_unknown_feature_is_a_mistake_of_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="teleport"):
        host_of(V2_MOUNTS, tmp_path, monkeypatch).supports("teleport")
