# SPDX-License-Identifier: Apache-2.0
"""For which containers a crew that was made ahead will do."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.runtime.document import default_document
from toolkit.runtime.lxc.crew import wants_cpuset


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
