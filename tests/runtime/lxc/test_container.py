# SPDX-License-Identifier: Apache-2.0
"""A start with LXC, as far as it goes without LXC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from toolkit.errors import BackendError
from toolkit.runtime.lxc import container

if TYPE_CHECKING:
    from pathlib import Path


def test_without_lxc_the_start_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(container, "_SEARCHED", str(tmp_path))
    with pytest.raises(BackendError, match="apt-get install lxc"):
        container.find_lxc_start()


def test_lxc_start_is_looked_for_where_the_host_has_its_programs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "lxc-start"
    program.touch(mode=0o755)
    monkeypatch.setattr(container, "_SEARCHED", str(tmp_path))
    assert container.find_lxc_start() == str(program)
