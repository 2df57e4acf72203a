# SPDX-License-Identifier: Apache-2.0
"""What every test of the LXC backend needs: LXC."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.lxc.both import shell

if TYPE_CHECKING:
    from integration.conftest import Engine

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this directory, and skip them where there is no LXC."""
    skip = pytest.mark.skip(reason="lxc-start is not installed: apt-get install lxc")
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.needs_lxc)
            if shutil.which("lxc-start") is None:
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _warm(engine: Engine, busybox: str) -> None:
    """Make what the first container makes and all others share, before a leak is looked for."""
    assert busybox
    for backend in ("native", "lxc"):
        warm = shell("exit 3", config={"Volumes": {"/v": {}}})
        assert warm.run_on(engine, backend).exit_code == 3
