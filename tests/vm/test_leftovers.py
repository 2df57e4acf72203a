# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from toolkit.config import Instance
from toolkit.errors import MachineError
from toolkit.vm.leftovers import Leftovers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def leftovers(tmp_path: Path) -> Leftovers:
    """An instance with directories and control groups below a temporary directory."""
    instance = Instance(name="tku3", data_dir=tmp_path / "data", run_dir=tmp_path / "run")
    for directory in ("data/layers", "run", "cg/cpu/tku3/c1/deeper", "cg/cpu/tku33", "cg/pids"):
        (tmp_path / directory).mkdir(parents=True)
    lines = [
        f"30 20 0:25 / {tmp_path}/cg/cpu rw - cgroup cgroup rw,cpu",
        f"31 20 0:26 / {tmp_path}/cg/pids rw - cgroup cgroup rw,pids",
    ]
    (tmp_path / "mountinfo").write_text("\n".join(lines) + "\n")
    return Leftovers(instance, mountinfo=tmp_path / "mountinfo")


def test_control_groups_come_deepest_first_and_only_the_instances(
    leftovers: Leftovers, tmp_path: Path
) -> None:
    top = tmp_path / "cg/cpu/tku3"
    assert leftovers.cgroup_dirs() == [top / "c1/deeper", top / "c1", top]


def test_remove_takes_control_groups_and_directories(leftovers: Leftovers, tmp_path: Path) -> None:
    leftovers.remove(keep_data=False)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"cg", "mountinfo"}
    assert [path.name for path in (tmp_path / "cg/cpu").iterdir()] == ["tku33"]


def test_remove_can_keep_the_data(leftovers: Leftovers, tmp_path: Path) -> None:
    leftovers.remove(keep_data=True)
    assert (tmp_path / "data/layers").is_dir()
    assert not (tmp_path / "run").exists()


def test_remove_twice_finds_nothing_the_second_time(leftovers: Leftovers) -> None:
    assert leftovers.remove(keep_data=False)
    assert leftovers.remove(keep_data=False) == []


def test_nothing_is_removed_while_something_is_mounted_below(
    leftovers: Leftovers, tmp_path: Path
) -> None:
    with leftovers.mountinfo.open("a") as lines:
        lines.write(f"40 20 8:1 /home {tmp_path}/data/layers/home rw - ext4 /dev/sda rw\n")
    with pytest.raises(MachineError, match=r"still mounted.*data/layers/home"):
        leftovers.remove(keep_data=False)
    assert (tmp_path / "run").is_dir()


def test_processes_in_the_control_groups_are_found(leftovers: Leftovers, tmp_path: Path) -> None:
    (tmp_path / "cg/cpu/tku3/c1/cgroup.procs").write_text("12\n345\n")
    assert leftovers.container_pids() == [12, 345]
