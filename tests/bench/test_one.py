# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

from bench.one import Row, print_table

if TYPE_CHECKING:
    import pytest


def test_the_table_has_least_middle_and_ratio_to_ours(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Row("dockerd", [0.2, 0.3, 0.25]), Row("ours", [0.01, 0.02, 0.0125])])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [line[:4] for line in lines] == [
        ["ours", "10.0", "12.5", "1.00"],
        ["dockerd", "200.0", "250.0", "20.00"],
    ]


def test_a_start_by_the_api_stands_beside_the_whole_of_lxc_execute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table([Row("ours-lxc", [0.03], [0.025]), Row("lxc", [0.02])])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [
        ["lxc", "20.0", "20.0", "-", "1.00", "-", "-"],
        ["ours-lxc", "30.0", "30.0", "-", "1.50", "25.0", "1.25"],
    ]


def test_a_missing_peer_is_said_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Row("ours", [0.01]), Row("podman", absence="not installed (podman)")])
    assert "podman" in capsys.readouterr().out.splitlines()[-1]


def test_without_ours_there_is_no_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Row("runc", [0.02])])
    assert capsys.readouterr().out.splitlines()[-1].split()[:4] == ["runc", "20.0", "20.0", "-"]
