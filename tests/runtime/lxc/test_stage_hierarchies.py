# SPDX-License-Identifier: Apache-2.0
"""In which order LXC's view of cgroup v1 is put together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.kernel.cgroup_tree import parse_hierarchies
from toolkit.runtime.lxc import stage

if TYPE_CHECKING:
    import pytest

MOUNTINFO = (
    "31 30 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 30 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
    "33 30 0:28 / /sys/fs/cgroup/rdma rw - cgroup cgroup rw,rdma\n"
)


def test_hierarchies_are_attached_below_what_is_attached_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Kernels before 6.15 refuse a mount on a detached one (EINVAL)."""
    attached: list[str] = []

    def open_place(*_: object) -> int:
        return os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)

    def attach(_mount_fd: int, target_fd: int, _path: str) -> None:
        attached.append(str(Path(f"/proc/self/fd/{target_fd}").readlink()))

    monkeypatch.setattr(stage, "_CGROUP_DIR", str(tmp_path))
    monkeypatch.setattr(stage, "parse_hierarchies", lambda _: parse_hierarchies(MOUNTINFO))
    monkeypatch.setattr("toolkit.kernel.mounts.new_filesystem", open_place)
    monkeypatch.setattr("toolkit.kernel.mounts.clone_tree", open_place)
    monkeypatch.setattr("toolkit.kernel.mounts.attach_mount", attach)
    stage._show_hierarchies({"memory", "pids"})
    assert attached == [str(tmp_path), f"{tmp_path}/memory", f"{tmp_path}/pids"]
