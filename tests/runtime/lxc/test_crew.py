# SPDX-License-Identifier: Apache-2.0
"""For which containers a crew that was made ahead will do, and what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from toolkit.errors import BackendError
from toolkit.kernel.cgroups import CgroupHost
from toolkit.runtime.document import default_document
from toolkit.runtime.lxc import crew
from toolkit.runtime.lxc.crew import shown_controllers, wants_cpuset

if TYPE_CHECKING:
    from pathlib import Path


def document(cpu: dict[str, Any] | None = None, own: str = "") -> dict[str, Any]:
    made = default_document()
    made["linux"]["resources"]["cpu"] = cpu
    made["annotations"]["toolkit.lxc.conf"] = own
    return made


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (document(), False),
        (document({"shares": 5}), False),
        (document({"cpus": "0"}), True),
        (document({"mems": "0"}), True),
        (document(own='[["lxc.cgroup.cpuset.cpus", "0"]]'), True),
        (document(own='[["lxc.utsname", "x"]]'), False),
    ],
)
def test_only_who_asks_for_cpus_stands_in_the_hierarchy_of_cpuset(
    wish: dict[str, Any], *, expected: bool
) -> None:
    assert wants_cpuset(wish) is expected


@pytest.mark.parametrize(
    ("has_cpuset", "expected"), [(False, {"memory"}), (True, {"memory", "cpuset"})]
)
def test_lxc_sees_no_hierarchy_that_the_engine_makes_no_groups_in(
    tmp_path: Path, expected: set[str], *, has_cpuset: bool
) -> None:
    """Its groups there would stay."""
    lines = []
    for number, name in enumerate(("memory", "cpuset", "hugetlb", "net_cls,net_prio"), 31):
        (tmp_path / f"sys/fs/cgroup/{name}").mkdir(parents=True)
        place = f"/sys/fs/cgroup/{name}"
        lines.append(f"{number} 30 0:{number} / {place} rw - cgroup cgroup rw,{name}\n")
    host = CgroupHost.detect("".join(lines), root=str(tmp_path))
    assert shown_controllers(host, has_cpuset=has_cpuset) == expected
    host.close()


def test_without_lxc_the_start_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(crew, "_SEARCHED", str(tmp_path))
    with pytest.raises(BackendError, match="apt-get install lxc"):
        crew.find_lxc_start()


def test_lxc_start_is_looked_for_where_the_host_has_its_programs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "lxc-start"
    program.touch(mode=0o755)
    monkeypatch.setattr(crew, "_SEARCHED", str(tmp_path))
    assert crew.find_lxc_start() == str(program)


@pytest.mark.parametrize(
    ("answer", "expected"), [("5.0.2", True), ("10.1.0-devel", True), ("4.0.6", False), ("", False)]
)
def test_an_older_lxc_is_not_given_a_pipe(tmp_path: Path, answer: str, *, expected: bool) -> None:
    program = tmp_path / "lxc-start"
    program.write_text(f"#!/bin/sh\n[ $1 = --version ] && echo {answer}\n")
    program.chmod(0o755)
    assert crew.reads_pipes(str(program)) is expected


def test_an_lxc_that_is_not_there_is_learned_of_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(crew, "_SEARCHED", str(tmp_path))
    crew.learn_lxc()
    assert not list(tmp_path.iterdir())
